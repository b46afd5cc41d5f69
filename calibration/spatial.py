"""Putting a linear fit into the field: K A = W, exactly, with the width of the Gaussians learned.

The fit knows one matrix for each temporal profile, W_g (electrodes x features). More grid
points than electrodes make K A_g = W_g solvable exactly, with the smallest A_g. Between
electrodes the field then interpolates W as kriging with covariance K K^T does, so the width of
the Gaussians is chosen by how well each electrode is predicted from all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emag_rt.core.field import GaussianField, isotropic_cholesky
from emag_rt.errors import CalibrationError

FloatArray = NDArray[np.float64]
WIDTHS_MM = (12.0, 15.0, 18.0, 22.0, 27.0, 33.0, 40.0, 50.0)
_MAX_CONDITION = 1e9


@dataclass(frozen=True, eq=False)
class SpatialStart:
    """Widths chosen, and the solver that goes with them.

    Attributes
    ----------
    width_mm : float
        Spatial standard deviation of the Gaussians.
    solver : ndarray, shape (n_points, n_electrodes)
        Pseudo-inverse of K.
    left_out_nmse : float
        Error of each electrode's prediction from all others, pooled.
    """

    width_mm: float
    solver: FloatArray
    left_out_nmse: float


def choose_width(
    centers_mm: FloatArray, positions_mm: FloatArray, predicted: FloatArray
) -> SpatialStart:
    """Choose the width of isotropic Gaussians with electrodes left out as the guide.

    Parameters
    ----------
    centers_mm : ndarray, shape (n_points, 3)
        Grid.
    positions_mm : ndarray, shape (n_electrodes, 3)
        Electrodes the fit knows.
    predicted : ndarray, shape (n_electrodes, n_samples)
        What the fit predicts at them, whitened or in µV.

    Returns
    -------
    SpatialStart
        The best of ``WIDTHS_MM`` whose kernel matrix can be inverted safely.

    Raises
    ------
    CalibrationError
        If no width can: the grid is too coarse for the montage.
    """
    best: SpatialStart | None = None
    power = float((predicted**2).sum())
    for width in WIDTHS_MM:
        kernel = spatial_kernel(centers_mm, positions_mm, width)
        covariance = kernel @ kernel.T
        if np.linalg.cond(covariance) > _MAX_CONDITION:
            continue
        inverse = np.linalg.inv(covariance)
        # Leave-one-out errors of kriging in closed form (Dubrule 1983).
        errors = (inverse @ predicted) / np.diag(inverse)[:, None]
        score = float((errors**2).sum()) / max(power, 1e-300)
        if best is None or score < best.left_out_nmse:
            best = SpatialStart(width, kernel.T @ inverse, score)
    if best is None:
        raise CalibrationError(
            f"the grid must resolve the montage: {len(centers_mm)} points cannot tell "
            f"{len(positions_mm)} electrodes apart. Raise --grid-resolution."
        )
    return best


def spatial_kernel(centers_mm: FloatArray, positions_mm: FloatArray, width_mm: float) -> FloatArray:
    """Isotropic Gaussian kernel, shape (n_electrodes, n_points)."""
    offset = positions_mm[:, None] - centers_mm
    return np.asarray(np.exp(-0.5 * (offset**2).sum(axis=-1) / width_mm**2))


def make_field(
    centers_mm: FloatArray,
    width_mm: float,
    mu_s: FloatArray,
    widths_s: FloatArray,
    amplitudes: FloatArray,
) -> GaussianField:
    """Field of isotropic Gaussians with profiles shared by all points.

    Parameters
    ----------
    centers_mm : ndarray, shape (n_points, 3)
        Grid.
    width_mm : float
        Spatial width.
    mu_s, widths_s : ndarray, shape (n_gaussians,)
        Temporal centres and widths in s.
    amplitudes : ndarray, shape (n_points, n_gaussians)
        Base amplitudes in µV.

    Returns
    -------
    GaussianField
        The mixture.
    """
    n_points = len(centers_mm)
    cholesky = isotropic_cholesky(n_points, width_mm, widths_s)
    return GaussianField(centers_mm, np.tile(mu_s, (n_points, 1)), cholesky, amplitudes)
