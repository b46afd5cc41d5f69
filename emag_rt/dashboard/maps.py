"""Scalp maps: from electrodes to the pixels of a disc, as a matrix that browsers multiply with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import BoolArray, Float32Array, FloatArray, IntArray
from emag_rt.core.spline import spherical_spline

GRID = 64
"""Pixels along a side of the matrix's square; browsers interpolate between them."""
MAX_ELECTRODES = 512
MIN_ELECTRODES = 4
_SMALLEST_EDGE, _LARGEST_EDGE = np.deg2rad(95.0), np.deg2rad(130.0)
# Pixels just outside the disc are filled too, for the interpolation at its edge.
MARGIN = 1.06
# So little that a map goes through the electrodes: with the usual 1e-5, the pixel at one of 32
# electrodes holds as little as 0.45 of its value.
_SMOOTHING = 1e-7
# An electrode says nothing of places this far away: 4.5 and 7 cm on a head.
_NEAR, _FAR = np.deg2rad(29.0), np.deg2rad(45.0)
# Share of a channel's variance that may be wrong before its surroundings fade; at 1 a map of
# nothing would be as right.
_LITTLE_ERROR = 0.25


@dataclass(frozen=True, eq=False)
class ScalpMap:
    """How to draw one set of electrodes.

    Attributes
    ----------
    columns : ndarray, shape (n_used,), int
        Channels that the map is made of.
    pixels : ndarray, shape (n_pixels,), int32
        Where in the flat GRID x GRID square (row 0 is the front) each value belongs.
    matrix : ndarray, shape (n_pixels, n_used), float32
        Values of the pixels from the channels.
    """

    columns: IntArray
    pixels: NDArray[np.int32]
    matrix: Float32Array


def edge_angle(positions_mm: FloatArray) -> float:
    """Angle from the vertex that the disc's edge stands for, in rad: a little beyond the cap."""
    known = positions_mm[_placed(positions_mm)]
    if not len(known):
        return float(_SMALLEST_EDGE)
    lowest = _angle(known).max() + np.deg2rad(8.0)
    return float(np.clip(lowest, _SMALLEST_EDGE, _LARGEST_EDGE))


def project(positions_mm: FloatArray, edge: float) -> FloatArray:
    """Places in the unit disc (x right, y front), shape (n, 2): equal angles, equal distances.

    NaN where the position is unknown; electrodes beyond the edge are put on it.
    """
    flat = np.hypot(positions_mm[:, 0], positions_mm[:, 1])
    radius = np.minimum(_angle(positions_mm) / edge, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(flat > 0, radius / flat, 0.0)
    return positions_mm[:, :2] * scale[:, None]


def scalp_map(
    positions_mm: FloatArray, edge: float, usable: BoolArray | None = None
) -> ScalpMap | None:
    """Spherical spline from electrodes to the disc's pixels.

    Parameters
    ----------
    positions_mm : ndarray, shape (n, 3)
        Electrodes, NaN where unknown; origin at the centre of the head sphere.
    edge : float
        Angle of the disc's edge in rad.
    usable : ndarray of bool, shape (n,), optional
        Channels to draw the map from, such as those that are not bad.

    Returns
    -------
    ScalpMap or None
        None with fewer than four electrodes in different places to draw it from. Of more than
        512, as many are used, evenly taken.
    """
    good = _placed(positions_mm) & (np.linalg.norm(positions_mm, axis=1) > 1.0)
    if usable is not None:
        good &= usable
    columns = np.flatnonzero(good)
    if len(columns) > MAX_ELECTRODES:
        columns = columns[np.linspace(0, len(columns) - 1, MAX_ELECTRODES).astype(int)]
    places = positions_mm[columns]
    if len(np.unique(np.round(places, 1), axis=0)) < MIN_ELECTRODES:
        return None
    pixels, points = _pixels(edge)
    matrix = spherical_spline(places, points, _SMOOTHING)
    return ScalpMap(columns, pixels, matrix.astype(np.float32))


def trust(
    edge: float,
    places_mm: FloatArray,
    nmse: FloatArray,
    worn_mm: FloatArray,
    good: BoolArray,
) -> NDArray[np.uint8]:
    """How far each pixel of a map can be believed: 255 is drawn in full, 0 not at all.

    A pixel fades where the electrodes around it are expected to be wrong, and where none is
    near: none of the map's own, or no good one that is worn.

    Parameters
    ----------
    edge : float
        Angle of the disc's edge in rad.
    places_mm, nmse : ndarray, shape (n, 3) and (n,)
        The map's electrodes and their expected errors; NaN where one is not known.
    worn_mm, good : ndarray, shape (n_ld, 3) and (n_ld,)
        LD electrodes, and which of them are good.

    Returns
    -------
    ndarray, shape (n_pixels,), uint8
        For the pixels of :class:`ScalpMap`.
    """
    _, points = _pixels(edge)
    apart = _apart(points, places_mm)
    seen = _ramp(apart.min(axis=1, initial=np.pi), _NEAR, _FAR)
    nmse = nmse[_placed(places_mm)]
    known = np.isfinite(nmse)
    if known.any():
        weights = 1.0 / (apart[:, known] + 0.05) ** 4
        error = (weights * np.clip(nmse[known], 0.0, 1.0)).sum(axis=1) / weights.sum(axis=1)
        seen *= _ramp(error, _LITTLE_ERROR, 1.0)
    worn = _apart(points, worn_mm)
    if worn.shape[1]:
        # A cap may leave a side bare on purpose: the expected errors know that, and bad
        # electrodes alone count here.
        always = worn.min(axis=1)
        now = worn[:, good[_placed(worn_mm)]].min(axis=1, initial=np.pi)
        seen *= _ramp(now, np.maximum(_NEAR, always), np.maximum(_FAR, always + _FAR - _NEAR))
    return np.round(255.0 * seen).astype(np.uint8)


def _placed(positions_mm: FloatArray) -> BoolArray:
    return np.asarray(np.isfinite(positions_mm).all(axis=1))


def _ramp(x: FloatArray, low: FloatArray | float, high: FloatArray | float) -> FloatArray:
    """One up to ``low``, falling to nothing at ``high``."""
    return np.asarray(np.clip((high - x) / (high - low), 0.0, 1.0))


def _apart(points: FloatArray, positions_mm: FloatArray) -> FloatArray:
    """Angles between points of the unit sphere and those electrodes whose place is known."""
    known = positions_mm[_placed(positions_mm)]
    known = known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-9)
    return np.asarray(np.arccos(np.clip(points @ known.T, -1.0, 1.0)))


def _pixels(edge: float) -> tuple[NDArray[np.int32], FloatArray]:
    """Flat indices of the pixels within the disc, and their places on the unit sphere."""
    axis = np.linspace(-MARGIN, MARGIN, GRID)
    x, y = np.meshgrid(axis, -axis)
    radius = np.hypot(x, y)
    inside = np.flatnonzero(radius.ravel() <= MARGIN + 2.0 / GRID)
    x, y, radius = x.ravel()[inside], y.ravel()[inside], radius.ravel()[inside]
    angle = np.minimum(radius * edge, np.pi)
    ring = np.sin(angle) / np.maximum(radius, 1e-12)
    return inside.astype(np.int32), np.column_stack([x * ring, y * ring, np.cos(angle)])


def _angle(positions_mm: FloatArray) -> FloatArray:
    flat = np.hypot(positions_mm[:, 0], positions_mm[:, 1])
    return np.asarray(np.arctan2(flat, positions_mm[:, 2]))
