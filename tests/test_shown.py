"""Nothing invisible, and nothing that an output cannot take, on any terminal."""

import os
import subprocess
import sys

import pytest

from calibration.report.elements import escape
from emag_rt.bundle import save_bundle
from emag_rt.errors import visible
from emag_rt.streams.base import StreamFormat
from tests.factories import make_bundle

BASH = "/bin/bash"
posix = pytest.mark.skipif(not os.path.exists(BASH), reason="needs bash and its ulimit")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("shown") / "µ\u202e.emag"
    save_bundle(make_bundle(1), path)
    return path


def run(command, bundle, **env):
    return subprocess.run(
        [BASH, "-c", command.replace("emag-rt", f"'{sys.executable}' -m emag_rt"), "-", bundle],
        capture_output=True,
        check=False,
        env={**os.environ, **env},
        timeout=120,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("F\u202ez", r"F\u202ez"),
        ("C\u200b3", r"C\u200b3"),
        ("C3\ufeff", r"C3\ufeff"),
        ("a\x1b[2J\n", r"a\x1b[2J\n"),
        ("\x9b2J", r"\x9b2J"),
        ("O\u3164z", r"O\u3164z"),
        ("Grün µV 電極", "Grün µV 電極"),
    ],
)
def test_what_cannot_be_seen_is_an_escape(text, shown):
    assert visible(text) == shown
    assert escape(text.replace("\n", "")) == shown.removesuffix(r"\n")
    assert StreamFormat("a", "EEG", "b", 100.0, (text,), ("uV",)).labels == (shown,)


@posix
@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["ascii", "C"]
)
@pytest.mark.parametrize(
    "command", ["inspect", "inspect --json", "headsets", "serve nobody.emag", "calibrate µ.edf"]
)
def test_an_ascii_terminal(bundle, env, command):
    named = '"$1"' if command.startswith("inspect") else ""
    done = run(f"emag-rt {command} {named}", bundle, PYTHONCOERCECLOCALE="0", **env)
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert (done.returncode == 0) == (command.split()[0] in ("inspect", "headsets"))


@posix
def test_a_turned_around_name_is_an_escape_on_any_terminal(bundle):
    done = run('emag-rt serve "$1.not"', bundle, PYTHONIOENCODING="utf-8")
    assert done.returncode == 5
    assert r"µ\u202e.emag.not".encode() in done.stderr


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_outputs(bundle, closed):
    done = run(f'emag-rt inspect "$1" {closed}', bundle)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (">&-" not in closed.split())
    done = run(f"emag-rt serve nobody.emag {closed}", bundle)
    assert done.returncode == 5
    assert done.stderr.count(b"\n") == (closed in (">&-", "<&-"))


@posix
@pytest.mark.parametrize(
    ("limit", "words"), [("-n 20", b"ulimit -n must be"), ("-v 900000", b"ulimit -v must be")]
)
def test_low_limits_are_named(bundle, limit, words):
    done = run(f'ulimit {limit}; emag-rt serve "$1"', bundle)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: " + words)
    assert done.stderr.count(b"\n") == 1
