"""Putting a linear fit into the field: K A = W, exactly, and between electrodes as kriging would.

The fit knows one matrix for each temporal profile, W_g (electrodes x features). There are two
kinds of Gaussians: wide ones on the grid, and a narrow one at every electrode that was worn. The
amplitudes A_g = S W_g make the field agree with kriging (:mod:`calibration.field.kriging`) all over
the scalp, in the least-squares sense, and with W_g exactly at the electrodes. What is peculiar
to one electrode, which kriging takes for its own noise, ends up in its narrow Gaussian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.field.kriging import Guide, Kriging, fit_kriging, spacing_mm
from emag_rt.array_types import FloatArray
from emag_rt.core.field import GaussianField, isotropic_cholesky
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import CalibrationError

"""Widths at which a basis of one width, without kriging, is tried in comparisons."""
WIDTHS_OVER_SPACING = (0.8, 1.0, 1.15, 1.3, 1.5, 1.8)
"""Widths tried for the Gaussians of the grid, in steps of the grid."""
NARROW = 0.2
"""Width of the Gaussians at electrodes, over the distance to the next electrode."""
# Virtual electrodes have some other cap's distance from the centre: the field is held to kriging
# in a shell, not on a surface.
_SHELL = (0.94, 1.0, 1.06)
_N_DIRECTIONS = 400
_RIDGE = 1e-6
_FAR_WEIGHT = 0.1


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Gaussians in space, and the solver that goes with them.

    Attributes
    ----------
    centers_mm : ndarray, shape (n_points, 3)
        Grid, then the electrodes that the field knows.
    widths_mm : ndarray, shape (n_points,)
        Spatial standard deviations.
    solver : ndarray, shape (n_points, n_electrodes)
        From what the field must give at the electrodes to amplitudes; ``K @ solver`` is one.
    misfit : float
        Share of the wanted map over the scalp that the Gaussians cannot follow.
    """

    centers_mm: FloatArray
    widths_mm: FloatArray
    solver: FloatArray
    misfit: float

    @property
    def width_mm(self) -> float:
        """Width of the Gaussians of the grid, in mm."""
        return float(self.widths_mm[0])


@dataclass(frozen=True, eq=False)
class SpatialStart(Gaussians):
    """Gaussians that follow what a session shows between its electrodes.

    Attributes
    ----------
    kriging : Kriging
        What the field follows between electrodes.
    """

    kriging: Kriging


def choose_gaussians(
    centers_mm: FloatArray, positions_mm: FloatArray, guide: Guide
) -> SpatialStart:
    """Choose Gaussians with electrodes left out as the guide.

    Parameters
    ----------
    centers_mm : ndarray, shape (n_grid, 3)
        Grid.
    positions_mm : ndarray, shape (n_electrodes, 3)
        Electrodes the fit knows, targets first.
    guide : Guide
        Their second moments.

    Returns
    -------
    SpatialStart
        The width of the grid's Gaussians is the one that follows kriging best.

    Raises
    ------
    CalibrationError
        If the grid has fewer points than there are electrodes, or two electrodes share a place.
    """
    kriging = fit_kriging(positions_mm, guide)
    found = fit_gaussians(centers_mm, positions_mm, guide.rendered, kriging.weights)
    return SpatialStart(found.centers_mm, found.widths_mm, found.solver, found.misfit, kriging)


