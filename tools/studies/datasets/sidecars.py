"""BIDS side files: tables of tab-separated values, JSON, and which of them belong to a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emag_rt.errors import RecordingError


def read_tsv(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table.

    Parameters
    ----------
    path : Path
        Tab-separated, first row the names of the columns.
    needed : sequence of str
        Columns that must be there.

    Returns
    -------
    list of dict
        Column to value, blanks stripped.

    Raises
    ------
    RecordingError
        If it cannot be read, lacks a column, or a row has too few or too many values.
    """
    try:
        # utf-8-sig: spreadsheets put a byte-order mark before the first name.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = [line for line in csv.reader(stream, delimiter="\t") if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(
            f"{path.name}: must be a table that can be read, got: {error}."
        ) from error
    header = [name.strip() for name in lines[0]] if lines else []
    missing = [name for name in needed if name not in header]
    if missing:
        raise RecordingError(
            f"{path.name}: must have the columns {', '.join(needed)} (tab-separated), lacks "
            f"{', '.join(missing)}; it has {', '.join(header) or 'none'}. Add them."
        )
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise RecordingError(
                f"{path.name}: every row must have {len(header)} tab-separated values, got "
                f"{len(line)} in row {number}. Mend the row."
            )
    return [dict(zip(header, (value.strip() for value in line), strict=True)) for line in lines[1:]]


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON side file.

    Raises
    ------
    RecordingError
        If it is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path.name}: must be JSON, got: {error}. Mend it.") from error
    if not isinstance(content, dict):
        raise RecordingError(f"{path.name}: must be a JSON object, got {type(content).__name__}.")
    return content


def entities(path: Path) -> dict[str, str]:
    """Entities in a BIDS name: ``sub-01_run-02_eeg.json`` gives sub and run."""
    parts = path.name.split(".")[0].split("_")[:-1]
    return {key: value for key, dash, value in (p.partition("-") for p in parts) if dash}


def side_file(path: Path, suffix: str, top: Path) -> Path | None:
    """Find the side file that belongs to a data file, by BIDS' rule of inheritance.

    Parameters
    ----------
    path : Path
        The data file.
    suffix : str
        End of the side file's name, e.g. ``channels.tsv``.
    top : Path
        Folder above which nothing is looked for.

    Returns
    -------
    Path or None
        In the nearest folder that has one, the file with the most entities in common, all of
        whose entities the data file has.

    Raises
    ------
    RecordingError
        If two files in a folder fit equally well.
    """
    own = entities(path)
    for folder in [path.parent, *path.parent.parents]:
        fitting = [
            candidate
            for candidate in sorted(folder.glob(f"*{suffix}"))
            if candidate.name in (suffix,) or candidate.name.endswith(f"_{suffix}")
            if entities(candidate).items() <= own.items()
        ]
        if fitting:
            most = max(len(entities(candidate)) for candidate in fitting)
            best = [candidate for candidate in fitting if len(entities(candidate)) == most]
            if len(best) > 1:
                raise RecordingError(
                    f"{path.name}: one {suffix} must belong to it, got "
                    f"{' and '.join(candidate.name for candidate in best)}. Remove one of them."
                )
            return best[0]
        if folder == top:
            break
    return None
