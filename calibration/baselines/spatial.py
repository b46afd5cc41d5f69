"""Baselines that are one matrix from LD to HD: the same ones in calibration and evaluation."""

from __future__ import annotations

from calibration.baselines.mne import field_interpolation_matrix, minimum_norm_matrix
from emag_rt.array_types import FloatArray
from emag_rt.core.spline import spherical_spline

SPATIAL_METHODS = ("spherical_spline", "minimum_norm", "field_interpolation")


def spatial_matrices(
    ld_positions_mm: FloatArray, hd_positions_mm: FloatArray, ld_covariance: FloatArray
) -> dict[str, FloatArray]:
    """Matrices of all spatial baselines.

    Parameters
    ----------
    ld_positions_mm : ndarray, shape (n_ld, 3)
        LD electrodes, origin at the centre of the head sphere.
    hd_positions_mm : ndarray, shape (n_hd, 3)
        Wanted electrodes.
    ld_covariance : ndarray, shape (n_ld, n_ld)
        Calibration covariance of the LD channels in µV²: it sets the minimum norm's SNR.

    Returns
    -------
    dict of str to ndarray, shape (n_hd, n_ld)
        For each of ``SPATIAL_METHODS``; rows sum to 1.
    """
    minimum_norm = minimum_norm_matrix(ld_positions_mm, hd_positions_mm, covariance=ld_covariance)
    return {
        "spherical_spline": spherical_spline(ld_positions_mm, hd_positions_mm),
        "minimum_norm": minimum_norm,
        "field_interpolation": field_interpolation_matrix(ld_positions_mm, hd_positions_mm),
    }