def fit_gaussians(
    centers_mm: FloatArray,
    positions_mm: FloatArray,
    rendered: FloatArray,
    between: Callable[[FloatArray], FloatArray],
) -> Gaussians:
    """Choose the width of the grid's Gaussians that follows a map of the scalp best.

    Parameters
    ----------
    centers_mm : ndarray, shape (n_grid, 3)
        Grid.
    positions_mm : ndarray, shape (n_electrodes, 3)
        Electrodes the field knows.
    rendered : ndarray, shape (n_electrodes, n_electrodes)
        Second moments of what is rendered there, µV².
    between : callable
        From places (n_places, 3) to the weights (n_places, n_electrodes) of what is wanted there.

    Returns
    -------
    Gaussians
        Exact at the electrodes.

    Raises
    ------
    CalibrationError
        If the grid has fewer points than there are electrodes.
    """
    if len(centers_mm) < len(positions_mm):
        raise CalibrationError(
            f"the grid must resolve the montage: {len(centers_mm)} points cannot tell "
            f"{len(positions_mm)} electrodes apart. Raise --grid-resolution."
        )
    scalp = scalp_shell(positions_mm)
    wanted = between(scalp)
    nearest = np.linalg.norm(scalp[:, None] - positions_mm, axis=-1).min(axis=1)
    apart = spacing_mm(positions_mm)
    trust = np.maximum(np.exp(-0.5 * (nearest / (2.0 * apart)) ** 2), _FAR_WEIGHT)[:, None]
    centers = np.concatenate([centers_mm, positions_mm])
    best: Gaussians | None = None
    for factor in WIDTHS_OVER_SPACING:
        widths = np.full(len(centers), NARROW * apart)
        widths[: len(centers_mm)] = factor * spacing_mm(centers_mm)
        everywhere = spatial_kernel(centers, scalp, widths)
        solver = _constrained(
            trust * everywhere, trust * wanted, spatial_kernel(centers, positions_mm, widths)
        )
        missed = trust * (everywhere @ solver - wanted)
        # The map of the signals themselves, not of unit impulses, is what must be right.
        power = (trust * wanted) @ rendered
        lost = float(((missed @ rendered) * missed).sum())
        misfit = lost / max(float((power * trust * wanted).sum()), 1e-300)
        if best is None or misfit < best.misfit:
            best = Gaussians(centers, widths, solver, misfit)
    assert best is not None
    return best


def _constrained(design: FloatArray, wanted: FloatArray, exact: FloatArray) -> FloatArray:
    """Least squares ``design @ S = wanted`` subject to ``exact @ S = 1``."""
    gram = design.T @ design + _RIDGE * len(design) * np.eye(design.shape[1])
    free, lift = np.split(
        np.linalg.solve(gram, np.hstack([design.T @ wanted, exact.T])), [wanted.shape[1]], axis=1
    )
    missing = np.eye(len(exact)) - exact @ free
    return np.asarray(free + lift @ np.linalg.solve(exact @ lift, missing))


def scalp_shell(positions_mm: FloatArray) -> FloatArray:
    """Places all around the head, in a shell as thick as heads differ, shape (n_places, 3).

    Parameters
    ----------
    positions_mm : ndarray, shape (n_electrodes, 3)
        Electrodes; their distances from the centre are carried on smoothly.
    """
    n = max(_N_DIRECTIONS, 4 * len(positions_mm))
    step = np.arange(n) + 0.5
    z = 1.0 - 2.0 * step / n
    angle = np.pi * (1.0 + np.sqrt(5.0)) * step  # Fibonacci lattice
    ring = np.sqrt(1.0 - z**2)
    unit = np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])
    known = np.linalg.norm(positions_mm, axis=1)
    radius = spherical_spline(positions_mm, unit, smoothing=1e-3) @ known
    radius = np.clip(radius, known.min(), known.max())
    return np.concatenate([unit * (radius * share)[:, None] for share in _SHELL])


def spatial_kernel(
    centers_mm: FloatArray, positions_mm: FloatArray, width_mm: float | FloatArray
) -> FloatArray:
    """Isotropic Gaussian kernel, shape (n_electrodes, n_points)."""
    squared = ((positions_mm[:, None] - centers_mm) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-0.5 * squared / np.square(width_mm)))


def make_field(
    start: Gaussians, mu_s: FloatArray, widths_s: FloatArray, amplitudes: FloatArray
) -> GaussianField:
    """Field of isotropic Gaussians with profiles shared by all points.

    Parameters
    ----------
    start : Gaussians
        Centres and widths in space.
    mu_s, widths_s : ndarray, shape (n_gaussians,)
        Temporal centres and widths in s.
    amplitudes : ndarray, shape (n_points, n_gaussians)
        Base amplitudes in µV.

    Returns
    -------
    GaussianField
        The mixture.
    """
    n_points = len(start.centers_mm)
    cholesky = isotropic_cholesky(n_points, 1.0, widths_s)
    cholesky[..., [0, 1, 2], [0, 1, 2]] = 1.0 / start.widths_mm[:, None, None]
    return GaussianField(start.centers_mm, np.tile(mu_s, (n_points, 1)), cholesky, amplitudes)
