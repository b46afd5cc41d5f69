"""Laying a montage with a frame of its own on the cap a field was calibrated with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import canonical
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.errors import MontageError

SAME_PLACE_MM = 4.0
"""Nearer than any cap can be put on twice: the same electrode, whatever it is called."""
# Caps on heads of other shapes put an electrode of the 10-05 system up to here from the template.
_SAME_LABEL_MM = 30.0
_FIT_MM = 20.0
_MIN_SHARED = 4


@dataclass(frozen=True, eq=False)
class Placement:
    """A montage in the frame of a field.

    Attributes
    ----------
    montage : Montage
        Electrodes; those of the cap are where the cap has them.
    worn : tuple of (int or None)
        Row of each in the cap's montage; None for a virtual electrode, which nobody wore.
    method : str
        How it was aligned, in words.
    warnings : tuple of str
        What the user should know.
    """

    montage: Montage
    worn: tuple[int | None, ...]
    method: str
    warnings: tuple[str, ...] = ()


def similarity(
    from_mm: FloatArray, to_mm: FloatArray
) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """Rotation, one scale and shift that lay points on points (Umeyama 1991).

    Parameters
    ----------
    from_mm, to_mm : ndarray, shape (n_points, 3)
        The same points in two frames.

    Returns
    -------
    scale : float
        Size of the second frame over that of the first.
    rotation : ndarray, shape (3, 3)
        Proper: mirror images do not fit.
    shift_mm : ndarray, shape (3,)
        ``to = scale * from @ rotation.T + shift``.
    residual_mm : ndarray, shape (n_points,)
        Distances that are left.
    """
    a, b = from_mm - from_mm.mean(axis=0), to_mm - to_mm.mean(axis=0)
    left, values, right = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    rotation = (left * sign) @ right
    scale = float((values * sign).sum() / max(float((a**2).sum()), 1e-300))
    shift = to_mm.mean(axis=0) - scale * from_mm.mean(axis=0) @ rotation.T
    residual = np.linalg.norm(scale * from_mm @ rotation.T + shift - to_mm, axis=1)
    return scale, rotation, shift, residual


def place(
    positions_mm: Mapping[str, FloatArray], cap: Montage, radius_mm: float, *, one_system: bool
) -> Placement:
    """Lay electrodes on the head that a cap's field belongs to.

    By labels that the cap has too, where at least four fit (rotation, scale and shift); else
    by laying the sphere through the electrodes on the head's, without turning it.

    Parameters
    ----------
    positions_mm : mapping of str to ndarray, shape (3,)
        Electrodes in a frame of their own (x right, y front, z up unless labels tell), in mm.
    cap : Montage
        What the field was calibrated with, origin at the centre of the head sphere.
    radius_mm : float
        Radius of the head sphere.
    one_system : bool
        Whether labels mean the same place in both, as the names of the 10-05 system do. If not
        (``A1`` of one maker is not another's), an electrode is the cap's only where it is.

    Returns
    -------
    Placement
        In the cap's frame.

    Raises
    ------
    MontageError
        If labels of one system do not fit, or neither labels nor a sphere can be used.
    """
    labels = unique_labels(positions_mm)
    points = np.array([positions_mm[label] for label in labels], dtype=np.float64)
    if not labels or not np.isfinite(points).all():
        raise MontageError("montage: every electrode must have a finite position, got none or NaN.")
    rows = {canonical(label): row for row, label in enumerate(cap.labels)}
    shared = [(i, rows[key]) for i, key in enumerate(map(canonical, labels)) if key in rows]
    placed, method, fitted = _by_labels(points, cap, shared, one_system)
    if placed is None:
        center, radius = fit_sphere(points)
        placed = (points - center) * (radius_mm / radius)
        method = f"its sphere (radius {radius:.0f} mm) laid on the head's ({radius_mm:.0f} mm)"
    near = _SAME_LABEL_MM if fitted or one_system else SAME_PLACE_MM
    return settle(tuple(labels), placed, cap, near, method)


def settle(
    labels: tuple[str, ...], placed_mm: FloatArray, cap: Montage, near_mm: float, method: str
) -> Placement:
    """Tell electrodes of the cap from virtual ones, in the cap's frame.

    Parameters
    ----------
    labels : tuple of str
        Electrodes.
    placed_mm : ndarray, shape (n_electrodes, 3)
        Where they are, in the cap's frame.
    cap : Montage
        The cap.
    near_mm : float
        An electrode is the cap's when it has the same label within this distance; with any
        label within ``SAME_PLACE_MM``.
    method : str
        How they came there.

    Returns
    -------
    Placement
        With a warning for labels of the cap that lie elsewhere.
    """
    distance = np.linalg.norm(placed_mm[:, None] - cap.positions_mm, axis=-1)
    rows = {canonical(label): row for row, label in enumerate(cap.labels)}
    worn: list[int | None] = [None] * len(labels)
    elsewhere = []
    for i, label in enumerate(labels):
        row = rows.get(canonical(label))
        if row is not None and distance[i, row] <= near_mm:
            worn[i] = row
        elif row is not None:
            elsewhere.append(label)
    for i in range(len(labels)):
        row = int(distance[i].argmin())
        if worn[i] is None and distance[i, row] <= SAME_PLACE_MM:
            worn[i] = row
    positions = placed_mm.copy()
    for i, row in enumerate(worn):
        if row is not None:
            positions[i] = cap.positions_mm[row]
    warnings = []
    virtual = [label for label in elsewhere if worn[labels.index(label)] is None]
    if virtual:
        warnings.append(
            f"{_some(virtual)}: the cap has electrodes of this name in other places; taken to be "
            "virtual ones"
        )
    return Placement(Montage(labels, positions), tuple(worn), method, tuple(warnings))


def _by_labels(
    points: FloatArray, cap: Montage, shared: list[tuple[int, int]], one_system: bool
) -> tuple[FloatArray | None, str, bool]:
    """Electrodes laid on the cap by labels, or None where labels do not do."""
    if len(shared) < _MIN_SHARED:
        return None, "", False
    mine = points[[i for i, _ in shared]]
    theirs = cap.positions_mm[[row for _, row in shared]]
    if np.linalg.matrix_rank(mine - mine.mean(axis=0), tol=1.0) < 2:
        return None, "", False
    *_, residual = similarity(mine, theirs)
    keep = residual <= max(1.25 * _FIT_MM, 3.0 * float(np.median(residual)))
    scale, rotation, shift, residual = similarity(mine[keep], theirs[keep])
    typical = float(np.median(residual))
    if typical > _FIT_MM or not scale > 0:
        if one_system:
            raise MontageError(
                f"montage: its {len(shared)} electrodes that the cap has too must fit the cap's "
                f"positions within {_FIT_MM:g} mm, got {typical:.0f} mm after the best turn and "
                "scale. Check the axes (x right, y front, z up; not mirrored) and the labels."
            )
        return None, "", False
    method = (
        f"turned, scaled by {scale:.3f} and shifted onto {int(keep.sum())} electrodes of the cap, "
        f"{typical:.1f} mm left"
    )
    return scale * points @ rotation.T + shift, method, True


def unique_labels(positions_mm: Iterable[str]) -> list[str]:
    """Labels, the first of those that mean one electrode (templates list T7 and T3)."""
    seen: dict[str, str] = {}
    for label in positions_mm:
        seen.setdefault(canonical(label), label)
    return list(seen.values())


def _some(labels: list[str], most: int = 8) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" * (len(labels) > most))
