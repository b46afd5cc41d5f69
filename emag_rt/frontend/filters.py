"""Causal IIR filtering with carried state."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError

HIGH_PASS_ORDER = 2
LOW_PASS_ORDER = 4
_BLOCK = 64


def design_band(low_hz: float, high_hz: float, sfreq: float) -> FloatArray:
    """Second-order sections of the front end: Butterworth high-pass, then low-pass.

    Parameters
    ----------
    low_hz, high_hz : float
        Pass band in Hz; ``0 < low_hz < high_hz < sfreq / 2``.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    ndarray, shape (3, 6), float64
        Sections for ``scipy.signal.sosfilt``.

    Raises
    ------
    SettingsError
        If the band does not fit the sampling rate.
    """
    if not (np.isfinite([low_hz, high_hz, sfreq]).all() and 0 < low_hz < high_hz):
        raise SettingsError(
            f"band must satisfy 0 < LO < HI in Hz, got {low_hz} to {high_hz}. The high-pass is "
            "what makes fixed calibration statistics work; 0.5 is a good LO."
        )
    if high_hz >= 0.499 * sfreq:
        raise SettingsError(
            f"band: HI must stay below half the sampling rate ({sfreq / 2:g} Hz), got "
            f"{high_hz:g} Hz. Use --band {low_hz:g} {0.4 * sfreq:g}, or a faster recording."
        )
    from scipy.signal import butter  # a second of import that serving never needs

    high_pass = butter(HIGH_PASS_ORDER, low_hz, "highpass", fs=sfreq, output="sos")
    low_pass = butter(LOW_PASS_ORDER, high_hz, "lowpass", fs=sfreq, output="sos")
    return np.vstack([high_pass, low_pass])


def butterworth_edges(
    sos: FloatArray, low_hz: float, high_hz: float, sfreq: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Transition bands of what :func:`design_band` made, from -20 dB to -3 dB.

    Parameters
    ----------
    sos : ndarray, shape (n_sections, 6)
        A filter.
    low_hz, high_hz, sfreq : float
        Its band, and its rate in Hz.

    Returns
    -------
    tuple of (float, float), or None
        Of the high-pass, then of the low-pass, in Hz; None where the filter is another one.
    """
    low, high = (math.tan(math.pi * f / sfreq) for f in (low_hz, high_hz))
    at_hz = np.array([0.2 * low_hz, low_hz, math.sqrt(low_hz * high_hz), high_hz, 0.45 * sfreq])
    z = np.exp(-2j * np.pi * at_hz / sfreq)[:, None, None] ** np.arange(3)
    gain = np.abs(((z @ sos[:, :3].T) / (z @ sos[:, 3:].T)).prod(axis=-1))[:, 0]
    at = np.tan(np.pi * at_hz / sfreq)
    wanted = 1.0 / np.sqrt(1.0 + (low / at) ** (2 * HIGH_PASS_ORDER))
    wanted /= np.sqrt(1.0 + (at / high) ** (2 * LOW_PASS_ORDER))
    if not np.allclose(gain, wanted, rtol=1e-3, atol=1e-9):
        return None
    down = [99.0 ** (1 / (2 * order)) for order in (HIGH_PASS_ORDER, LOW_PASS_ORDER)]
    stop = [math.atan(x) * sfreq / math.pi for x in (low / down[0], high * down[1])]
    return (stop[0], low_hz), (high_hz, stop[1])


