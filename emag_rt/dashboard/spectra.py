"""Spectra of the newest seconds: how strong each rhythm is, and the mains."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray, Samples
from emag_rt.core.scores import BANDS_HZ

WINDOW_S = 4.0
_SEGMENT_S = 2.0
TOP_HZ = 100.0
MAINS_HZ = (50.0, 60.0)
# What lies this far on both sides of the mains is what would be there without it.
_LINE_HZ, _BESIDE_HZ = 1.0, 4.0
# So much more power than beside it: less is chance in four seconds.
_STANDS_OUT = 1.5


class RecentRows:
    """The rows of the newest four seconds, at the full rate.

    Parameters
    ----------
    n_channels : int
        Columns.
    sfreq : float
        Rate in Hz.
    """

    def __init__(self, n_channels: int, sfreq: float) -> None:
        self.sfreq = sfreq
        self._n_wanted = max(1, round(WINDOW_S * sfreq))
        self._pieces: deque[Float32Array] = deque([np.empty((0, n_channels), np.float32)])
        self._n = 0

    def add(self, rows: Samples) -> None:
        """Take in rows, shape (n_times, n_channels); they are copied."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._pieces.append(rows[-self._n_wanted :].astype(np.float32))
        self._n += len(self._pieces[-1])
        while self._n - len(self._pieces[0]) >= self._n_wanted:
            self._n -= len(self._pieces.popleft())

    def rows(self) -> Float32Array:
        """Them all, the oldest first; fewer than four seconds at the start."""
        return np.concatenate(self._pieces)[-self._n_wanted :]


@dataclass(frozen=True, eq=False)
class Spectra:
    """Power of some channels.

    Attributes
    ----------
    freqs_hz : ndarray, shape (n_freqs,)
        Half a Hz apart, up to 100 Hz.
    power : ndarray, shape (n_channels, n_freqs)
        In µV²/Hz; NaN where a number was missing.
    """

    freqs_hz: FloatArray
    power: FloatArray

    def band_uv(self) -> FloatArray:
        """Strength of each band of ``BANDS_HZ`` as rms in µV, shape (n_bands, n_channels)."""
        f, width = self.freqs_hz, 1.0 / _SEGMENT_S
        bands = [
            self.power[:, (f >= low) & (f < high)].sum(axis=1) for low, high in BANDS_HZ.values()
        ]
        return np.asarray(np.sqrt(np.array(bands) * width))

    def mains(self) -> tuple[float, FloatArray]:
        """The mains frequency that stands out in Hz, and its rms in µV for each channel.

        The frequency is 0, and the strengths are NaN, where none does, or the rate is too low.
        """
        found = (0.0, np.full(len(self.power), np.nan))
        best = _STANDS_OUT
        for hz in MAINS_HZ:
            if not len(self.freqs_hz) or hz + _BESIDE_HZ > self.freqs_hz[-1]:
                continue
            away = np.abs(self.freqs_hz - hz)
            line = self.power[:, away <= _LINE_HZ]
            beside = self.power[:, (away > _LINE_HZ) & (away <= _BESIDE_HZ)].mean(axis=1)
            known = (beside > 0) & np.isfinite(line).all(axis=1)
            if not known.any():
                continue
            ratio = float(np.median(line[known].mean(axis=1) / beside[known]))
            if ratio > best:
                excess = line.sum(axis=1) - line.shape[1] * beside
                best, found = ratio, (hz, np.sqrt(np.maximum(excess, 0.0) / _SEGMENT_S))
        return found


def spectra(rows: Float32Array, sfreq: float) -> Spectra | None:
    """Welch's spectra in segments of two seconds; None before there are so many rows.

    Parameters
    ----------
    rows : ndarray, shape (n_times, n_channels)
        In µV.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    Spectra or None
        Of every channel.
    """
    from scipy.signal import welch

    n_segment = round(_SEGMENT_S * sfreq)
    if n_segment < 2 or len(rows) < n_segment:
        return None
    with np.errstate(all="ignore"):  # railed channels may hold anything
        freqs, power = welch(rows.astype(np.float64), sfreq, nperseg=n_segment, axis=0)
    low = freqs <= TOP_HZ
    return Spectra(freqs[low], power[low].T)
