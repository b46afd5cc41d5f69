"""Gaussian-in-time profiles: the temporal factor of the 4D Gaussians, as a filter bank.

A profile is ``tau_g(l) = exp(-((l / sfreq - mu_g) / sigma_g)^2 / 2)``, sampled at lags
``l >= -n_look_ahead``. A profile much narrower than a sample is an exact delay, so a bank of
those is ridge regression on lags: the family holds its own baseline.

Up to 160 Hz banks are laid out in samples; above, in seconds, so that an amplifier at 2 kHz
gets the same memory as one at 160 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError

REFERENCE_SPACING_S = 1.0 / 160.0
DELAY_WIDTH = 0.1
"""Width of an exact delay, in samples: its neighbours get exp(-50)."""
_REACH = 3.0
"""Widths after which a profile is cut off."""

DILATED = (0, 1, 2, 3, 4, 5, 7, 10, 15, 22, 33, 50)
LONG_TAIL = ((20, 3.0), (27, 5.0), (38, 8.0), (55, 12.0), (80, 20.0))
N_EXACT_LAGS = 16


@dataclass(frozen=True)
class Bank:
    """Named profiles, in order of growing centre.

    Attributes
    ----------
    name : str
        Short name, kept in reports.
    centers_s, widths_s : ndarray, shape (n_profiles,), float64
        Centre mu and width sigma of each profile, in seconds; a negative centre looks ahead.
    """

    name: str
    centers_s: FloatArray
    widths_s: FloatArray


def spacing_s(sfreq: float) -> float:
    """Step of the banks: a sample, but no less than 1/160 s.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    CalibrationError
        If the rate is not positive and finite.
    """
    if not (np.isfinite(sfreq) and sfreq > 0):
        raise CalibrationError(f"sfreq must be positive, in Hz, got {sfreq}. Give the true rate.")
    return max(1.0 / sfreq, REFERENCE_SPACING_S)


def _bank(
    name: str, profiles: dict[float, float], step: float, sfreq: float, n_look_ahead: int
) -> Bank:
    """Mirror profiles (centre -> width, in steps) to negative lags within the look-ahead."""
    seconds = {mu * step: sigma * step for mu, sigma in profiles.items()}
    limit = n_look_ahead / sfreq * (1 + 1e-9)
    ahead = {-mu: sigma for mu, sigma in seconds.items() if 0 < mu <= limit}
    seconds.update(ahead)
    centers = np.array(sorted(seconds), dtype=np.float64)
    widths = np.array([seconds[mu] for mu in centers], dtype=np.float64)
    widths[centers == 0.0] = DELAY_WIDTH / sfreq
    return Bank(name, centers, widths)


def candidate_banks(sfreq: float, n_look_ahead: int = 0) -> tuple[Bank, ...]:
    """Banks among which the closed form chooses, or which it averages.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    n_look_ahead : int
        Samples waited for; profiles are mirrored to lags down to -n_look_ahead.

    Returns
    -------
    tuple of Bank
        ``lags`` (16 exact delays), ``dilated`` (12 widening Gaussians, to 0.3 s) and ``long``
        (the delays, and a coarse tail to 0.5 s).

    Raises
    ------
    CalibrationError
        If the rate or the look-ahead is out of range.
    """
    if n_look_ahead < 0:
        raise CalibrationError(
            f"n_look_ahead must be 0 or more samples, got {n_look_ahead}. Use 0 for no delay."
        )
    step = spacing_s(sfreq)
    delays = {float(lag): DELAY_WIDTH for lag in range(N_EXACT_LAGS)}
    gaps = np.diff(DILATED)
    dilated = {float(mu): float(0.6 * gap) for mu, gap in zip(DILATED[1:], gaps, strict=True)}
    dilated[0.0] = DELAY_WIDTH
    # Above 160 Hz the step is wider than a sample: profiles must widen with it to leave no gaps.
    dense = DELAY_WIDTH if step * sfreq < 1 + 1e-9 else 0.6
    long = {float(lag): dense for lag in range(N_EXACT_LAGS)}
    long.update({float(mu): sigma for mu, sigma in LONG_TAIL})
    return (
        _bank("lags", delays, 1.0 / sfreq, sfreq, n_look_ahead),
        _bank("dilated", dilated, step, sfreq, n_look_ahead),
        _bank("long", long, step, sfreq, n_look_ahead),
    )


def n_lags_of(bank: Bank, sfreq: float, n_look_ahead: int = 0) -> int:
    """Length of the lag axis that holds a bank up to three widths past its centres.

    Parameters
    ----------
    bank : Bank
        The profiles.
    sfreq : float
        Sampling rate in Hz.
    n_look_ahead : int
        Samples waited for.

    Returns
    -------
    int
        Lags from -n_look_ahead on.
    """
    reach = float(np.max(bank.centers_s + _REACH * bank.widths_s)) * sfreq
    return n_look_ahead + max(0, int(np.floor(reach + 1e-9))) + 1


def taps(
    centers_s: FloatArray,
    widths_s: FloatArray,
    sfreq: float,
    n_look_ahead: int,
    n_lags: int,
) -> FloatArray:
    """Sample the profiles.

    Parameters
    ----------
    centers_s, widths_s : ndarray, shape (n_profiles,), float64
        Centres and widths in seconds.
    sfreq : float
        Sampling rate in Hz.
    n_look_ahead : int
        Samples waited for.
    n_lags : int
        Length of the lag axis.

    Returns
    -------
    ndarray, shape (n_profiles, n_lags), float64
        Entry (g, l) is the profile g at ``tau = (l - n_look_ahead) / sfreq``; its peak is 1.
        Values under 1e-12 are exact zeros, so that an exact delay is one tap.
    """
    tau = (np.arange(n_lags) - n_look_ahead) / sfreq
    values = np.exp(-0.5 * ((tau - centers_s[:, None]) / widths_s[:, None]) ** 2)
    return np.where(values < 1e-12, 0.0, values)


def apply_taps(
    x: FloatArray,
    kernel: FloatArray,
    n_look_ahead: int = 0,
    start: int = 0,
    stop: int | None = None,
) -> FloatArray:
    """Filter a stretch of a segment with every profile: ``z_g(t) = sum_l tau_g(l) x(t - lag)``.

    Parameters
    ----------
    x : ndarray, shape (n_times, n_ld), float64
        A whole segment; it counts as zero outside its ends.
    kernel : ndarray, shape (n_profiles, n_lags), float64
        As returned by :func:`taps`.
    n_look_ahead : int
        Samples waited for: entry 0 of the lag axis is lag -n_look_ahead.
    start, stop : int
        The stretch that is wanted, within the segment.

    Returns
    -------
    ndarray, shape (stop - start, n_profiles, n_ld), float64
        Filtered inputs; at look-ahead 0 a sample depends on itself and the past only.
    """
    n_times, n_ld = x.shape
    stop = n_times if stop is None else stop
    n_lags = kernel.shape[1]
    first, last = start + n_look_ahead - (n_lags - 1), stop + n_look_ahead
    span = np.zeros((last - first, n_ld))
    span[max(0, -first) : min(last, n_times) - first] = x[max(0, first) : min(last, n_times)]
    size = fft.next_fast_len(len(span), real=True)  # wrap-around only touches rows cut below
    spectrum = fft.rfft(span, size, axis=0)[:, None, :] * fft.rfft(kernel, size).T[:, :, None]
    filtered = fft.irfft(spectrum, size, axis=0, overwrite_x=True)
    return np.ascontiguousarray(filtered[n_lags - 1 : n_lags - 1 + stop - start])
