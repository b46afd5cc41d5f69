"""Spherical spline interpolation (Perrin et al. 1989), the classic baseline."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legval
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray

_STIFFNESS = 4
_N_TERMS = 50


def spherical_spline(from_mm: ArrayLike, to_mm: ArrayLike, smoothing: float = 1e-5) -> FloatArray:
    """Interpolation matrix from one set of electrodes to another.

    Parameters
    ----------
    from_mm : array_like, shape (n_from, 3)
        Measured electrodes, origin at the centre of the sphere.
    to_mm : array_like, shape (n_to, 3)
        Wanted electrodes.
    smoothing : float
        Added to the diagonal of the spline matrix.

    Returns
    -------
    ndarray, shape (n_to, n_from), float64
        ``wanted = matrix @ measured``; rows sum to 1, so a common signal passes unchanged.

    Notes
    -----
    F. Perrin, J. Pernier, O. Bertrand, J. F. Echallier (1989), equations 1 to 3, with m = 4.
    """
    start, stop = _unit(from_mm), _unit(to_mm)
    n = len(start)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = _g(start @ start.T) + smoothing * np.eye(n)
    system[:n, n] = system[n, :n] = 1.0
    # Coefficients of the splines, then the constant, for a unit signal on each electrode.
    coefficients = np.linalg.pinv(system)[:, :n]
    basis = np.column_stack([_g(stop @ start.T), np.ones(len(stop))])
    return np.asarray(basis @ coefficients)


def _unit(points_mm: ArrayLike) -> FloatArray:
    points = np.asarray(points_mm, dtype=np.float64)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _g(cosine: FloatArray) -> FloatArray:
    n = np.arange(1, _N_TERMS + 1)
    terms = np.concatenate([[0.0], (2 * n + 1) / (n * (n + 1.0)) ** _STIFFNESS])
    return np.asarray(legval(np.clip(cosine, -1.0, 1.0), terms)) / (4 * np.pi)
