"""Where figures come from: commit, versions, machine, threads, load."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from emag_rt import __version__
from emag_rt.bench.processes import THREADS
from emag_rt.streams.lsl import library_versions

_PACKAGES = ("numpy", "scipy", "onnxruntime", "onnxruntime-gpu", "onnx", "torch")


def describe() -> dict[str, Any]:
    """Everything that figures must be read with.

    Returns
    -------
    dict
        ``command``, ``date``, ``git_commit``, ``versions``, ``machine``, ``threads``,
        ``load_average`` (before the measurement). No names of hosts, users or folders.
    """
    versions = {"emag_rt": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    load = os.getloadavg() if hasattr(os, "getloadavg") else (float("nan"),) * 3
    words = [word if not os.path.isabs(word) else Path(word).name for word in sys.argv[1:]]
    return {
        "command": " ".join(["emag-rt", *words]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "versions": {**versions, **library_versions()},
        "machine": {
            "cpu": cpu_model(),
            "cores": psutil.cpu_count(logical=False),
            "threads": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": f"{platform.system()} {platform.release()}",
        },
        "threads": {name: os.environ.get(name, "1 (children)") for name in THREADS},
        "load_average": [round(value, 2) for value in load],
    }


def cpu_model() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Commit of this source tree, ``+`` when files differ; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}+" if _git(root, "status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
