"""Where a bundle comes from: files, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from emag_rt import __version__
from emag_rt.files import shown_name

_PACKAGES = ("numpy", "scipy", "mne", "torch")


def provenance(inputs: Sequence[tuple[Path, str]]) -> dict[str, object]:
    """Where a bundle comes from, for its manifest.

    Parameters
    ----------
    inputs : sequence of (Path, str)
        Files it was made from, and their SHA-256.

    Returns
    -------
    dict
        ``inputs``, ``versions`` and ``git_commit``.
    """
    versions = {"emag_rt": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        # Names only: a path would tell who recorded where.
        "inputs": [{"file": shown_name(path), "sha256": digest} for path, digest in inputs],
        "versions": versions,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Commit of this source tree; None where it is an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
