"""What tools/wheels.py sees in libraries and wheels; all six are made where zig is, on request."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest

from emag_rt.bundle import save_bundle
from emag_rt.native import why_not as why_no_library
from emag_rt.native.library import library_path
from tests.factories import make_bundle
from tools.library_symbols import read_library
from tools.wheels import FUNCTIONS, PLATFORMS, build, problems, why_not

needs_zig = pytest.mark.skipif(bool(why_not()), reason=why_not() or "is here")


@pytest.mark.skipif(sys.platform != "linux" or bool(why_no_library()), reason="compiled here")
def test_a_library_of_this_machine_is_read():
    library = read_library(library_path(1).read_bytes())
    assert library.kind == "elf"
    assert library.symbols >= FUNCTIONS
    assert not {"main", "memcpy"} & library.symbols, "what it takes from others is not its own"


def test_what_is_no_library_is_refused():
    with pytest.raises(ValueError, match="must be ELF, PE or Mach-O"):
        read_library(b"kernel.c")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheels of all platforms by their tag, of one source distribution."""
    made = build(PLATFORMS, tmp_path_factory.mktemp("wheels"))
    return {one.tag: wheel for one, wheel in zip(PLATFORMS, made, strict=True)}


@needs_zig
@pytest.mark.live  # minutes where zig has not compiled before
@pytest.mark.timeout(900)
@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda one: one.tag)
def test_a_wheel_holds_the_kernel_of_its_platform(built, platform):
    wheel = built[platform.tag]
    assert wheel.name.endswith(f"-py3-none-{platform.tag}.whl")
    assert problems(wheel, platform) == []
    other = next(one for one in PLATFORMS if one.kind == platform.kind and one != platform)
    assert len(problems(wheel, other)) >= 2, "tag, and machine"
    if platform.kind == "macho":  # of Linux and Windows it needs no version
        assert any("needs" in line for line in problems(wheel, replace(platform, needs=(1, 0))))


@needs_zig
@pytest.mark.live
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="made for Linux")
def test_without_a_compiler_the_wheel_serves_natively(built, tmp_path):
    """The files alone, beside the libraries of this environment; no compiler on the path."""
    with zipfile.ZipFile(built["manylinux2014_x86_64"]) as archive:
        archive.extractall(tmp_path / "site")
    bundle = tmp_path / "a.emag"
    code = (
        "import sys; from pathlib import Path; import emag_rt\n"
        "from emag_rt import Upsampler\n"
        f"assert Path(emag_rt.__file__).is_relative_to({str(tmp_path)!r})\n"
        f"print(Upsampler.load({str(bundle)!r}, engine='native').engine)"
    )
    save_bundle(make_bundle(1), bundle)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "native"), done.stderr
