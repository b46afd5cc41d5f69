"""Which channels of a live stream are bad now, by the rules that calibration and serving have."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.session.channel_quality import LINE_RATIO, line_noise, suspicious_channels
from emag_rt.array_types import FloatArray, Samples
from emag_rt.frontend import CausalFilter, design_band
from emag_rt.frontend.bad_channels import clipped_channels
from emag_rt.frontend.rules import BadChannelRules
from emag_rt.recordings.read import median_amplitude

WINDOW_S = 10.0
"""What is judged: the newest so many seconds."""

_MIN_S = 2.0
# Without a single number in so large a share of the window, a channel is missing.
_MISSING_SHARE = 0.2
# Electrodes have offsets of up to 300 mV; amplifiers end somewhere above 100.
_RAIL_UV = 100e3

_WORDS = {
    "missing": "no numbers; look at the amplifier and its driver",
    "railed": "railed; put gel on, press it on, or wait for its offset to settle",
    "clipped": "clipped; put gel on, press it on, or lower the amplifier's gain",
    "flat": "flat; is it plugged in?",
    "wild": "far larger than the others; press it on, put gel on, hold its cable still",
    "line noise": "line noise; check the electrode",
}


@dataclass(frozen=True)
class Finding:
    """A channel that is bad now.

    Attributes
    ----------
    label : str
        The channel; empty: all of them.
    kind : str
        ``missing``, ``railed``, ``clipped``, ``flat``, ``wild`` or ``line noise``.
    detail : str
        Figures, or an empty string.
    """

    label: str
    kind: str
    detail: str = ""

    @property
    def advice(self) -> str:
        """What is wrong, and what to do."""
        if not self.label:
            if self.kind == "line noise":
                return (
                    "all channels: line noise; check the ground and reference electrodes, move "
                    "chargers and power cables away"
                )
            return f"all channels: {self.kind}; is the amplifier measuring, is the reference on?"
        return f"{self.label}: {_WORDS[self.kind]}"


class QualityWatch:
    """Judges the newest seconds of a stream.

    Parameters
    ----------
    labels : sequence of str
        EEG channels.
    sfreq : float
        Rate in Hz.
    band_hz : tuple of (float, float)
        Pass band of the causal front end in Hz.
    """

    def __init__(self, labels: Sequence[str], sfreq: float, band_hz: tuple[float, float]) -> None:
        self.labels = tuple(labels)
        self._sfreq = sfreq
        self._sos = design_band(*band_hz, sfreq)
        self._rules = BadChannelRules()
        self.reset()

    def reset(self) -> None:
        """Time jumped, or something is missing: the filter starts anew."""
        self._filter = CausalFilter(self._sos, len(self.labels))
        self._chunks: deque[tuple[FloatArray, FloatArray]] = deque()
        self._n = 0

    def add(self, samples_uv: Samples) -> None:
        """Take in samples, shape (n_times, n_channels), in µV."""
        if not len(samples_uv):
            return
        raw = np.asarray(samples_uv, dtype=np.float64)
        self._chunks.append((raw, self._filter.process(raw)))
        self._n += len(raw)
        while self._n - len(self._chunks[0][0]) > WINDOW_S * self._sfreq:
            self._n -= len(self._chunks.popleft()[0])

    def judge(self) -> list[Finding]:
        """Bad channels of the window, in the order of channels; nothing before two seconds."""
        if self._n < _MIN_S * self._sfreq:
            return []
        raw = np.concatenate([chunk[0] for chunk in self._chunks])
        filtered = np.concatenate([chunk[1] for chunk in self._chunks])
        found = self._broken(raw)
        rest = [i for i in range(len(self.labels)) if i not in found]
        if not rest:
            return self._in_words(found)
        typical = filtered[:, rest]
        for column, reason in suspicious_channels([typical], self._sfreq).items():
            kind, _, detail = reason.partition(" ")
            found[rest[column]] = (kind, detail.strip("()"))
        lines, share = line_noise([typical], self._sfreq)
        for column, reason in lines.items():
            # Mains make a channel wild as well, and it is they that can be mended.
            found[rest[column]] = ("line noise", reason)
        words = self._in_words(found)
        if share > LINE_RATIO:
            words.insert(0, Finding("", "line noise", f"{100 * share:.0f} % of the amplitude"))
        return words

    def amplitude_uv(self, seconds: float) -> tuple[float, float]:
        """How large the newest seconds are, as sent and within the pass band.

        Parameters
        ----------
        seconds : float
            How many, in s.

        Returns
        -------
        raw, filtered : float
            Median amplitudes in µV, as recordings are judged by, of channels that stood still at
            no time; NaN where there are none, or not so many seconds.
        """
        n = max(3, round(seconds * self._sfreq))
        if self._n < n:
            return np.nan, np.nan
        raw, filtered = (np.concatenate(parts)[-n:] for parts in zip(*self._chunks, strict=True))
        alive = np.isfinite(raw).all(axis=0)
        for third in np.array_split(raw, 3):
            alive &= (third != third[0]).any(axis=0)
        if not alive.any():
            return np.nan, np.nan
        return median_amplitude(raw[:, alive]), median_amplitude(filtered[:, alive])

    def _broken(self, raw: FloatArray) -> dict[int, tuple[str, str]]:
        """What the raw signal says."""
        finite = np.isfinite(raw)
        known = np.where(finite, raw, 0.0)
        missing = 1.0 - finite.mean(axis=0)
        size = max(2, round(self._rules.block_s * self._sfreq))
        blocks = [known[i : i + size] for i in range(0, len(known) - size + 1, size)]
        still = np.all([np.ptp(block, axis=0) < self._rules.flat_uv for block in blocks], axis=0)
        far = np.median(np.abs(known), axis=0) > _RAIL_UV
        clipped = clipped_channels(known, self._rules.clipped_share)
        found: dict[int, tuple[str, str]] = {}
        for i in range(len(self.labels)):
            if missing[i] > _MISSING_SHARE:
                found[i] = ("missing", f"{100 * missing[i]:.0f} % of the samples")
            elif (np.abs(known[:, i]) >= self._rules.rail_uv).any() or (still[i] and far[i]):
                found[i] = ("railed", f"{np.abs(known[:, i]).max() / 1000:.0f} mV")
            elif still[i]:
                found[i] = ("flat", "")
            elif clipped[i]:
                found[i] = ("clipped", "")
        return found

    def _in_words(self, found: dict[int, tuple[str, str]]) -> list[Finding]:
        kinds = {kind for kind, _ in found.values()}
        if len(found) == len(self.labels) and len(kinds) == 1:
            return [Finding("", kinds.pop())]
        return [Finding(self.labels[i], *found[i]) for i in sorted(found)]
