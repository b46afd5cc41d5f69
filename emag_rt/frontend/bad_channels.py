"""Bad LD channels at run time: finding them with hysteresis, filling them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emag_rt.errors import SettingsError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
_KEPT_PRECISIONS = 16


@dataclass(frozen=True)
class BadChannelRules:
    """When a channel counts as bad.

    Attributes
    ----------
    block_s : float
        Length of the blocks of time that are judged, in s.
    rail_uv : float
        Samples beyond this are not EEG: the channel is bad at once.
    flat_uv : float
        Bad when the raw peak-to-peak of a block stays below this, in µV.
    dead_ratio : float
        Bad when its filtered rms is below this share of the median channel's.
    wild_ratio : float
        Bad when its disagreement with its own prediction from the other channels exceeds this
        many times the calibration's.
    blocks_to_bad : int
        Wild or dead blocks in a row before the channel is bad.
    blocks_to_good : int
        Clean blocks in a row before it is good again.
    """

    block_s: float = 0.5
    rail_uv: float = 1e6
    flat_uv: float = 0.1
    dead_ratio: float = 0.02
    wild_ratio: float = 10.0
    blocks_to_bad: int = 2
    blocks_to_good: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.rail_uv < np.inf:
            raise SettingsError(
                f"rail_uv must be positive and finite, got {self.rail_uv}: it also tells numbers "
                "from infinity."
            )


def fill_matrix(covariance: FloatArray, bad: BoolArray) -> FloatArray:
    """Conditional mean of bad channels given good ones, whatever the reference.

    Parameters
    ----------
    covariance : ndarray, shape (n_ld, n_ld)
        Calibration covariance of the reference-free LD channels in µV².
    bad : ndarray of bool, shape (n_ld,)
        Channels to fill; at least one must be good.

    Returns
    -------
    ndarray, shape (n_bad, n_good)
        ``x_bad = matrix @ x_good``; rows sum to 1, so a common signal passes unchanged.

    Notes
    -----
    x_b = m + S_bg S_gg^-1 (x_g - m) with m the mean of the good channels and S taken relative
    to m, a contrast of the same covariance: no reference is favoured.
    """
    n_good = int((~bad).sum())
    to_mean = np.where(bad, 0.0, 1.0 / n_good)
    good = np.eye(len(bad))[~bad] - to_mean
    lost = np.eye(len(bad))[bad] - to_mean
    inner = good @ covariance @ good.T
    gain = lost @ covariance @ good.T @ np.linalg.pinv(inner, rcond=1e-7, hermitian=True)
    centre = np.eye(n_good) - 1.0 / n_good
    return np.asarray(gain @ centre + 1.0 / n_good)


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
    """

    def __init__(self, covariance: FloatArray, sfreq: float, rules: BadChannelRules) -> None:
        self._rules = rules
        self._covariance = covariance
        n = len(covariance)
        self.n_block = max(2, round(rules.block_s * sfreq))
        # The present block; compiled code may write into them.
        self.raw = np.empty((self.n_block, n))
        self.filtered = np.empty((self.n_block, n))
        self._precisions: dict[bytes, FloatArray] = {}
        self.reset()

    def reset(self) -> None:
        """Start a new block; all channels good."""
        n = len(self._covariance)
        self.filled = 0
        self._broken = np.zeros(n, dtype=bool)
        self._strikes = np.zeros(n, dtype=int)
        self._clean = np.zeros(n, dtype=int)
        self.bad = np.zeros(n, dtype=bool)

    @property
    def rail_uv(self) -> float:
        """Samples beyond this are not EEG."""
        return self._rules.rail_uv

    @property
    def room(self) -> int:
        """Samples until the present block ends."""
        return self.n_block - self.filled

    def break_now(self, broken: BoolArray) -> bool:
        """Mark channels that hold non-finite or railed samples; True when ``bad`` changed."""
        self._broken |= broken
        news = bool((broken & ~self.bad).any())
        self.bad = self.bad | broken
        return news

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
        self.filled = stop

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
        if flat.all():
            flat[:] = False  # the whole stream is silent: no channel to blame, nothing to fill from
        at_once = self._broken | flat
        striking = self._dead() | self._wild(at_once)
        self._strikes = np.where(striking, self._strikes + 1, 0)
        faulty = at_once | (self._strikes >= rules.blocks_to_bad)
        self._clean = np.where(at_once | striking, 0, self._clean + 1)
        self.bad = faulty | (self.bad & (self._clean < rules.blocks_to_good))
        self._broken = np.zeros_like(self._broken)
        self.filled = 0

    def _dead(self) -> BoolArray:
        rms = np.sqrt((self.filtered**2).mean(axis=0))
        return np.asarray(rms < self._rules.dead_ratio * np.median(rms))

    def _wild(self, known_bad: BoolArray) -> BoolArray:
        """Take the worst channel out again and again: one wild channel makes all disagree."""
        wild = np.zeros_like(known_bad)
        while True:
            good = ~(known_bad | wild)
            if good.sum() < 4:
                return wild
            ratio = self._disagreement(good)
            worst = int(np.argmax(ratio))
            if ratio[worst] <= self._rules.wild_ratio:
                return wild
            wild[np.flatnonzero(good)[worst]] = True

    def _disagreement(self, good: BoolArray) -> FloatArray:
        """Rms of each good channel's error of prediction, in units of the calibration's."""
        x = self.filtered[:, good]
        x = x - x.mean(axis=1, keepdims=True)
        precision = self._precision(good)
        diagonal = np.diag(precision)
        error = (x @ precision) / diagonal
        return np.asarray(np.sqrt((error**2).mean(axis=0) * diagonal))

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
