"""Installing compiles where it can, and does without where it cannot."""

import shutil
import subprocess
import sys

import pytest

pytest.importorskip("hatchling", reason="the hook belongs to hatchling")
from emag_rt.native import build_hook
from emag_rt.native.library import library_path


@pytest.fixture
def folder(tmp_path):
    shutil.copy(library_path(1).parent / "kernel.c", tmp_path)
    return tmp_path


def test_compiles_what_the_loader_looks_for(folder):
    if build_hook._compiler() is None:
        pytest.skip("no C compiler here")
    (folder / "_kernel-old-1.so").write_text("from other source")
    libraries = build_hook.build(folder)
    assert library_path(1).name in {path.name for path in libraries}
    assert sorted(folder.glob("*.so")) == sorted(libraries)
    stamps = [path.stat().st_mtime_ns for path in libraries]
    assert build_hook.build(folder) == libraries
    assert [path.stat().st_mtime_ns for path in libraries] == stamps, "compiled once"


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
