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
    known = positions_mm[np.isfinite(positions_mm).all(axis=1)]
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
    good = np.isfinite(positions_mm).all(axis=1) & (np.linalg.norm(positions_mm, axis=1) > 1.0)
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
