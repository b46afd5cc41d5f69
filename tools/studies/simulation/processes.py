"""Random processes with a known autocovariance, each with a known topography."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import freqz, lfilter, sosfreqz

from emag_rt.array_types import FloatArray
from emag_rt.synthetic.generators import FilteredNoise, lowpass_poles

Kind = Literal["gaussian", "bursts", "pulses"]

_OMEGA = np.linspace(0.0, np.pi, 2**15 + 1)
"""Angular frequencies: eight minutes at 128 Hz, long enough for every memory to fade."""
_SPREAD = 0.7
"""Standard deviation of the logarithm of a burst's envelope."""
_ENVELOPE_HZ = 0.1
_PULSES_PER_MINUTE = 12.0


@dataclass(frozen=True, eq=False)
class Component:
    """Independent processes of one kind, and how each shows at the electrodes.

    Attributes
    ----------
    name : str
        What it stands for.
    b, a : ndarray, shape (n_processes, order + 1), float64
        Filter that makes each process from white noise, or from pulses.
    topography : ndarray, shape (n_delays, n_channels, n_processes), float64
        µV at each electrode for a process that was at 1 so many samples ago: activity may spread.
    kind : {"gaussian", "bursts", "pulses"}
        ``gaussian`` and ``bursts`` have unit variance, the latter with a log-normal envelope;
        ``pulses`` are bumps of height 0.7 to 1.3 at random times.
    wanted : bool
        Whether it belongs to the truth, or is noise of the electrodes.
    """

    name: str
    b: FloatArray
    a: FloatArray
    topography: FloatArray
    kind: Kind = "gaussian"
    wanted: bool = True

    def sample(self, n: int, sfreq: float, rng: np.random.Generator) -> FloatArray:
        """Draw ``n`` samples at the electrodes, shape (n, n_channels), in µV."""
        n_delays, n_channels, _ = self.topography.shape
        activity = self._activity(n + n_delays - 1, sfreq, rng)
        signal = np.zeros((n, n_channels))
        for delay, matrix in enumerate(self.topography):
            first = n_delays - 1 - delay
            signal += activity[first : first + n] @ matrix.T
        return signal

    def _activity(self, n: int, sfreq: float, rng: np.random.Generator) -> FloatArray:
        if self.kind == "pulses":
            return self._pulses(n, sfreq, rng)
        carrier_rng, envelope_rng = rng.spawn(2)
        activity = FilteredNoise(self.b, self.a, carrier_rng, sfreq).generate(n)
        if self.kind == "bursts":
            slow = lowpass_poles(np.full(len(self.b), _ENVELOPE_HZ), sfreq)
            envelope = FilteredNoise(*slow, envelope_rng, sfreq).generate(n)
            # E[exp(2 s z)] = exp(2 s^2) for a normal z: the mean square stays 1.
            activity = activity * np.exp(_SPREAD * envelope - _SPREAD**2)
        return np.asarray(activity)

    def _pulses(self, n: int, sfreq: float, rng: np.random.Generator) -> FloatArray:
        warm_up = int(2 * sfreq)
        draws = rng.random((warm_up + n, len(self.b), 2))
        heights = 0.7 + 0.6 * draws[..., 1]
        pulses = np.where(draws[..., 0] < _chance(sfreq), heights, 0.0)
        bumps = [lfilter(b, a, pulses[:, i]) for i, (b, a) in enumerate(zip(self.b, self.a))]  # noqa: B905
        return np.column_stack(bumps)[warm_up:]

    def covariances(self, n_lags: int, sfreq: float, sos: FloatArray) -> FloatArray:
        """Lagged covariances at the electrodes after the front end, in µV².

        Parameters
        ----------
        n_lags : int
            Lags 0 to n_lags - 1.
        sfreq : float
            Rate in Hz.
        sos : ndarray, shape (n_sections, 6)
            Front end.

        Returns
        -------
        ndarray, shape (n_lags, n_channels, n_channels), float64
            ``E[v(t) v(t - l)']``; at lag -l its transpose.
        """
        rows, group = np.unique(np.hstack([self.b, self.a]), axis=0, return_inverse=True)
        order = self.b.shape[1]
        n_delays, n_channels, _ = self.topography.shape
        lags = np.arange(n_lags)
        total = np.zeros((n_lags, n_channels, n_channels))
        for index, row in enumerate(rows):
            part = self.topography[:, :, group == index]
            rho = self._autocovariance(row[:order], row[order:], n_lags + n_delays, sfreq, sos)
            # v(t) = sum_a T_a s(t - a), so E[v(t) v(t - l)'] = sum_ab T_a T_b' rho(l + b - a).
            for shift in range(1 - n_delays, n_delays):
                pairs = [(a, a + shift) for a in range(n_delays) if 0 <= a + shift < n_delays]
                product = sum((part[a] @ part[b].T for a, b in pairs), np.zeros(total.shape[1:]))
                total += rho[np.abs(lags + shift), None, None] * product
        return total

    def _autocovariance(
        self, b: FloatArray, a: FloatArray, n_lags: int, sfreq: float, sos: FloatArray
    ) -> FloatArray:
        power = np.abs(_response(b, a)) ** 2
        rho = np.fft.irfft(power)
        if self.kind == "pulses":
            chance = _chance(sfreq)
            # Heights are uniform on 0.7 to 1.3; the mean is constant and the front end blocks it.
            rho = rho * (chance * (1.0 + 0.6**2 / 12.0) - chance**2)
        else:
            rho = rho / rho[0]
        if self.kind == "bursts":
            slow = np.fft.irfft(np.abs(_response(*_one_pole(sfreq))) ** 2)
            rho = rho * np.exp(_SPREAD**2 * (slow / slow[0] - 1.0))
        _, front = sosfreqz(sos, _OMEGA)
        filtered = np.fft.irfft(np.fft.rfft(rho).real * np.abs(front) ** 2)
        return np.asarray(filtered[:n_lags])


def bump_filter(sfreq: float) -> tuple[FloatArray, FloatArray]:
    """Filter whose answer to a unit pulse is a bump of unit height and a third of a second."""
    a = np.poly([np.exp(-1.0 / (0.035 * sfreq))] * 4)
    impulse = np.zeros(int(2 * sfreq))
    impulse[0] = 1.0
    return np.array([[1.0 / float(lfilter([1.0], a, impulse).max())]]), np.asarray(a)[None]


def _chance(sfreq: float) -> float:
    return _PULSES_PER_MINUTE / 60.0 / sfreq


def _one_pole(sfreq: float) -> tuple[FloatArray, FloatArray]:
    b, a = lowpass_poles(np.array([_ENVELOPE_HZ]), sfreq)
    return b[0], a[0]


def _response(b: FloatArray, a: FloatArray) -> NDArray[np.complex128]:
    return np.asarray(freqz(b, a, _OMEGA)[1])
