"""Electrode positions from text files, without MNE: tables and JSON."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import fit_sphere
from emag_rt.errors import MontageError

Places = dict[str, FloatArray]
TABLES = (".tsv", ".csv", ".txt", ".sfp", ".xyz")
SUFFIXES = (*TABLES, ".json")
_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_NAMES = {"name", "label", "electrode", "channel", "ch_name"}
_AXIS = re.compile(r"^([xyz])(?:[_ ]?\(?(mm|cm|m)\)?)?$")
_FIDUCIAL = re.compile(r"^(nasion|lpa|rpa|fid.*)$", re.IGNORECASE)
_MAX_BYTES = 4 << 20


def read_places(path: Path) -> Places:
    """Read electrode positions.

    Parameters
    ----------
    path : Path
        A table ``name x y z`` (tabs, commas, semicolons or blanks; with a header as in BIDS
        ``electrodes.tsv``, or without; other columns are left alone), or JSON
        ``{"Fz": [x, y, z], ...}``. A header ``x_mm``, ``x_cm`` or ``x_m``, or a key ``"unit"``
        beside ``"positions"`` in JSON, gives the unit; else the size of the head does.

    Returns
    -------
    dict of str to ndarray, shape (3,), float64
        In the file's own frame, in mm, fiducials left out.

    Raises
    ------
    MontageError
        If the file cannot be read as such; names the line.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MontageError(f"montage {path}: must be at most {_MAX_BYTES >> 20} MiB.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MontageError(f"montage {path}: cannot be read as text: {error}.") from error
    places, unit = (
        _from_json(path, text) if path.suffix.lower() == ".json" else _from_table(path, text)
    )
    places = {label: place for label, place in places.items() if not _FIDUCIAL.match(label)}
    if not places:
        raise MontageError(f"montage {path}: must hold electrodes (name x y z), got none.")
    scale = _MM[unit] if unit else _guess_scale(path, np.array(list(places.values())))
    return {label: place * scale for label, place in places.items()}


def _from_json(path: Path, text: str) -> tuple[Places, str | None]:
    try:
        content = json.loads(text)
        unit = content.get("unit") if "positions" in content else None
        entries = content.get("positions", content)
        places = {str(label): np.array(place, dtype=float) for label, place in entries.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MontageError(
            f'montage {path}: must be JSON like {{"Fz": [x, y, z], ...}} ({error}).'
        ) from error
    if unit is not None and (not isinstance(unit, str) or unit not in _MM):
        raise MontageError(f"montage {path}: unit must be mm, cm or m, got {unit!r}.")
    wrong = [k for k, p in places.items() if p.shape != (3,) or not np.isfinite(p).all()]
    if wrong:
        raise MontageError(f"montage {path}: {wrong[0]} must have three finite coordinates.")
    return places, unit


def _from_table(path: Path, text: str) -> tuple[Places, str | None]:
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith(("#", "%"))
    ]
    cells = [(number, _split(line)) for number, line in lines]
    columns, unit = _header(cells[0][1]) if cells else (None, None)
    if columns is not None:
        cells = cells[1:]
    name, *axes = columns or (0, 1, 2, 3)
    places: Places = {}
    for number, row in cells:
        if len(row) <= max(name, *axes):
            raise MontageError(
                f"montage {path}, line {number}: must hold name x y z, got {len(row)} columns."
            )
        values = [row[i].strip() for i in axes]
        if any(v.lower() in ("n/a", "nan", "") for v in values):
            continue  # BIDS: an electrode without a position
        try:
            place = np.array([float(v) for v in values])
        except ValueError as error:
            raise MontageError(
                f"montage {path}, line {number}: x y z must be numbers, got {values}."
            ) from error
        label = row[name].strip()
        if not all(map(math.isfinite, place)) or not label or label in places:
            raise MontageError(
                f"montage {path}, line {number}: must hold a new name and finite x y z, got "
                f"{label!r} {values}."
            )
        places[label] = place
    return places, unit


def _split(line: str) -> list[str]:
    for delimiter in ("\t", ";", ","):
        if delimiter in line:
            return next(csv.reader([line], delimiter=delimiter))
    return line.split()


def _header(row: list[str]) -> tuple[tuple[int, ...] | None, str | None]:
    """Columns of name, x, y, z and their unit, if the row is a header."""
    keys = [cell.strip().lower() for cell in row]
    axes = {found[1]: (i, found[2]) for i, key in enumerate(keys) if (found := _AXIS.match(key))}
    if set(axes) != {"x", "y", "z"} or len({unit for _, unit in axes.values()}) > 1:
        return None, None
    names = [i for i, key in enumerate(keys) if key in _NAMES]
    first = names[0] if names else 0
    return (first, axes["x"][0], axes["y"][0], axes["z"][0]), axes["x"][1]


def _guess_scale(path: Path, points: FloatArray) -> float:
    """Millimetres in the file's unit: the one in which a head has the size of a head."""
    for scale in _MM.values():
        try:
            fit_sphere(points * scale)
        except MontageError:
            continue
        return scale
    raise MontageError(
        f"montage {path}: its {len(points)} electrodes must lie on a head-sized sphere in mm, cm "
        "or m. State the unit (columns x_mm y_mm z_mm), or give at least 4 electrodes."
    )
