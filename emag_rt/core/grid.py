"""Lattices of Gaussian centres (EMAG, arXiv 2605.29731: uniform R x R x R over the head)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError

GridSupport = Literal["cube", "sphere", "surface"]
HALF_WIDTH_MM = 90.0


def lattice(resolution: int, support: GridSupport = "sphere") -> FloatArray:
    """Centres of the Gaussians.

    Parameters
    ----------
    resolution : int
        Points along an axis (``cube``, ``sphere``), or rings of latitude (``surface``), 2 to 64.
    support : {"cube", "sphere", "surface"}
        ``cube``: the uniform lattice over [-90, 90] mm; ``sphere``: its points within 90 mm of
        the origin; ``surface``: a theta-phi lattice on the sphere of radius 90 mm, with rings
        that hold points in proportion to their length.

    Returns
    -------
    ndarray, shape (n_points, 3), float64
        Centres in mm.

    Raises
    ------
    SettingsError
        If the resolution or the support is not allowed.
    """
    if not 2 <= resolution <= 64:
        raise SettingsError(f"resolution must be from 2 to 64, got {resolution}.")
    if support == "surface":
        return _surface(resolution)
    if support not in ("cube", "sphere"):
        raise SettingsError(f"support must be 'cube', 'sphere' or 'surface', got {support!r}.")
    axis = np.linspace(-HALF_WIDTH_MM, HALF_WIDTH_MM, resolution)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    if support == "sphere":
        points = points[np.linalg.norm(points, axis=1) <= HALF_WIDTH_MM]
    return np.ascontiguousarray(points)


def _surface(resolution: int) -> FloatArray:
    rings = []
    for theta in (np.arange(resolution) + 0.5) * np.pi / resolution:
        count = max(1, round(2 * resolution * np.sin(theta)))
        phi = np.arange(count) * 2 * np.pi / count
        ring = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)]
        rings.append(np.column_stack([*ring, np.full(count, np.cos(theta))]))
    return HALF_WIDTH_MM * np.concatenate(rings)


def resolution_for(n_electrodes: int, per_electrode: float = 3.0) -> int:
    """Smallest ``sphere`` resolution, at least 8, with enough points for a montage.

    The closed-form start solves K A = W exactly, which needs more points than electrodes.

    Parameters
    ----------
    n_electrodes : int
        Electrodes to render.
    per_electrode : float
        Grid points wanted for each electrode.

    Returns
    -------
    int
        Resolution for :func:`lattice`.
    """
    for resolution in range(8, 64):
        if len(lattice(resolution, "sphere")) >= per_electrode * n_electrodes:
            return resolution
    raise SettingsError(f"n_electrodes must be at most tens of thousands, got {n_electrodes}.")


def scalp_points(n_points: int, radius_mm: float) -> FloatArray:
    """Evenly spread points on the upper half of the head sphere (a Fibonacci lattice).

    Parameters
    ----------
    n_points : int
        How many, at least 1.
    radius_mm : float
        Radius of the head sphere in mm.

    Returns
    -------
    ndarray, shape (n_points, 3), float64
        Points in mm, from the vertex down to the equator.

    Raises
    ------
    SettingsError
        If there would be no point.
    """
    if n_points < 1:
        raise SettingsError(f"n_points must be at least 1, got {n_points}.")
    i = np.arange(n_points)
    height = 1.0 - (i + 0.5) / n_points
    angle = i * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - height**2)
    return radius_mm * np.column_stack([ring * np.cos(angle), ring * np.sin(angle), height])
