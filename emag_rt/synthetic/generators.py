"""Causal random processes whose numbers do not depend on the block size."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from emag_rt.array_types import FloatArray


class FilteredNoise:
    """White noise through one IIR filter per channel, of unit variance, state carried on.

    Parameters
    ----------
    b, a : ndarray, shape (n_channels, order + 1)
        Filter coefficients.
    rng : numpy.random.Generator
        Source of randomness, not shared.
    sfreq : float
        Rate in Hz.
    warm_up_s : float
        Time to run before the first sample, in seconds.
    """

    def __init__(
        self,
        b: FloatArray,
        a: FloatArray,
        rng: np.random.Generator,
        sfreq: float,
        warm_up_s: float = 10.0,
    ) -> None:
        self._rng = rng
        self._n_channels = len(b)
        impulse = np.zeros(int(30 * sfreq))
        impulse[0] = 1.0
        # Channels with the same filter share one call.
        rows, group = np.unique(np.hstack([b, a]), axis=0, return_inverse=True)
        self._filters = []
        for k, row in enumerate(rows):
            bk, ak = row[: b.shape[1]], row[b.shape[1] :]
            columns = np.flatnonzero(group == k)
            gain = 1.0 / np.sqrt((lfilter(bk, ak, impulse) ** 2).sum())
            self._filters.append((bk * gain, ak, columns, np.zeros((len(ak) - 1, len(columns)))))
        self.generate(int(warm_up_s * sfreq))

    def generate(self, n: int) -> FloatArray:
        """Next ``n`` samples, shape (n, n_channels)."""
        noise = self._rng.standard_normal((n, self._n_channels))
        for b, a, columns, state in self._filters:
            noise[:, columns], state[:] = lfilter(b, a, noise[:, columns], axis=0, zi=state)
        return noise


def lowpass_poles(corner_hz: FloatArray, sfreq: float) -> tuple[FloatArray, FloatArray]:
    """One-pole low-pass filters, one for each corner frequency."""
    pole = np.exp(-2.0 * np.pi * corner_hz / sfreq)
    ones, zeros = np.ones_like(pole), np.zeros_like(pole)
    return np.column_stack([ones, zeros]), np.column_stack([ones, -pole])


def resonators(
    center_hz: FloatArray, width_hz: FloatArray, sfreq: float
) -> tuple[FloatArray, FloatArray]:
    """Two-pole resonators, one for each centre frequency and bandwidth."""
    radius = np.exp(-np.pi * width_hz / sfreq)
    angle = 2.0 * np.pi * center_hz / sfreq
    ones, zeros = np.ones_like(radius), np.zeros_like(radius)
    a = np.column_stack([ones, -2.0 * radius * np.cos(angle), radius**2])
    return np.column_stack([ones, zeros, zeros]), a


class PinkNoise:
    """1/f noise of unit variance: one-pole processes, an octave and a half apart.

    Parameters
    ----------
    n_channels : int
        Independent channels.
    rng : numpy.random.Generator
        Source of randomness, not shared.
    sfreq : float
        Rate in Hz.
    """

    def __init__(self, n_channels: int, rng: np.random.Generator, sfreq: float) -> None:
        corners = np.array([c for c in (0.3, 1.0, 3.0, 9.0, 27.0) if c < 0.4 * sfreq])
        # A steeper fall than 1/f, as in EEG.
        self._weights = corners**-0.35
        self._weights /= np.linalg.norm(self._weights)
        b, a = lowpass_poles(corners, sfreq)
        self._parts = []
        for k, generator in enumerate(rng.spawn(len(corners))):
            rows = np.full(n_channels, k)
            self._parts.append(FilteredNoise(b[rows], a[rows], generator, sfreq))

    def generate(self, n: int) -> FloatArray:
        """Next ``n`` samples, shape (n, n_channels)."""
        parts = zip(self._weights, self._parts, strict=True)
        total: FloatArray = sum(w * part.generate(n) for w, part in parts)
        return total


class Rhythm:
    """Oscillations of drifting amplitude, of unit mean square in the long run.

    Parameters
    ----------
    center_hz : tuple of float
        Range of centre frequencies.
    n_channels : int
        Independent channels.
    rng : numpy.random.Generator
        Source of randomness, not shared.
    sfreq : float
        Rate in Hz.
    width_hz : float
        Bandwidth.
    """

    def __init__(
        self,
        center_hz: tuple[float, float],
        n_channels: int,
        rng: np.random.Generator,
        sfreq: float,
        width_hz: float = 1.0,
    ) -> None:
        centers = rng.uniform(*center_hz, n_channels)
        carrier_rng, envelope_rng = rng.spawn(2)
        b, a = resonators(centers, np.full(n_channels, width_hz), sfreq)
        self._carrier = FilteredNoise(b, a, carrier_rng, sfreq)
        slow = np.full(n_channels, 0.1)
        self._envelope = FilteredNoise(*lowpass_poles(slow, sfreq), envelope_rng, sfreq)

    def generate(self, n: int) -> FloatArray:
        """Next ``n`` samples, shape (n, n_channels)."""
        # E[exp(2 s z)] = exp(2 s^2) for a normal z.
        spread = 0.7
        envelope = np.exp(spread * self._envelope.generate(n) - spread**2)
        return np.asarray(self._carrier.generate(n) * envelope)


class Blinks:
    """Bumps of unit height and a third of a second, at random times.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness, not shared.
    sfreq : float
        Rate in Hz.
    per_minute : float
        Mean number of blinks.
    """

    def __init__(self, rng: np.random.Generator, sfreq: float, per_minute: float = 12.0) -> None:
        self._rng = rng
        self._chance = per_minute / 60.0 / sfreq
        pole = np.exp(-1.0 / (0.035 * sfreq))
        self._a = np.poly([pole] * 4)
        impulse = np.zeros(int(2 * sfreq))
        impulse[0] = 1.0
        self._b = np.array([1.0 / lfilter([1.0], self._a, impulse).max()])
        self._state = np.zeros(len(self._a) - 1)

    def generate(self, n: int) -> FloatArray:
        """Next ``n`` samples, shape (n,)."""
        draws = self._rng.random((n, 2))
        pulses = np.where(draws[:, 0] < self._chance, 0.7 + 0.6 * draws[:, 1], 0.0)
        bumps, self._state = lfilter(self._b, self._a, pulses, zi=self._state)
        return np.asarray(bumps)
