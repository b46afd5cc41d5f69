"""What the spatial half of the field may be made of, and what it then says between electrodes.

With as many points as electrodes, or more, ``K A = W`` holds exactly, so at the electrodes of
the calibration every basis gives the very same numbers. A basis shows at electrodes that the
calibration did not have: there the field says ``K_v pinv(K) W``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

from emag_rt.array_types import FloatArray
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import CalibrationError

Kernel = Callable[[FloatArray, float], FloatArray]
"""(positions, width) -> (n_positions, n_points)."""

WIDTHS_MM = (12.0, 15.0, 18.0, 22.0, 27.0, 33.0, 40.0, 50.0, 65.0)
_SMALLEST = 1e-9
"""Squared singular values of K below this share of the largest count as zero."""


@dataclass(frozen=True, eq=False)
class Interpolation:
    """From the electrodes a calibration knows to any others.

    Attributes
    ----------
    width_mm : float
        Width of the Gaussians; NaN where there are none.
    known, virtual : ndarray, shape (n_known, n_known) and (n_virtual, n_known), float64
        What the basis makes of the fit at the known electrodes (the identity where ``K A = W``
        is exact), and at the others.
    """

    width_mm: float
    known: FloatArray
    virtual: FloatArray


def gaussian_kernel(centers_mm: FloatArray, ratio: float = 1.0) -> Kernel:
    """Gaussians about points, isotropic or stretched along the radius.

    Parameters
    ----------
    centers_mm : ndarray, shape (n_points, 3), float64
        Points.
    ratio : float
        Width along the radius over that across it.

    Returns
    -------
    callable
        (positions, width across the radius) to kernel values.
    """
    radius = np.linalg.norm(centers_mm, axis=1, keepdims=True)
    outward = centers_mm / np.maximum(radius, 1e-9)

    def kernel(positions_mm: FloatArray, width_mm: float) -> FloatArray:
        offset = positions_mm[:, None] - centers_mm
        along = np.einsum("eni,ni->en", offset, outward) ** 2
        across = (offset**2).sum(axis=2) - along
        return np.asarray(np.exp(-0.5 * (across + along / ratio**2) / width_mm**2))

    return kernel


def interpolate(
    kernel: Kernel,
    known_mm: FloatArray,
    virtual_mm: FloatArray,
    samples: FloatArray,
    widths_mm: Sequence[float] = WIDTHS_MM,
) -> Interpolation:
    """Interpolate with Gaussians, their width chosen with known electrodes left out.

    Parameters
    ----------
    kernel : callable
        As from :func:`gaussian_kernel`.
    known_mm, virtual_mm : ndarray, shape (n_known, 3) and (n_virtual, 3), float64
        Electrodes.
    samples : ndarray, shape (n_known, n_samples), float64
        Signals at the known electrodes, the guide.
    widths_mm : sequence of float
        Widths to try; one for a width that is given.

    Returns
    -------
    Interpolation
        At the width of the least leave-one-electrode-out error.

    Raises
    ------
    CalibrationError
        If no width is given.
    """
    best: Interpolation | None = None
    least = np.inf
    for width in widths_mm:
        matrix = kernel(known_mm, width)
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        kept = values**2 > _SMALLEST * values[0] ** 2
        left, values, right = left[:, kept], values[kept], right[kept]
        hat = left @ left.T
        score = _left_out(left, values, hat, samples)
        if best is None or score < least:
            solver = (right.T / values) @ left.T
            best, least = Interpolation(width, hat, kernel(virtual_mm, width) @ solver), score
    if best is None:
        raise CalibrationError("widths_mm must hold at least one width, got none.")
    return best


def _left_out(left: FloatArray, values: FloatArray, hat: FloatArray, samples: FloatArray) -> float:
    """Squared error of each electrode's prediction from all others, summed."""
    n = len(hat)
    if left.shape[1] == n:
        # Kriging with covariance K K' (Dubrule 1983).
        inverse = (left / values**2) @ left.T
        errors = (inverse @ samples) / np.diag(inverse)[:, None]
    else:
        # Too few points to reach every electrode: least squares.
        room = np.maximum(1.0 - np.diag(hat), 1e-6)
        errors = (samples - hat @ samples) / room[:, None]
    return float((errors**2).sum())


def spline_interpolation(known_mm: FloatArray, virtual_mm: FloatArray) -> Interpolation:
    """No Gaussians and no grid: the spherical spline between the known electrodes."""
    return Interpolation(np.nan, np.eye(len(known_mm)), spherical_spline(known_mm, virtual_mm))


def random_points(n: int, radius_mm: float, seed: int) -> FloatArray:
    """Points anywhere in the ball, shape (n, 3)."""
    rng = np.random.default_rng(seed)
    outward = rng.standard_normal((n, 3))
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return np.asarray(radius_mm * rng.random((n, 1)) ** (1.0 / 3.0) * outward)


def power_points(n: int, known_mm: FloatArray, samples: FloatArray, seed: int) -> FloatArray:
    """Points where the data have power: k-means of the scalp, drawn in proportion to variance.

    Parameters
    ----------
    n : int
        Number of points.
    known_mm : ndarray, shape (n_known, 3), float64
        Electrodes.
    samples : ndarray, shape (n_known, n_samples), float64
        Their signals.
    seed : int
        Of the draws.

    Returns
    -------
    ndarray, shape (n, 3), float64
        On the scalp, denser where there is more power.
    """
    rng = np.random.default_rng(seed)
    radius = float(np.linalg.norm(known_mm, axis=1).mean())
    lowest = float(known_mm[:, 2].min())
    outward = rng.standard_normal((60 * n, 3))
    outward *= radius / np.linalg.norm(outward, axis=1, keepdims=True)
    scalp = outward[outward[:, 2] >= lowest]
    power = np.maximum(spherical_spline(known_mm, scalp) @ samples.var(axis=1), 0.0)
    drawn = scalp[rng.choice(len(scalp), 20 * n, replace=False, p=power / power.sum())]
    with warnings.catch_warnings():
        # A centre that loses its last point stays where it is, which is as good a place as any.
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        centers, _ = kmeans2(drawn, drawn[:n], iter=20, minit="matrix")
    return np.asarray(radius * centers / np.linalg.norm(centers, axis=1, keepdims=True))
