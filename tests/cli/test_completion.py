"""The Tab key: commands, engines and bundles, as bash asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from emag_rt.cli.completion import BUNDLE

PROGRAM, VARIABLE = "emag-rt", "_EMAG_RT_COMPLETE"
# What an installed `emag-rt` is, for an interpreter that may have another checkout installed.
ENTRY = "import sys; sys.argv[0] = 'emag-rt'; from emag_rt.cli.main import main; main()"
DRIVE = """
eval "$(_EMAG_RT_COMPLETE=bash_source emag-rt)"
complete -p emag-rt > /dev/null || exit 3
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ IFS=' '; echo "compopt $*"; }}
_emag_rt_completion emag-rt
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with bundles and other things, and ``emag-rt`` on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / PROGRAM
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{ENTRY}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    for name in ("s01.emag", "s02.emag", "run.edf", "run.html", "sub/s03.emag", ".hidden.emag"):
        (work / name).write_bytes(b"")
    return work


def complete(folder, words):
    """Words offered for a command line whose last word is at the cursor."""
    done = subprocess.run(
        ["bash", "--norc", "-c", DRIVE.format(words=words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("emag-rt s", ["serve", "simulate", "streams"]),
        ("emag-rt imp", ["import-checkpoint"]),
        ("emag-rt bench s", ["soak"]),
        ("emag-rt headsets openbci-cyton-d", ["openbci-cyton-daisy-16"]),
        ("emag-rt calibrate --headset dsi", ["dsi-24"]),
        ("emag-rt serve s01.emag --montage biosemi25", ["biosemi256"]),
        ("emag-rt upsample s01.emag --montage places.t", ["compopt -o default", ""]),
        ("emag-rt serve s01.emag --engine n", ["native"]),
        ("emag-rt serve s01.emag --gap-policy ''", ["nan", "hold", "skip"]),
        ("emag-rt serve --latency-", ["--latency-budget"]),
        ("emag-rt serve s", ["s01.emag", "s02.emag", "sub/"]),
        ("emag-rt evaluate sub/", ["sub/s03.emag"]),
        ("emag-rt bench soak --bundle s02", ["s02.emag"]),
        ("emag-rt evaluate s01.emag r", ["run.edf"]),  # not run.html
        ("emag-rt simulate --recording ''", ["run.edf", "sub/"]),
        ("emag-rt serve r", ["compopt -o default", ""]),  # nothing of ours: left to bash
    ],
)
def test_bash_completes(folder, words, offered):
    assert sorted(complete(folder, words)) == sorted(offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_asks_emag_rt(shell):
    done = subprocess.run(
        [sys.executable, "-c", ENTRY],
        env={**os.environ, VARIABLE: f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{VARIABLE}={shell}_complete" in done.stdout
    assert PROGRAM in done.stdout


def test_asking_for_words_touches_neither_streams_nor_the_numerical_stack(folder):
    code = (
        "import atexit, sys; sys.argv[0] = 'emag-rt';"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "from emag_rt.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": "emag-rt serve ''"}
        | {"COMP_CWORD": "2"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "plain,s01.emag" in done.stdout
    assert {"pylsl", "numpy", "mne", "torch", "calibration"} & set(done.stderr.split()) == set()


def test_a_folder_that_cannot_be_read_is_left_to_the_shell():
    (item,) = BUNDLE.shell_complete(None, None, "no/such/folder/x")
    assert (item.value, item.type) == ("no/such/folder/x", "file")
