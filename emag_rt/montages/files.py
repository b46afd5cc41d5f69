"""Electrode positions from text files, without MNE: tables and JSON."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from defusedxml import DefusedXmlException, ElementTree

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import fit_sphere
from emag_rt.errors import MontageError

Places = dict[str, FloatArray]
TABLES = (".tsv", ".csv", ".txt", ".sfp", ".xyz")
SUFFIXES = (*TABLES, ".json", ".bvef")
_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_NAMES = {"name", "label", "labels", "electrode", "channel", "ch_name", "site"}
_AXIS = re.compile(r"^([xyz])(?:[_ ]?\(?(mm|cm|m)\)?)?$")
_FIDUCIAL = re.compile(r"^(nasion|lpa|rpa|fid.*)$", re.IGNORECASE)
_HEAD_MM = 90.0  # where a file has angles alone
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
    read = {".json": _from_json, ".bvef": _from_bvef}.get(path.suffix.lower(), _from_table)
    places, unit = read(path, text)
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


def _from_bvef(path: Path, text: str) -> tuple[Places, str | None]:
    """Brain Products' electrode file: XML with angles."""
    try:
        root = ElementTree.fromstring(text)
        places = {}
        for entry in root.iter("Electrode"):
            theta, phi = (float(entry.findtext(k, "nan")) for k in ("Theta", "Phi"))
            radius = float(entry.findtext("Radius", "1"))
            if radius > 0:  # 0 means that the place is not known
                places[(entry.findtext("Name") or "").strip()] = _from_angles(theta, phi)
    except (ValueError, ElementTree.ParseError, DefusedXmlException) as error:
        raise MontageError(
            f"montage {path}: must be XML with Electrode, Name, Theta and Phi ({error})."
        ) from error
    wrong = [name for name, place in places.items() if not name or not np.isfinite(place).all()]
    if wrong:
        raise MontageError(
            f"montage {path}: electrode {wrong[0]!r} must have a name, Theta and Phi."
        )
    return places, "mm"


def _from_angles(theta: float, phi: float) -> FloatArray:
    """A place on the unit head by inclination and azimuth in degrees, as Brain Products has them.

    Theta is measured from the vertex, negative on the left; Phi from the right ear.
    """
    t, p = math.radians(theta), math.radians(phi)
    return _HEAD_MM * np.array([math.sin(t) * math.cos(p), math.sin(t) * math.sin(p), math.cos(t)])


def _from_table(path: Path, text: str) -> tuple[Places, str | None]:
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith(("#", "%"))
    ]
    cells = [(number, _split(line)) for number, line in lines]
    columns = _header(cells[0][1]) if cells else None
    if columns is not None:
        cells = cells[1:]
    columns = columns or _columns(path, cells)
    places: Places = {}
    for number, row in cells:
        if len(row) <= max(columns.name, *columns.axes):
            raise MontageError(
                f"montage {path}, line {number}: must hold name x y z, got {len(row)} columns."
            )
        values = [row[i].strip() for i in columns.axes]
        if any(v.lower() in ("n/a", "nan", "") for v in values):
            continue  # BIDS: an electrode without a position
        try:
            numbers = [_number(v) for v in values]
        except ValueError as error:
            raise MontageError(
                f"montage {path}, line {number}: x y z must be numbers, got {values}."
            ) from error
        place = _from_angles(*numbers) if columns.angles else np.array(numbers)
        label = row[columns.name].strip()
        if not all(map(math.isfinite, place)) or not label or label in places:
            raise MontageError(
                f"montage {path}, line {number}: must hold a new name and finite x y z, got "
                f"{label!r} {values}."
            )
        places[label] = place
    return places, columns.unit


@dataclass(frozen=True)
class _Columns:
    """Where a table has its names and coordinates; ``angles``: Theta and Phi instead of x y z."""

    name: int
    axes: tuple[int, ...]
    unit: str | None = None
    angles: bool = False


def _number(text: str) -> float:
    """A number, with a comma where others have a point."""
    return float(text.replace(",", ".") if "." not in text else text)


def _is_number(text: str) -> bool:
    try:
        _number(text.strip())
    except ValueError:
        return False
    return True


def _columns(path: Path, cells: list[tuple[int, list[str]]]) -> _Columns:
    """Columns of a table without a header: the one that holds names, and three of numbers."""
    rows = [row for _, row in cells]
    width = min((len(row) for row in rows), default=0)
    numbers = [i for i in range(width) if all(_is_number(row[i]) or not row[i] for row in rows)]
    names = [i for i in range(width) if not any(_is_number(row[i]) for row in rows)]
    counted = [str(n) for n in range(1, len(rows) + 1)]
    if numbers and [row[numbers[0]].strip() for row in rows] == counted and len(numbers) == 4:
        numbers = numbers[1:]  # the electrodes' own numbers
    if len(numbers) == 3 and names:
        return _Columns(names[0], tuple(numbers))
    if width < 4 or names == [0]:  # its lines tell what is wrong with them
        return _Columns(0, (1, 2, 3))
    raise MontageError(
        f"montage {path}: a table without a header must have one column of names and three of "
        f"numbers, got {width} columns with {len(numbers)} of numbers. Write a header: name x y z."
    )


def _split(line: str) -> list[str]:
    for delimiter in ("\t", ";", ","):
        if delimiter in line:
            return next(csv.reader([line], delimiter=delimiter))
    return line.split()


def _header(row: list[str]) -> _Columns | None:
    """Columns of name and coordinates, and their unit, if the row is a header."""
    keys = [cell.strip().lower() for cell in row]
    axes = {found[1]: (i, found[2]) for i, key in enumerate(keys) if (found := _AXIS.match(key))}
    first = next((i for i, key in enumerate(keys) if key in _NAMES), None)
    if set(axes) == {"x", "y", "z"} and len({unit for _, unit in axes.values()}) == 1:
        places = tuple(axes[axis][0] for axis in "xyz")
        return _Columns(first or 0, places, axes["x"][1])
    if {"theta", "phi"} <= set(keys) and first is not None:
        return _Columns(first, (keys.index("theta"), keys.index("phi")), "mm", angles=True)
    return None


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
