"""Output electrodes by name, file, label or position, for a field that renders anywhere."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, Manifest
from emag_rt.core.alignment import Placement, place, settle
from emag_rt.core.labels import canonical
from emag_rt.core.montage import Montage
from emag_rt.core.straighten import straighten
from emag_rt.errors import MontageError
from emag_rt.montages.files import SUFFIXES, read_places
from emag_rt.montages.standard import TEN_FIVE, is_standard, standard_names
from emag_rt.montages.standard import standard_positions as positions_of

CAP = "cap"
"""In a list: every electrode of the bundle's own montage."""
# A label given with a Montage object in the bundle's frame means the cap's electrode up to here.
_SAME_LABEL_MM = 30.0
_LOCAL_MM = 40.0
_REACH = 1.5


def resolve_montage(
    text: str,
    bundle: Bundle,
    read_other: Callable[[Path], dict[str, FloatArray]] | None = None,
) -> Placement:
    """Electrodes that a user asked for, in the bundle's frame.

    Parameters
    ----------
    text : str
        A standard montage (``standard_1005``, ``biosemi256``, ...), a file of positions (see
        :func:`emag_rt.montages.files.read_places`), or a list with commas of labels of
        the cap or of the 10-05 system, ``cap`` for all of the cap's, and ``NAME=x/y/z``: a
        position in mm in the bundle's frame (x right, y front, z up, origin at the centre of
        the head sphere).
    bundle : Bundle
        The calibrated subject.
    read_other : callable, optional
        Reads files of other formats into label to position in mm.

    Returns
    -------
    Placement
        Where they are, and which of them the cap has.

    Raises
    ------
    MontageError
        If it is none of these, cannot be read, or cannot be aligned.
    """
    manifest = bundle.manifest
    return resolve_on_head(text, manifest.hd_montage, manifest.head.radius_mm, read_other)


def resolve_on_head(
    text: str,
    cap: Montage,
    radius_mm: float,
    read_other: Callable[[Path], dict[str, FloatArray]] | None = None,
) -> Placement:
    """Electrodes that a user asked for, on a head with a cap, as :func:`resolve_montage` has them.

    Parameters
    ----------
    text : str
        As there.
    cap : Montage
        Electrodes whose places are known, origin at the centre of the head sphere.
    radius_mm : float
        Radius of the head sphere.
    read_other : callable, optional
        As there.

    Returns
    -------
    Placement
        In the cap's frame.

    Raises
    ------
    MontageError
        As there.
    """
    path = Path(text)
    # A long list of labels is no file name: os.path says so without raising.
    if path.suffix.lower() in SUFFIXES or os.path.isfile(text):
        if path.suffix.lower() in SUFFIXES:
            places = read_places(path)
        elif read_other is not None:
            places = read_other(path)
        else:
            raise MontageError(
                f"montage {path}: must be a table or JSON ({', '.join(SUFFIXES)}) here, got "
                f"{path.suffix or 'no suffix'}. Write name, x, y, z to a .tsv file."
            )
        return laid_on_head(places, cap, radius_mm)
    if is_standard(text):
        return laid_on_head(positions_of(text), cap, radius_mm)
    return _from_list(text, cap, radius_mm)


def placed_montage(montage: Montage, bundle: Bundle) -> Placement:
    """Electrodes whose positions are in the bundle's frame already."""
    return settle(
        montage.labels,
        montage.positions_mm,
        bundle.manifest.hd_montage,
        _SAME_LABEL_MM,
        "positions given in the bundle's frame",
    )


def laid_on_head(places: dict[str, FloatArray], cap: Montage, radius_mm: float) -> Placement:
    """Electrodes in a frame of their own, laid on a head with a cap.

    Parameters
    ----------
    places : dict of str to ndarray, shape (3,)
        Electrodes in mm.
    cap : Montage
        Electrodes whose places are known, origin at the centre of the head sphere.
    radius_mm : float
        Radius of the head sphere.

    Returns
    -------
    Placement
        In the cap's frame.

    Raises
    ------
    MontageError
        If they cannot be aligned.
    """
    notes: list[str] = []
    labels = tuple(places)
    # Labels of the cap alone may be too few to tell how a file's axes stand.
    straight = straighten(labels, np.array(list(places.values())), positions_of(TEN_FIVE), notes)
    places = dict(zip(labels, straight, strict=True))
    one_system = _of_ten_five(cap.labels) and _of_ten_five(labels)
    found = place(places, cap, radius_mm, one_system=one_system)
    return replace(found, warnings=(*notes, *found.warnings))


