"""Compiles the hot path when the package is built or installed, where there is a C compiler.

Without one the package installs all the same, and serves in NumPy.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC")
# A library for each level of the CPU; the one that fits is chosen when it is loaded.
LEVELS = {
    1: (),
    3: ("-march=x86-64-v3",),
    4: ("-march=x86-64-v4", "-mprefer-vector-width=512"),
}
SECONDS = 300


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's custom hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling of the libraries."""
        if self.target_name != "wheel":
            return
        libraries = build(Path(self.root, "emag_rt", "native"))
        if libraries:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{next(sys_tags()).platform}"
            build_data["artifacts"] += [f"emag_rt/native/{path.name}" for path in libraries]


def build(folder: Path) -> list[Path]:
    """Compile ``kernel.c`` of a folder into it.

    Parameters
    ----------
    folder : Path
        ``emag_rt/native``.

    Returns
    -------
    list of Path
        The libraries; empty where there is no compiler, or it failed (which is said on stderr).
    """
    source = folder / "kernel.c"
    own = Path(__file__).read_bytes()
    digest = hashlib.sha256(source.read_bytes() + own).hexdigest()[:12]
    wide = platform.machine().lower() in ("x86_64", "amd64") and sys.platform == "linux"
    levels = LEVELS if wide else {1: ()}
    paths = {level: folder / f"_kernel-{digest}-{level}.so" for level in levels}
    for old in folder.glob("_kernel-*.so"):
        if old not in paths.values():
            old.unlink()
    compiler = _compiler()
    if compiler is None:
        return _without("no C compiler (cc, gcc or clang) is here")
    for level, path in paths.items():
        if path.exists():
            continue
        # Another process may have the old library mapped: it is replaced, never written over.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            out = Path(scratch, path.name)
            command = [*compiler, *FLAGS, *levels[level], "-o", str(out), str(source), "-lm"]
            try:
                done = subprocess.run(  # noqa: S603 - a compiler chosen by who installs
                    command, capture_output=True, text=True, timeout=SECONDS, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return _without(str(error))
            if done.returncode:
                if level == 1:
                    return _without(done.stderr.strip()[-500:])
                continue  # an old compiler that does not know this level
            out.replace(path)
    return [path for path in paths.values() if path.exists()]


def _compiler() -> list[str] | None:
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return None if found is None else [found]


def _without(reason: str) -> list[Path]:
    print(f"emag_rt: the compiled engine is left out: {reason}", file=sys.stderr)
    return []