class CausalFilter:
    """Second-order sections with a state for each channel, as blocks of a state-space form.

    A channel starts at the steady state of its first finite sample, so a DC offset makes no
    transient; as the sections pass no DC, that is the same as taking the first sample off and
    starting from rest, which also keeps large offsets out of the rounding. Non-finite samples
    are replaced by the channel's last finite value before they reach the recursion, which they
    would otherwise poison for ever.

    Parameters
    ----------
    sos : array_like, shape (n_sections, 6)
        Second-order sections with a zero at DC.
    n_channels : int
        Number of channels.

    Attributes
    ----------
    state : ndarray, shape (2 * n_sections, n_channels), float64
        Both states of each section in transposed direct form II.
    offset, last : ndarray, shape (n_channels,), float64
        First finite sample, which is taken off, and the newest one.
    all_started : bool
        Whether every channel has had a finite sample.

    Raises
    ------
    SettingsError
        If the sections pass DC.
    """

    def __init__(self, sos: ArrayLike, n_channels: int) -> None:
        self.sos = np.ascontiguousarray(sos, dtype=np.float64)
        dc_gain = np.prod(self.sos[:, :3].sum(axis=1) / self.sos[:, 3:].sum(axis=1))
        if not abs(dc_gain) < 1e-6:
            raise SettingsError(f"sos must block DC (a high-pass), got a DC gain of {dc_gain:g}.")
        # Changed in place only: compiled code may hold their addresses.
        self.state = np.zeros((2 * len(self.sos), n_channels))
        self.offset = np.zeros(n_channels)
        self.last = np.zeros(n_channels)
        self._started = np.zeros(n_channels, dtype=bool)
        self._build_blocks()
        self.reset()

    def _build_blocks(self) -> None:
        a, b, c, d = _state_space(self.sos)
        powers = [np.eye(len(a))]
        for _ in range(_BLOCK):
            powers.append(a @ powers[-1])
        impulse = [d, *(float(c @ powers[k] @ b) for k in range(_BLOCK - 1))]
        rows, columns = np.indices((_BLOCK, _BLOCK))
        self._powers = powers
        self._observe = np.array([c @ p for p in powers[:_BLOCK]])
        self._through = np.where(
            rows >= columns, np.array(impulse)[np.maximum(rows - columns, 0)], 0.0
        )
        self._reach = np.stack([powers[_BLOCK - 1 - k] @ b for k in range(_BLOCK)], axis=1)

    def reset(self) -> None:
        """Forget everything: the next sample starts a new steady state."""
        for values in (self.state, self.offset, self.last, self._started):
            values[...] = 0
        self.all_started = False

    def process(self, samples: FloatArray) -> FloatArray:
        """Filter a chunk.

        Parameters
        ----------
        samples : ndarray, shape (n_times, n_channels), float64
            The chunk; may hold NaN or infinity.

        Returns
        -------
        ndarray, shape (n_times, n_channels), float64
            Filtered chunk, always finite.
        """
        if len(samples) == 0:
            return samples
        if not self.all_started or not np.isfinite(samples.sum()):
            samples = self.repair(samples)
        self.last[...] = samples[-1]
        centred = samples - self.offset
        out = np.empty_like(centred)
        for start in range(0, len(centred), _BLOCK):
            u = centred[start : start + _BLOCK]
            n = len(u)
            out[start : start + n] = self._through[:n, :n] @ u + self._observe[:n] @ self.state
            self.state[...] = self._powers[n] @ self.state + self._reach[:, _BLOCK - n :] @ u
        return out

    def repair(self, samples: FloatArray) -> FloatArray:
        """Replace samples that are not finite, and start channels at their first finite one.

        Parameters
        ----------
        samples : ndarray, shape (n_times, n_channels), float64
            What comes next; may hold NaN or infinity.

        Returns
        -------
        ndarray, shape (n_times, n_channels), float64
            Finite; the rest of the state is as it was.
        """
        finite = np.isfinite(samples)
        samples = np.where(finite, samples, 0.0)
        for c in np.flatnonzero(~self._started & finite.any(axis=0)):
            first = samples[int(np.argmax(finite[:, c])), c]
            self.offset[c] = self.last[c] = first
            self._started[c] = True
        self.all_started = bool(self._started.all())
        for c in np.flatnonzero(~finite.all(axis=0)):
            # Index of the newest finite sample at or before each row, -1 for none.
            seen = np.maximum.accumulate(np.where(finite[:, c], np.arange(len(samples)), -1))
            samples[:, c] = np.where(seen >= 0, samples[seen, c], self.last[c])
        return samples


def _state_space(sos: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Cascade of transposed direct form II sections: s' = A s + b u, y = c s + d u."""
    n = 2 * len(sos)
    # Each section's input as a row over (state, u); the probe keeps the cascade exact.
    signal = np.zeros(n + 1)
    signal[n] = 1.0
    advance = np.zeros((n, n + 1))
    for i, (b0, b1, b2, _, a1, a2) in enumerate(sos):
        first, second = np.zeros(n + 1), np.zeros(n + 1)
        first[2 * i] = second[2 * i + 1] = 1.0
        out = b0 * signal + first
        advance[2 * i] = b1 * signal - a1 * out + second
        advance[2 * i + 1] = b2 * signal - a2 * out
        signal = out
    return advance[:, :n], advance[:, n], signal[:n], float(signal[n])
