"""Wheels for six platforms with the compiled hot path inside, made on one machine.

    python -m tools.wheels --out dist/wheels          pip install -e '.[wheels]' first
    python -m tools.wheels --dependencies             asks pip, builds nothing

Zig's C compiler (package ``ziglang``) brings the headers and libraries of all of them. Every wheel
is checked: its tag, that both packages and nothing of the tests are in it, and that each library
is for the right machine, offers all functions and needs no newer system than the tag says.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import click

from emag_rt.native.build_hook import LEVELS, WHEEL_PLATFORM, suffix_of
from tools.library_symbols import read_library

ROOT = Path(__file__).parents[1]
FUNCTIONS = {
    f"emag_{name}" for name in ("cpu_level", "layout", "filter", "render", "step", "prepare")
}
_SECONDS = 600


@dataclass(frozen=True)
class Platform:
    """One of the six.

    Attributes
    ----------
    tag : str
        In the wheel's name.
    target : str
        For zig: machine, system and the oldest version of it.
    needs : tuple of int
        That version: of glibc or macOS; empty for Windows.
    """

    tag: str
    target: str
    needs: tuple[int, ...] = ()

    @property
    def machine(self) -> str:
        """``x86_64`` or ``aarch64``."""
        return self.target.split("-")[0]

    @property
    def kind(self) -> str:
        """Of its libraries, as :func:`tools.library_symbols.read_library` names it."""
        return {".so": "elf", ".dylib": "macho", ".dll": "pe"}[suffix_of(self.tag)]

    @property
    def n_libraries(self) -> int:
        """One for each level of the CPU."""
        return len(LEVELS) if self.machine == "x86_64" else 1


PLATFORMS = (
    Platform("manylinux2014_x86_64", "x86_64-linux-gnu.2.17", (2, 17)),
    Platform("manylinux2014_aarch64", "aarch64-linux-gnu.2.17", (2, 17)),
    Platform("macosx_10_13_x86_64", "x86_64-macos.10.13", (10, 13)),
    Platform("macosx_11_0_arm64", "aarch64-macos.11.0", (11, 0)),
    Platform("win_amd64", "x86_64-windows-gnu"),
    Platform("win_arm64", "aarch64-windows-gnu"),
)


def compiler(target: str) -> list[str]:
    """Command of zig's C compiler for a target; ``-s`` leaves names for debuggers out."""
    return [sys.executable, "-m", "ziglang", "cc", "-target", target, "-s"]


def why_not() -> str:
    """Why wheels cannot be made here; empty where they can."""
    if importlib.util.find_spec("ziglang") is None:
        return "ziglang must be installed: pip install -e '.[wheels]'"
    return ""


def build(platforms: tuple[Platform, ...], out: Path) -> list[Path]:
    """Make and check wheels.

    Parameters
    ----------
    platforms : tuple of Platform
        For which.
    out : Path
        Folder to put them into.

    Returns
    -------
    list of Path
        The wheels, one a platform.

    Raises
    ------
    click.ClickException
        If one is not as it should be, or cannot be made.
    """
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        _run(["-t", "sdist", "-d", scratch], ROOT, {})
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as sdist:
            sdist.extractall(scratch, filter="data")
        source = archive.with_name(archive.name.removesuffix(".tar.gz"))
        for platform in platforms:
            settings = {"CC": shlex.join(compiler(platform.target)), WHEEL_PLATFORM: platform.tag}
            _run(["-t", "wheel", "-d", str(out.resolve())], source, settings)
            (wheel,) = out.glob(f"{source.name}-py3-none-{platform.tag}.whl")
            wrong = problems(wheel, platform)
            if wrong:
                raise click.ClickException(f"{wheel.name}: " + "; ".join(wrong))
            made.append(wheel)
    return made


def problems(wheel: Path, platform: Platform) -> list[str]:
    """What is wrong with a wheel; empty where nothing is."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (about,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
        tags = archive.read(about).decode().splitlines()
        libraries = {
            name: archive.read(name)
            for name in names
            if name.startswith("emag_rt/native/_kernel-") or name.endswith((".so", ".dll"))
        }
    found = []
    if f"Tag: py3-none-{platform.tag}" not in tags or "Root-Is-Purelib: false" not in tags:
        found.append(f"must be tagged {platform.tag}, WHEEL says {tags}")
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if tops != {"emag_rt", "calibration"} or any("test" in name for name in names):
        found.append(f"must hold emag_rt and calibration without tests, holds {sorted(tops)}")
    if len(libraries) != platform.n_libraries:
        found.append(f"must hold {platform.n_libraries} libraries, holds {sorted(libraries)}")
    for name, data in libraries.items():
        library = read_library(data)
        if not name.endswith(suffix_of(platform.tag)):
            found.append(f"{name} must end with {suffix_of(platform.tag)}")
        if (library.kind, library.machine) != (platform.kind, platform.machine):
            found.append(f"{name} is {library.kind} for {library.machine}")
        if library.needs > platform.needs:
            found.append(f"{name} needs {library.needs}, the tag says {platform.needs}")
        if FUNCTIONS - library.symbols:
            found.append(f"{name} lacks {sorted(FUNCTIONS - library.symbols)}")
    return found


def _run(arguments: list[str], folder: Path, settings: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *arguments],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode or "left out" in done.stderr:
        raise click.ClickException(f"hatchling build {arguments}: {done.stderr.strip()[-1500:]}")


def check_dependencies(platform: Platform, python: str) -> str:
    """Whether wheels of all that the base needs are there for a platform.

    Parameters
    ----------
    platform : Platform
        Which.
    python : str
        Version, such as ``3.11``.

    Returns
    -------
    str
        How many packages pip would take, or what it says is missing.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    newer = {"manylinux2014": "manylinux_2_28", "macosx_11_0": "macosx_14_0"}
    tags = [platform.tag] + [platform.tag.replace(a, b) for a, b in newer.items()]
    chosen = [option for tag in dict.fromkeys(tags) for option in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--target", scratch]
        command += ["--only-binary", ":all:", "--python-version", python, *chosen]
        done = subprocess.run(
            [*command, *settings["project"]["dependencies"]],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    if done.returncode:
        return "no: " + " ".join(done.stderr.strip().splitlines()[-2:])
    last = done.stdout.strip().splitlines()[-1].removeprefix("Would install ")
    return f"yes: {len(last.split())} packages"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("dist/wheels"))
@click.option(
    "--platform",
    "tags",
    multiple=True,
    type=click.Choice([platform.tag for platform in PLATFORMS]),
    help="Only these; all six by default.",
)
@click.option("--dependencies", is_flag=True, help="Ask pip whether the base resolves; no wheels.")
@click.option("--python", default="3.11", show_default=True, help="Version, for --dependencies.")
def main(out: Path, tags: tuple[str, ...], dependencies: bool, python: str) -> None:
    """Make wheels for six platforms on this machine, and check them."""
    platforms = tuple(platform for platform in PLATFORMS if not tags or platform.tag in tags)
    if dependencies:
        for platform in platforms:
            click.echo(f"{platform.tag}: {check_dependencies(platform, python)}")
        return
    if why_not():
        raise click.ClickException(why_not())
    out.mkdir(parents=True, exist_ok=True)
    for wheel in build(platforms, out):
        click.echo(f"{wheel.name}: {wheel.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
