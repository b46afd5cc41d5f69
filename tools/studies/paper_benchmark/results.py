"""Results on disk: one JSON file each, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emag_rt import files
from emag_rt.errors import OutputError

DONE, FAILED = "done", "failed"


def write_text(path: Path, text: str) -> None:
    """Write a file, and the folders it lies in; a reader never sees half of it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"out {path.parent}: cannot be made: {error.strerror}.") from error
    files.write_text(path, text, "out")


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Write a result; NaN and infinity are refused, JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> dict[str, Any] | None:
    """Read a result.

    Returns
    -------
    dict or None
        None where there is none, or none that can be used: it is then made again.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    usable = isinstance(content, dict) and content.get("status") in (DONE, FAILED)
    return content if usable else None


def is_done(path: Path) -> bool:
    """Whether a result is there; failures are tried again."""
    content = read_result(path)
    return content is not None and content["status"] == DONE
