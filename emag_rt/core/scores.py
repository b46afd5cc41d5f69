"""Scores as the paper defines them, pooled over channels and time, and per channel or band."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray

BANDS_HZ: dict[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}


def nmse(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Normalised mean squared error: sum of squared errors over sum of squares of the truth.

    Parameters
    ----------
    truth, estimate : array_like, shape (n_times, n_channels)
        Signals in the same unit and reference.

    Returns
    -------
    float
        0 is perfect, 1 is no better than silence; NaN where the truth is silent.
    """
    y, z = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    power = float((y**2).sum())
    return float(((y - z) ** 2).sum()) / power if power > 0 else float("nan")


def nmse_per_channel(truth: ArrayLike, estimate: ArrayLike) -> FloatArray:
    """NMSE of each channel, shape (n_channels,); see :func:`nmse`."""
    y, z = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    power = (y**2).sum(axis=0)
    error = ((y - z) ** 2).sum(axis=0)
    return np.divide(error, power, out=np.full(power.shape, np.nan), where=power > 0)


def pcc(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Pearson correlation over all channels and times; NaN where either is constant."""
    y = np.asarray(truth, dtype=np.float64).ravel()
    z = np.asarray(estimate, dtype=np.float64).ravel()
    y, z = y - y.mean(), z - z.mean()
    scale = float(np.sqrt((y @ y) * (z @ z)))
    return float(y @ z) / scale if scale > 0 else float("nan")


def snr_db(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Signal-to-noise ratio in dB: power of the truth over power of the error."""
    value = nmse(truth, estimate)
    return float("inf") if value == 0 else float(-10.0 * np.log10(value))


def band_nmse(truth: ArrayLike, estimate: ArrayLike, sfreq: float) -> dict[str, float]:
    """NMSE in each EEG band, from the spectra of error and truth.

    Parameters
    ----------
    truth, estimate : array_like, shape (n_times, n_channels)
        Signals in the same unit and reference.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    dict of str to float
        Error power over true power for each band of ``BANDS_HZ`` below the Nyquist rate.
    """
    from scipy.signal import welch

    y, z = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    n_per_segment = min(len(y), int(2 * sfreq))
    freqs, power = welch(y, sfreq, nperseg=n_per_segment, axis=0)
    _, error = welch(y - z, sfreq, nperseg=n_per_segment, axis=0)
    scores: dict[str, float] = {}
    for name, (low, high) in BANDS_HZ.items():
        rows = (freqs >= low) & (freqs < min(high, sfreq / 2))
        total = float(power[rows].sum())
        if total > 0:
            scores[name] = float(error[rows].sum()) / total
    return scores


def band_psd_error(truth: ArrayLike, estimate: ArrayLike, sfreq: float) -> dict[str, float]:
    """How far the power spectrum of the estimate is from the true one, in each EEG band.

    Unlike :func:`band_nmse` this does not look at phases: it tells whether the estimate has
    the right power, as a feature of band power would see it. An estimate that predicts the
    expected value loses the power it cannot explain.

    Parameters
    ----------
    truth, estimate : array_like, shape (n_times, n_channels)
        Signals in the same unit and reference.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    dict of str to float
        Sum over channels of the absolute difference of band powers over the sum of the true
        ones, for each band of ``BANDS_HZ`` below the Nyquist rate; 0 is perfect, and 1 is
        silence.
    """
    from scipy.signal import welch

    y, z = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    n_per_segment = min(len(y), int(2 * sfreq))
    freqs, power = welch(y, sfreq, nperseg=n_per_segment, axis=0)
    _, found = welch(z, sfreq, nperseg=n_per_segment, axis=0)
    scores: dict[str, float] = {}
    for name, (low, high) in BANDS_HZ.items():
        rows = (freqs >= low) & (freqs < min(high, sfreq / 2))
        true = power[rows].sum(axis=0)
        if float(true.sum()) > 0:
            scores[name] = float(np.abs(found[rows].sum(axis=0) - true).sum() / true.sum())
    return scores
