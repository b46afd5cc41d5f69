"""Cross-spectra of measured HD and of its honest rendering, for decoders in any band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.cross_spectra import N_BINS, CrossSpectra

_FRAME_S = 1.0
_MIN_WIDTH_HZ = 2.0


def fit_cross_spectra(
    measured: Sequence[FloatArray],
    rendered: Sequence[FloatArray],
    sfreq: float,
    high_hz: float,
    left: float = 1.0,
) -> CrossSpectra:
    """Average over frames of a second, half of each in the next (Welch).

    Parameters
    ----------
    measured : sequence of ndarray, shape (n_times, n_channels)
        Stretches in µV.
    rendered : sequence of ndarray, shape (n_times, n_channels)
        The same from fits that did not see them.
    sfreq : float
        Their rate in Hz.
    high_hz : float
        Upper edge of the front end: the bins reach so far.
    left : float
        Share of the error that is left by what was fitted after the renderings: the networks.

    Returns
    -------
    CrossSpectra
        For all channels.
    """
    width_hz = max(_MIN_WIDTH_HZ, float(np.ceil(high_hz / N_BINS)))
    wanted = _spectra(measured, sfreq, width_hz)
    found = _spectra(rendered, sfreq, width_hz)
    errors = [y - z for y, z in zip(measured, rendered, strict=True)]
    # What the networks explain moves from the error to the estimate.
    found += (1.0 - left) * _spectra(errors, sfreq, width_hz)
    upper = np.triu_indices(wanted.shape[-1])
    return CrossSpectra(
        width_hz,
        wanted[:, *upper].astype(np.float32),
        found[:, *upper].astype(np.float32),
    )


def _spectra(stretches: Sequence[FloatArray], sfreq: float, width_hz: float) -> FloatArray:
    """Real cross-spectra (n_bins, n_channels, n_channels), which sum up to the covariance."""
    n = min(round(_FRAME_S * sfreq), *(len(x) for x in stretches))
    window = np.hanning(n + 2)[1:-1]
    # Each frequency but 0 stands for two; Nyquist's is above the front end's band.
    scale = 2.0 / (n * (window**2).sum())
    frequencies = np.fft.rfftfreq(n, 1.0 / sfreq)
    bins = np.minimum((frequencies / width_hz).astype(int), N_BINS)
    out = np.zeros((N_BINS + 1, stretches[0].shape[1], stretches[0].shape[1]))
    n_frames = 0
    for x in stretches:
        for start in range(0, len(x) - n + 1, max(1, n // 2)):
            parts = np.fft.rfft(window[:, None] * x[start : start + n], axis=0)
            parts[0] *= np.sqrt(0.5)
            for index in range(N_BINS):
                z = parts[bins == index]
                out[index] += (z.conj().T @ z).real
            n_frames += 1
    return out[:N_BINS] * (scale / n_frames)