def _of_ten_five(labels: Sequence[str]) -> bool:
    """Whether most labels are names of the 10-05 system; BioSemi's A1 to H32 are not."""
    known = {canonical(label) for label in positions_of(TEN_FIVE)}
    return sum(canonical(label) in known for label in labels) > 0.6 * len(labels)


def _from_list(text: str, cap: Montage, radius_mm: float) -> Placement:
    own = {canonical(label): row for row, label in enumerate(cap.labels)}
    template: Placement | None = None
    labels: list[str] = []
    points: list[FloatArray] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        label, _, position = item.partition("=")
        if not position and canonical(label) in {canonical(known) for known in labels}:
            continue  # "cap,POz" where the cap has POz
        if position:
            points.append(_point(item, position))
        elif canonical(label) == CAP:
            labels += cap.labels
            points += list(cap.positions_mm)
            continue
        elif canonical(label) in own:
            points.append(cap.positions_mm[own[canonical(label)]])
        else:
            template = template or laid_on_head(positions_of(TEN_FIVE), cap, radius_mm)
            points.append(_template_point(label, template, text))
        labels.append(label.strip())
    if not labels:
        raise MontageError("montage must name at least one electrode, got none.")
    method = "listed" if template is None else f"10-05 template: {template.method}"
    return settle(tuple(labels), np.array(points), cap, _SAME_LABEL_MM, method)


def _point(item: str, position: str) -> FloatArray:
    try:
        x, y, z = (float(v) for v in position.split("/"))
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise MontageError(
            f"montage: a position must be NAME=x/y/z in mm, got {item!r} (such as P1=-40/-60/50)."
        )
    return np.array([x, y, z])


def _template_point(label: str, template: Placement, text: str) -> FloatArray:
    known = {canonical(name): row for row, name in enumerate(template.montage.labels)}
    row = known.get(canonical(label))
    if row is None:
        near = get_close_matches(label.casefold(), standard_names(), n=3, cutoff=0.6)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise MontageError(
            f"montage must be a file ({', '.join(SUFFIXES)}), a standard montage "
            f"({', '.join(standard_names()[:2])}, biosemi64, ...), or a list of labels of the cap "
            f"or of the 10-05 system, got {text[:80]!r}: {label!r} is none of these.{meant}"
        )
    return np.asarray(template.montage.positions_mm[row])


def left_out_nmse(manifest: Manifest, positions_mm: FloatArray) -> list[float | None]:
    """Expected error at electrodes that calibration did not have.

    Parameters
    ----------
    manifest : Manifest
        With the errors of calibration's own electrodes when each was left out.
    positions_mm : ndarray, shape (n_electrodes, 3)
        Electrodes in the bundle's frame.

    Returns
    -------
    list of (float or None)
        Mean over nearby electrodes; None beyond the cap, or where the bundle does not tell.
    """
    left_out = manifest.scores.get("left_out", {})
    told = left_out.get("per_channel") if isinstance(left_out, dict) else None
    errors = told if isinstance(told, dict) else {}
    # JSON knows whole numbers too, of any size: an error or a spacing is a float.
    known = [e for e in manifest.hd if _is_number(errors.get(e.label))]
    spacing = left_out.get("spacing_mm") if known else None
    if not _is_number(spacing):
        return [None] * len(positions_mm)
    places = np.array([e.position_mm for e in known])
    values = np.array([float(errors[e.label]) for e in known])
    everyone = manifest.hd_montage.positions_mm
    expected: list[float | None] = []
    for point in positions_mm:
        nearest = float(np.linalg.norm(everyone - point, axis=1).min())
        squared = ((places - point) ** 2).sum(axis=1)
        weight = np.exp(-0.5 * (squared - squared.min()) / _LOCAL_MM**2)
        mean = float(weight @ values / weight.sum())
        inside = nearest <= _REACH * float(spacing) and math.isfinite(mean)
        expected.append(round(mean, 6) if inside else None)
    return expected


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, float) and 0 <= value <= 1e9
