"""A forward matrix in the place of the spatial kernel: a learned one, or a given lead field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.field import GaussianField
from emag_rt.errors import MontageError, SettingsError

SAME_PLACE_MM = 0.01


@dataclass(frozen=True, eq=False)
class ForwardMatrix:
    """From grid points to the electrodes of the fit, and to no others.

    Attributes
    ----------
    matrix : ndarray, shape (n_electrodes, n_points), float64
        What one unit of amplitude at a point gives at an electrode.
    positions_mm : ndarray, shape (n_electrodes, 3), float64
        These electrodes, origin at the centre of the head sphere.
    """

    matrix: FloatArray
    positions_mm: FloatArray

    def __post_init__(self) -> None:
        matrix = np.ascontiguousarray(self.matrix, dtype=np.float64)
        positions = np.ascontiguousarray(self.positions_mm, dtype=np.float64)
        if matrix.ndim != 2 or positions.shape != (len(matrix), 3):
            raise SettingsError(
                "forward matrix must have shape (n_electrodes, n_points), with a position for "
                f"each electrode, got {matrix.shape} and positions {positions.shape}."
            )
        if not (np.isfinite(matrix).all() and np.isfinite(positions).all()):
            raise SettingsError("forward matrix must be finite, got NaN or infinity.")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "positions_mm", positions)

    def rows(self, positions_mm: ArrayLike) -> IndexArray:
        """Find the rows of electrodes.

        Parameters
        ----------
        positions_mm : array_like, shape (n_electrodes, 3)
            Electrodes, each within 0.01 mm of one of the fit.

        Returns
        -------
        ndarray, shape (n_electrodes,), int
            Rows of the matrix.

        Raises
        ------
        MontageError
            If an electrode was not in the fit: a matrix says nothing between its rows.
        """
        wanted = np.asarray(positions_mm, dtype=np.float64)
        distance = np.linalg.norm(wanted[:, None] - self.positions_mm, axis=-1)
        if len(wanted) == len(self.matrix) and (np.diag(distance) <= SAME_PLACE_MM).all():
            return np.arange(len(wanted))
        nearest = distance.argmin(axis=1)
        far = np.flatnonzero(distance.min(axis=1) > SAME_PLACE_MM)
        if len(far):
            place = ", ".join(f"{v:.1f}" for v in wanted[far[0]])
            raise MontageError(
                "positions_mm must be electrodes of the fit, because this field has a forward "
                f"matrix in the place of its spatial kernel, got {len(far)} others, the first at "
                f"({place}) mm. Render the bundle's own montage, or calibrate with --forward splat."
            )
        return np.asarray(nearest)


def mixture_kernel(
    field: GaussianField, forward: ForwardMatrix | None, positions_mm: ArrayLike, tau_s: float
) -> FloatArray:
    """Value of every Gaussian at electrodes, at one time; the equation as written.

    Parameters
    ----------
    field : GaussianField
        The mixture.
    forward : ForwardMatrix or None
        In the place of the spatial kernel; None: the Gaussians themselves.
    positions_mm : array_like, shape (n_electrodes, 3)
        Electrode positions in mm.
    tau_s : float
        Time in s.

    Returns
    -------
    ndarray, shape (n_electrodes, n_points, n_gaussians), float64
        exp(-1/2 * || L^T d ||^2), d = (p_e - c_n, tau - mu_ng); with a forward matrix F
        F_en * exp(-1/2 * || L^T d ||^2), d = (0, tau - mu_ng).
    """
    if forward is None:
        return field.kernel(positions_mm, tau_s)
    matrix = forward.matrix[forward.rows(positions_mm)]
    return np.asarray(matrix[:, :, None] * field.temporal_kernel(tau_s))
