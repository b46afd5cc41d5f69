"""Where a bundle comes from: files, versions, commit."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from emag_rt import __version__
from emag_rt.bundle import Bundle
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
        "inputs": _named(inputs),
        "versions": versions,
        "git_commit": _git_commit(),
    }


def adapted_from(
    bundle: Bundle, seconds: float, inputs: Sequence[tuple[Path, str]]
) -> dict[str, object]:
    """What an adapted bundle was adapted from, for its manifest.

    Parameters
    ----------
    bundle : Bundle
        As it was.
    seconds : float
        Of LD that it was adapted to.
    inputs : sequence of (Path, str)
        The recordings and their SHA-256; none where it was learned live.

    Returns
    -------
    dict
        ``created``, ``emag_rt``, ``seconds``, ``inputs`` and ``from``.
    """
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "emag_rt": __version__,
        "seconds": round(seconds, 2),
        "inputs": _named(inputs),
        "from": bundle.sha256,
    }


def _named(inputs: Sequence[tuple[Path, str]]) -> list[dict[str, str]]:
    # Names only: a path would tell who recorded where.
    return [{"file": shown_name(path), "sha256": digest} for path, digest in inputs]


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
