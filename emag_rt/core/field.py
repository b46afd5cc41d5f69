"""The field: a mixture of anisotropic Gaussians in space and time (EMAG, arXiv 2605.29731)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError


@dataclass(frozen=True, eq=False)
class GaussianField:
    """Mixture of 4D Gaussians: ``n_gaussians`` temporal ones at each of ``n_points`` centres.

    Attributes
    ----------
    centers_mm : ndarray, shape (n_points, 3), float64
        Spatial centres c_n in mm, origin at the centre of the head sphere.
    mu_s : ndarray, shape (n_points, n_gaussians), float64
        Temporal centres in s, relative to the sample rendered (``stream``) or to the start of
        the window (``window``).
    cholesky : ndarray, shape (n_points, n_gaussians, 4, 4), float64
        Lower-triangular factors L of the precisions P = L L^T; rows x, y, z in 1/mm, t in 1/s.
    amplitudes : ndarray, shape (n_points, n_gaussians), float64
        Signed base amplitudes a_ng in µV.
    """

    centers_mm: FloatArray
    mu_s: FloatArray
    cholesky: FloatArray
    amplitudes: FloatArray

    def __post_init__(self) -> None:
        n_points, n_gaussians = np.shape(self.mu_s)
        expected = {
            "centers_mm": (n_points, 3),
            "mu_s": (n_points, n_gaussians),
            "cholesky": (n_points, n_gaussians, 4, 4),
            "amplitudes": (n_points, n_gaussians),
        }
        for name, shape in expected.items():
            value = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise SettingsError(f"field {name} must have shape {shape}, got {value.shape}.")
            if not np.isfinite(value).all():
                raise SettingsError(f"field {name} must be finite, got NaN or infinity.")
            object.__setattr__(self, name, value)
        if np.triu(self.cholesky, k=1).any():
            raise SettingsError("field cholesky must be lower-triangular, got values above it.")

    @property
    def n_points(self) -> int:
        """Number of spatial centres."""
        return len(self.centers_mm)

    @property
    def n_gaussians(self) -> int:
        """Number of Gaussians at each centre."""
        return int(self.mu_s.shape[1])

    @property
    def precisions(self) -> FloatArray:
        """Precisions P = L L^T, shape (n_points, n_gaussians, 4, 4)."""
        return np.asarray(self.cholesky @ np.swapaxes(self.cholesky, -1, -2))

    def kernel(self, positions_mm: ArrayLike, tau_s: float) -> FloatArray:
        """Value of every Gaussian at electrodes, at one time; the equation as written.

        Parameters
        ----------
        positions_mm : array_like, shape (n_electrodes, 3)
            Electrode positions in mm.
        tau_s : float
            Time in s.

        Returns
        -------
        ndarray, shape (n_electrodes, n_points, n_gaussians), float64
            exp(-1/2 * || L^T d ||^2) with d = (p_e - c_n, tau - mu_ng).
        """
        positions = np.asarray(positions_mm, dtype=np.float64)
        offset = np.empty((len(positions), self.n_points, self.n_gaussians, 4))
        offset[..., :3] = (positions[:, None] - self.centers_mm)[:, :, None]
        offset[..., 3] = tau_s - self.mu_s
        whitened = np.einsum("ngij,engi->engj", self.cholesky, offset)
        return np.asarray(np.exp(-0.5 * (whitened**2).sum(axis=-1)))

    def spatial_kernel(self, positions_mm: ArrayLike) -> FloatArray:
        """Value of every Gaussian at its own temporal centre, shape as :meth:`kernel`."""
        offset = np.asarray(positions_mm, dtype=np.float64)[:, None] - self.centers_mm
        whitened = np.einsum("ngij,eni->engj", self.cholesky[..., :3, :3], offset)
        return np.asarray(np.exp(-0.5 * (whitened**2).sum(axis=-1)))

    def temporal_kernel(self, tau_s: float) -> FloatArray:
        """Value of every Gaussian at its own spatial centre, shape (n_points, n_gaussians)."""
        rate = np.linalg.norm(self.cholesky[..., 3, :], axis=-1)
        return np.asarray(np.exp(-0.5 * ((tau_s - self.mu_s) * rate) ** 2))

    def shared_profiles(self) -> tuple[FloatArray, FloatArray] | None:
        """Temporal centres and rates shared by all points, if the mixture is separable.

        Returns
        -------
        tuple of (ndarray (n_gaussians,), ndarray (n_gaussians,)) or None
            ``mu_s`` and the temporal factor L_tt in 1/s, when no Gaussian couples space with
            time and all points have the same temporal profiles; None otherwise.
        """
        rate = self.cholesky[..., 3, 3]
        separable = not self.cholesky[..., 3, :3].any()
        if separable and (self.mu_s == self.mu_s[0]).all() and (rate == rate[0]).all():
            return self.mu_s[0], rate[0]
        return None


def isotropic_cholesky(
    n_points: int, width_mm: float, widths_s: ArrayLike, n_gaussians: int | None = None
) -> FloatArray:
    """Factors of isotropic spatial and independent temporal Gaussians.

    Parameters
    ----------
    n_points : int
        Number of spatial centres.
    width_mm : float
        Spatial standard deviation in mm.
    widths_s : array_like, shape (n_gaussians,) or float
        Temporal standard deviations in s.
    n_gaussians : int, optional
        Needed when ``widths_s`` is one number.

    Returns
    -------
    ndarray, shape (n_points, n_gaussians, 4, 4), float64
        Diagonal lower-triangular factors.
    """
    widths = np.atleast_1d(np.asarray(widths_s, dtype=np.float64))
    if n_gaussians is not None and len(widths) == 1:
        widths = np.repeat(widths, n_gaussians)
    factor = np.zeros((n_points, len(widths), 4, 4))
    factor[..., [0, 1, 2], [0, 1, 2]] = 1.0 / width_mm
    factor[..., 3, 3] = 1.0 / widths
    return factor
