"""Spatial baselines from MNE: minimum norm in a sphere, and MNE's own field interpolation.

Both are linear maps from LD to HD electrodes that know nothing of the subject but positions
(and, for the minimum norm, how noisy the LD channels are). Like the spherical spline's, their
rows sum to 1: a signal common to all LD channels passes unchanged, whatever the reference.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError, MontageError

if TYPE_CHECKING:
    from mne import Info

SNRS = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
DEFAULT_SNR = 3.0
N_SOURCES = 400
# A shell at 0.8 of the scalp's radius (cortex), down to a little below the equator.
_DEPTH = 0.8
_LOWEST = -0.45


def minimum_norm_matrix(
    ld_positions_mm: ArrayLike,
    hd_positions_mm: ArrayLike,
    *,
    covariance: ArrayLike | None = None,
    snr: float | None = None,
    n_sources: int = N_SOURCES,
) -> FloatArray:
    """Map LD to HD electrodes through the minimum-norm estimate of the sources.

    The lead fields are those of MNE's four-layer sphere for free dipoles in a cortical shell;
    nothing is downloaded. The estimate is MNE's: sources of equal variance, white noise,
    lambda2 = 1 / snr**2 in units of the lead fields' mean power, no depth weighting.

    Parameters
    ----------
    ld_positions_mm : array_like, shape (n_ld, 3)
        Measured electrodes, origin at the centre of the head sphere, in mm.
    hd_positions_mm : array_like, shape (n_hd, 3)
        Wanted electrodes.
    covariance : array_like, shape (n_ld, n_ld), optional
        Calibration covariance of the LD channels in µV², in any reference. With it, the SNR is
        the one of ``SNRS`` whose prediction of each LD channel from the others is best.
    snr : float, optional
        Ratio of amplitudes assumed instead; 3 (MNE's custom) when there is no covariance.
    n_sources : int
        Dipole positions in the shell, at least 10.

    Returns
    -------
    ndarray, shape (n_hd, n_ld), float64
        ``wanted = matrix @ measured``; rows sum to 1.

    Raises
    ------
    CalibrationError
        If ``snr``, ``n_sources`` or ``covariance`` breaks its rule.
    MontageError
        If positions are not finite, or not of a head's size.

    Notes
    -----
    M. S. Hämäläinen & R. J. Ilmoniemi (1994), as in :mod:`mne.minimum_norm`.
    """
    ld, hd = _positions(ld_positions_mm, "ld"), _positions(hd_positions_mm, "hd")
    if n_sources < 10:
        raise CalibrationError(f"n_sources must be at least 10, got {n_sources}.")
    if snr is not None and not (np.isfinite(snr) and snr > 0):
        raise CalibrationError(f"snr must be a positive number, got {snr}.")
    # The LD electrodes alone set the radius: what is wanted must not change the head.
    radius_mm = float(np.linalg.norm(ld, axis=1).mean())
    gains = _lead_field(np.vstack([ld, hd]), radius_mm, n_sources)
    own = gains @ gains[: len(ld)].T
    if snr is None:
        snr = DEFAULT_SNR
        if covariance is not None:
            cov = np.asarray(covariance, dtype=np.float64)
            if cov.shape != (len(ld), len(ld)) or not np.isfinite(cov).all():
                raise CalibrationError(
                    f"covariance must hold {len(ld)} x {len(ld)} finite numbers, one row for each "
                    f"LD channel, got shape {cov.shape}."
                )
            snr = _best_snr(own[: len(ld)], cov)
    return _through_sources(own[: len(ld)], own[len(ld) :], snr)


def sphere_covariance(positions_mm: ArrayLike) -> FloatArray:
    """Covariance at electrodes that the minimum norm assumes: sources of equal variance, no noise.

    Parameters
    ----------
    positions_mm : array_like, shape (n, 3)
        Electrodes, origin at the centre of the head sphere, in mm.

    Returns
    -------
    ndarray, shape (n, n), float64
        In any unit.

    Raises
    ------
    MontageError
        If positions are not finite, or not of a head's size.
    """
    positions = _positions(positions_mm, "hd")
    gains = _lead_field(positions, float(np.linalg.norm(positions, axis=1).mean()), N_SOURCES)
    return np.asarray(gains @ gains.T)


def field_interpolation_matrix(
    ld_positions_mm: ArrayLike, hd_positions_mm: ArrayLike
) -> FloatArray:
    """Map LD to HD electrodes as ``raw.interpolate_bads(method={"eeg": "MNE"})`` does.

    MNE fits the field of a dense layer of dipoles on a sphere inside the head; how many
    components it keeps is its own choice. Unit signals on each LD channel, relative to the LD
    mean, are given to MNE; what comes back at the HD electrodes are the columns of the map.

    Parameters
    ----------
    ld_positions_mm : array_like, shape (n_ld, 3)
        Measured electrodes, origin at the centre of the head sphere, in mm.
    hd_positions_mm : array_like, shape (n_hd, 3)
        Wanted electrodes.

    Returns
    -------
    ndarray, shape (n_hd, n_ld), float64
        ``wanted = matrix @ measured``; rows sum to 1.

    Raises
    ------
    MontageError
        If positions are not finite, or not of a head's size.
    """
    import mne

    ld, hd = _positions(ld_positions_mm, "ld"), _positions(hd_positions_mm, "hd")
    n_ld = len(ld)
    # The LD electrodes are also wanted, so that the result can be taken relative to their mean.
    info = _info(np.vstack([ld, ld, hd]))
    info["bads"] = info["ch_names"][n_ld:]
    data = np.zeros((len(info["ch_names"]), n_ld))
    data[:n_ld] = np.eye(n_ld) - 1.0 / n_ld
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of averaged references, which do not matter here
        raw = mne.io.RawArray(data, info, verbose="ERROR")
        raw.interpolate_bads(
            reset_bads=False, origin=(0.0, 0.0, 0.0), method={"eeg": "MNE"}, verbose="ERROR"
        )
    found = raw.get_data()[n_ld:]
    return np.asarray(found[n_ld:] - found[:n_ld].mean(axis=0) + 1.0 / n_ld)


def _positions(positions_mm: ArrayLike, what: str) -> FloatArray:
    positions = np.asarray(positions_mm, dtype=np.float64)
    if (
        positions.ndim != 2
        or positions.shape[1] != 3
        or len(positions) < (2 if what == "ld" else 1)
    ):
        raise MontageError(
            f"{what}_positions_mm must have shape (n, 3), n at least {2 if what == 'ld' else 1}, "
            f"got {positions.shape}."
        )
    radius = np.linalg.norm(positions, axis=1)
    if not (np.isfinite(radius).all() and (radius > 20.0).all() and (radius < 300.0).all()):
        raise MontageError(
            f"{what}_positions_mm must lie 20 to 300 mm from the centre of the head sphere, got "
            f"{radius.min():.3g} to {radius.max():.3g}. Are they in mm, about that centre?"
        )
    return positions


def _info(positions_mm: FloatArray) -> Info:
    import mne

    names = [f"E{i:05d}" for i in range(len(positions_mm))]
    info = mne.create_info(names, 1000.0, "eeg", verbose="ERROR")
    places = dict(zip(names, positions_mm / 1000.0, strict=True))
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), verbose="ERROR")
    return info


def _lead_field(positions_mm: FloatArray, radius_mm: float, n_sources: int) -> FloatArray:
    """Gains of free dipoles in the shell, shape (n_electrodes, 3 * n_sources)."""
    import mne

    radius = radius_mm / 1000.0
    k = np.arange(n_sources)
    height = 1.0 - (1.0 - _LOWEST) * (k + 0.5) / n_sources
    ring = np.sqrt(1.0 - height**2)
    turn = np.pi * (3.0 - np.sqrt(5.0)) * k
    outward = np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
    sphere = mne.make_sphere_model(r0=(0.0, 0.0, 0.0), head_radius=radius, verbose="ERROR")
    places = {"rr": _DEPTH * radius * outward, "nn": outward}
    sources = mne.setup_volume_source_space(pos=places, sphere_units="m", verbose="ERROR")
    forward = mne.make_forward_solution(
        _info(positions_mm),
        trans=None,
        src=sources,
        bem=sphere,
        meg=False,
        eeg=True,
        mindist=0.0,
        verbose="ERROR",
    )
    return np.asarray(forward["sol"]["data"], dtype=np.float64)


def _through_sources(own: FloatArray, cross: FloatArray, snr: float) -> FloatArray:
    """Minimum norm from Gram matrices of lead fields, (n_ld, n_ld) and (n_hd, n_ld)."""
    n_ld = len(own)
    centre = np.eye(n_ld) - 1.0 / n_ld
    inner = centre @ own @ centre
    # MNE's scaling: the sources' mean power in the n_ld - 1 directions that a reference leaves.
    lambda2 = np.trace(inner) / (n_ld - 1) / snr**2
    gain = np.linalg.inv(inner + lambda2 * np.eye(n_ld))
    relative = (cross - own.mean(axis=0)) @ centre
    return np.asarray(relative @ gain @ centre + 1.0 / n_ld)


def _best_snr(own: FloatArray, covariance: FloatArray) -> float:
    """SNR with the least expected error of each LD channel predicted from the others.

    The prediction's rows sum to 1, so its error is a contrast and any reference will do.
    """
    n_ld = len(own)
    if n_ld < 4:
        return DEFAULT_SNR
    errors = np.zeros(len(SNRS))
    for left_out in range(n_ld):
        rest = [i for i in range(n_ld) if i != left_out]
        for k, snr in enumerate(SNRS):
            contrast = np.zeros(n_ld)
            contrast[left_out] = 1.0
            row = _through_sources(own[np.ix_(rest, rest)], own[[left_out]][:, rest], snr)
            contrast[rest] = -row[0]
            errors[k] += contrast @ covariance @ contrast
    return SNRS[int(errors.argmin())]
