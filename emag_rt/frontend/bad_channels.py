"""Bad LD channels at run time: found, with hysteresis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.frontend.rules import BadChannelRules
from emag_rt.frontend.swaps import SwapWatch

OnBlock = Callable[[int, FloatArray, BoolArray], None]
_KEPT_PRECISIONS = 16
_LINES_HZ = (50.0, 60.0)
# EEG of few bits repeats its extremes as well, but not over such a span.
_CLIPPED_SPAN_UV = 1000.0


class BadChannelMonitor:
    """Judges channels block by block; the same verdicts whatever the chunking.

    Parameters
    ----------
    covariance : ndarray, shape (n_ld, n_ld)
        Calibration covariance of the reference-free LD channels in µV².
    sfreq : float
        Sampling rate in Hz.
    rules : BadChannelRules
        Thresholds.
    n_before : int
        Samples of the past that :meth:`windows` shows beside each one.

    Attributes
    ----------
    bad : ndarray of bool, shape (n_ld,)
        Verdict that counts from the next sample on.
    reasons : ndarray of str, shape (n_ld,)
        Why each bad channel is bad.
    raw, filtered : ndarray, shape (n_block, n_ld)
        The present block, of which ``filled`` samples are there.
    on_block : callable or None
        Called with each block that is judged: its number since the start, its filtered samples,
        which are gone afterwards, and which channels, shape (n_ld,), have no fault of their own.
    """

    def __init__(
        self, covariance: FloatArray, sfreq: float, rules: BadChannelRules, n_before: int = 0
    ) -> None:
        self._rules = rules
        self._covariance = covariance
        n = len(covariance)
        self.n_block = max(2, round(rules.block_s * sfreq))
        self.n_before = min(n_before, self.n_block)
        # The present block; compiled code may write into them. Filtered samples stand behind
        # the newest ones of the block before.
        self.raw = np.empty((self.n_block, n))
        self._history = np.zeros((self.n_before + self.n_block, n))
        self.filtered = self._history[self.n_before :]
        self._precisions: dict[bytes, FloatArray] = {}
        times = np.arange(self.n_block) / sfreq
        lines = [hz for hz in _LINES_HZ if hz < 0.499 * sfreq]
        self._lines = np.exp(-2j * np.pi * np.outer(lines, times)) * np.sqrt(2.0) / self.n_block
        self.on_block: OnBlock | None = None
        self._swaps = SwapWatch(covariance, rules.swap_blocks, rules.swap_gain, rules.swap_share)
        self.reset()

    def reset(self) -> None:
        """Start a new block; all channels good."""
        n = len(self._covariance)
        self.filled = 0
        self._n_judged = 0
        self._history[...] = 0.0
        self._broken = np.zeros(n, dtype=bool)
        self._strikes = np.zeros(n, dtype=int)
        self._clean = np.zeros(n, dtype=int)
        self._swaps.reset()
        self.bad = np.zeros(n, dtype=bool)
        self.reasons = np.full(n, "", dtype=object)

    @property
    def time(self) -> int:
        """Samples seen since the start."""
        return self._n_judged * self.n_block + self.filled

    @property
    def lacking(self) -> bool:
        """Whether too few channels are left to say anything from."""
        n_bad = int(self.bad.sum())
        return n_bad == len(self.bad) or n_bad > self._rules.max_share * len(self.bad)

    def windows(self, n: int) -> FloatArray:
        """The newest samples, each with those before it.

        Parameters
        ----------
        n : int
            How many; all must be in the present block.

        Returns
        -------
        ndarray, shape (n, (n_before + 1) * n_ld)
            A view; filtered, oldest sample first.
        """
        n_ld, first = self.raw.shape[1], self.filled - n
        flat = self._history[first : self.filled + self.n_before].reshape(-1)
        wide = np.lib.stride_tricks.sliding_window_view(flat, (self.n_before + 1) * n_ld)
        return np.asarray(wide[::n_ld])

    @property
    def rail_uv(self) -> float:
        """Samples beyond this are not EEG."""
        return self._rules.rail_uv

    @property
    def room(self) -> int:
        """Samples until the present block ends."""
        return self.n_block - self.filled

    def break_now(self, broken: BoolArray, reason: str = "no number, or railed") -> bool:
        """Mark channels that must not be used from this sample on; True when ``bad`` changed."""
        self._broken |= broken
        new = broken & ~self.bad
        self.reasons[new] = reason
        self.bad = self.bad | broken
        return bool(new.any())

    def add(self, raw: FloatArray, filtered: FloatArray) -> None:
        """Take in samples, at most :attr:`room` of them.

        Parameters
        ----------
        raw, filtered : ndarray, shape (n_times, n_ld)
            Samples before and after the filter, µV; ``raw`` may hold NaN.
        """
        stop = self.filled + len(raw)
        self.raw[self.filled : stop] = raw
        self.filtered[self.filled : stop] = filtered
        self.took(len(raw))

    def took(self, n_times: int) -> None:
        """Samples were written behind the others, by :meth:`add` or by compiled code."""
        self.filled += n_times

    def judge(self) -> bool:
        """Judge the block if it is full; True when ``bad`` changed.

        A verdict counts from the next sample on, so there is time for it until that comes.
        """
        if self.filled < self.n_block:
            return False
        before = self.bad
        self._judge()
        return bool((before != self.bad).any())

    def _judge(self) -> None:
        rules = self._rules
        flat = np.ptp(self.raw, axis=0) < rules.flat_uv
        if (flat | self._broken | self.bad).all():
            # The whole stream is silent: no channel to blame, nothing to fill from.
            flat &= self.bad
        at_once = self._broken | flat
        wild, flooded = self._disagreeing(at_once)
        found = {
            "no number, or railed": self._broken,
            "flat": flat,
            "dead": self._dead(),
            "clipped": self._clipped(),
            "line noise": flooded,
            "at odds with the others": wild,
        }
        striking = np.any(list(found.values()), axis=0) & ~at_once
        self._strikes = np.where(striking, self._strikes + 1, 0)
        faulty = at_once | (self._strikes >= rules.blocks_to_bad)
        self._clean = np.where(at_once | striking, 0, self._clean + 1)
        # All bad at once is no fault of any electrode, and there is nothing to fill from: one
        # clean block is enough then.
        needed = 1 if self.bad.all() else rules.blocks_to_good
        held = self.bad & (self._clean < needed)
        self._watch_places(faulty | (held & ~self._swaps.swapped), at_once | striking)
        if self.on_block is not None:
            # To be at odds with the others is no fault of an electrode on another head.
            kept_out = held & (self.reasons != "at odds with the others")
            broken = at_once | found["dead"] | found["clipped"] | flooded
            usable = ~(broken | kept_out | self._swaps.swapped)
            self.on_block(self._n_judged, self.filtered, usable)
        found["swapped"] = self._swaps.swapped
        bad = faulty | held | self._swaps.swapped
        for reason, channels in reversed(found.items()):
            self.reasons[channels & bad & ~self.bad] = reason
        self.reasons[~bad] = ""
        self.bad = bad
        self._broken = np.zeros_like(self._broken)
        self._history[: self.n_before] = self._history[self.n_block :]
        self.filled = 0
        self._n_judged += 1

    def _watch_places(self, other_fault: BoolArray, disturbed: BoolArray) -> None:
        if not (disturbed & ~other_fault).any():
            self._swaps.add(self.filtered, ~other_fault)

    def _dead(self) -> BoolArray:
        rms = np.sqrt((self.filtered**2).mean(axis=0))
        return np.asarray(rms < self._rules.dead_ratio * np.median(rms))

    def _clipped(self) -> BoolArray:
        return clipped_channels(self.raw, self._rules.clipped_share)

    def _disagreeing(self, known_bad: BoolArray) -> tuple[BoolArray, BoolArray]:
        """Channels that are wild, and that are flooded by the mains.

        The worst is taken out again and again: one wild channel makes all disagree.
        """
        wild, flooded = np.zeros_like(known_bad), np.zeros_like(known_bad)
        while True:
            good = ~(known_bad | wild | flooded)
            if good.sum() < 4:
                return wild, flooded
            error = self._disagreement(good)
            rms = np.sqrt((error**2).mean(axis=0)) / self._rules.wild_ratio
            line = np.abs(self._lines @ error).max(axis=0, initial=0.0)
            line /= self._rules.line_ratio * max(1.0, float(np.median(line)))
            excess = np.maximum(rms, line)
            worst = int(np.argmax(excess))
            if excess[worst] <= 1.0:
                return wild, flooded
            kind = flooded if line[worst] > rms[worst] else wild
            kind[np.flatnonzero(good)[worst]] = True

    def _disagreement(self, good: BoolArray) -> FloatArray:
        """Each good channel's error of prediction, in units of the calibration's rms."""
        x = self.filtered[:, good]
        x = x - x.mean(axis=1, keepdims=True)
        precision = self._precision(good)
        return np.asarray(x @ precision / np.sqrt(np.diag(precision)))

    def _precision(self, good: BoolArray) -> FloatArray:
        """Inverse covariance of the good channels relative to their mean; the newest are kept."""
        key = good.tobytes()
        if key not in self._precisions:
            if len(self._precisions) >= _KEPT_PRECISIONS:
                self._precisions.clear()
            n = int(good.sum())
            centre = np.eye(n) - 1.0 / n
            covariance = centre @ self._covariance[np.ix_(good, good)] @ centre
            # The common direction carries no signal; give it unit weight so the inverse exists.
            scale = float(np.trace(covariance)) / n
            weighed = covariance + scale * (np.ones((n, n)) / n + 1e-6 * np.eye(n))
            self._precisions[key] = np.asarray(np.linalg.inv(weighed), dtype=np.float64)
        return self._precisions[key]


def clipped_channels(raw: FloatArray, share: float) -> BoolArray:
    """Channels of which more than a share lies on their own extremes, over 1 mV apart.

    Parameters
    ----------
    raw : ndarray, shape (n_times, n_channels)
        Before the filter, µV.
    share : float
        The share.

    Returns
    -------
    ndarray of bool, shape (n_channels,)
        The channels.
    """
    low, high = raw.min(axis=0), raw.max(axis=0)
    on_edge = ((raw == low) | (raw == high)).mean(axis=0)
    wide = high - low > _CLIPPED_SPAN_UV
    return np.asarray(wide & (on_edge > share))
