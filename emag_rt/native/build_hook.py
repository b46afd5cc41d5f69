"""Compiles the hot path when the package is built or installed, where there is a C compiler.

Without one the package installs all the same, and serves in NumPy. ``tools/wheels.py`` compiles
for other platforms: it names one in EMAG_RT_WHEEL_PLATFORM, and a compiler for it in CC.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC")
# A library for each level of the CPU; the one that fits is chosen when it is loaded.
LEVELS = {
    1: (),
    3: ("-march=x86-64-v3",),
    4: ("-march=x86-64-v4", "-mprefer-vector-width=512"),
}
SECONDS = 300
WHEEL_PLATFORM = "EMAG_RT_WHEEL_PLATFORM"


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's custom hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling of the libraries."""
        if self.target_name != "wheel":
            return
        asked = os.environ.get(WHEEL_PLATFORM, "")
        libraries = build(Path(self.root, "emag_rt", "native"), asked)
        if libraries:
            build_data["pure_python"] = False
            # hatchling's best tag claims no manylinux, and knows macOS; no Python ABI is used.
            best = self.build_config.builder.get_best_matching_tag().split("-")[-1]
            build_data["tag"] = f"py3-none-{asked or best}"
            build_data["artifacts"] += [f"emag_rt/native/{path.name}" for path in libraries]


def build(folder: Path, platform: str = "") -> list[Path]:
    """Compile ``kernel.c`` of a folder into it.

    Parameters
    ----------
    folder : Path
        ``emag_rt/native``.
    platform : str
        As in a wheel's name, for example ``win_amd64``; by default this machine's.

    Returns
    -------
    list of Path
        The libraries; empty where there is no compiler, or it failed (which is said on stderr).
    """
    compiler = _compiler()
    if compiler is None:
        return _without("no C compiler (cc, gcc or clang) is here")
    try:
        return _compile(folder, compiler, platform or sysconfig.get_platform())
    except (OSError, subprocess.TimeoutExpired) as error:  # a folder that cannot be written, ...
        return _without(str(error))


def _compile(folder: Path, compiler: list[str], platform: str) -> list[Path]:
    source = folder / "kernel.c"
    own = Path(__file__).read_bytes()
    digest = hashlib.sha256(source.read_bytes() + own).hexdigest()[:12]
    wide = platform.endswith(("x86_64", "amd64"))
    suffix = suffix_of(platform)
    made = []
    for level, flags in (LEVELS if wide else {1: ()}).items():
        if "ziglang" in compiler:  # writes names of CPUs its own way
            flags = tuple(flag.replace("x86-64-v", "x86_64_v") for flag in flags)
        path = folder / f"_kernel-{digest}-{level}{suffix}"
        # Compiled anew each time: what lies here may be of another machine. Another process may
        # have it mapped, so it is replaced, never written over.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            out = Path(scratch, path.name)
            command = [*compiler, *FLAGS, *flags, "-o", str(out), str(source), "-lm"]
            done = subprocess.run(  # noqa: S603 - a compiler chosen by who installs
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            if done.returncode == 0 and out.exists():
                out.replace(path)
                made.append(path)
            elif level == 1:
                return _without(done.stderr.strip()[-500:])
            # else an old compiler, which does not know this level
    for old in folder.glob("_kernel-*"):
        if old not in made:
            with contextlib.suppress(OSError):  # Windows keeps what a process has loaded
                old.unlink()
    return made


def suffix_of(platform: str) -> str:
    """Ending of a library's name on a platform."""
    return {"win": ".dll", "mac": ".dylib"}.get(platform[:3], ".so")


def _compiler() -> list[str] | None:
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"].replace("\\", "/"))  # a path of Windows
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return None if found is None else [found]


def _without(reason: str) -> list[Path]:
    print(f"emag_rt: the compiled engine is left out: {reason}", file=sys.stderr)
    return []
