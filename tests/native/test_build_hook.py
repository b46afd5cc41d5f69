"""Installing compiles where it can, and does without where it cannot."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("hatchling", reason="the hook belongs to hatchling")
from emag_rt.native import build_hook, why_not
from emag_rt.native.library import library_path


@pytest.fixture
def folder(tmp_path):
    shutil.copy(library_path(1).parent / "kernel.c", tmp_path)
    return tmp_path


def test_compiles_what_the_loader_looks_for(folder):
    if build_hook._compiler() is None:
        pytest.skip("no C compiler here")
    (folder / "_kernel-old-1.so").write_text("from other source")
    (folder / library_path(1).name).write_text("of another machine")
    libraries = build_hook.build(folder)
    assert library_path(1).name in {path.name for path in libraries}
    assert sorted(folder.glob("*.so")) == sorted(libraries)
    assert all(path.stat().st_size > 1000 for path in libraries), "what lay there is not believed"


def test_with_a_compiler_here_the_library_is_here():
    """Else every test of the compiled code would skip, and nobody would know."""
    if build_hook._compiler() is None or os.environ.get("EMAG_RT_NATIVE") == "0":
        pytest.skip("no C compiler here, or switched off")
    assert why_not() == ""


def test_a_folder_that_cannot_be_written_is_done_without(folder, monkeypatch, capsys):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(build_hook.tempfile, "TemporaryDirectory", refuse)
    monkeypatch.setattr(build_hook, "_compiler", lambda: ["cc"])
    assert build_hook.build(folder) == []
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("compiler", ["/nowhere/cc", sys.executable])
def test_a_compiler_that_fails_is_said_and_done_without(folder, monkeypatch, capsys, compiler):
    monkeypatch.setenv("CC", compiler)
    assert build_hook.build(folder) == []
    assert "the compiled engine is left out" in capsys.readouterr().err
    assert list(folder.glob("*.so")) == []


def test_no_compiler_at_all(folder, monkeypatch, capsys):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert build_hook.build(folder) == []
    assert "no C compiler" in capsys.readouterr().err


def test_the_code_compiles_without_warnings(folder):
    compiler = build_hook._compiler()
    if compiler is None:
        pytest.skip("no C compiler here")
    strict = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run(
        [*compiler, *build_hook.FLAGS, *strict, str(folder / "kernel.c")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
