"""LD channels in each other's place: told by which order the calibration covariance fits."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.core.exchange import exchange

_MIN_CHANNELS = 4
# A block with next to no signal tells nothing.
_MIN_POWER = 1e-6


class SwapWatch:
    """Compares every pair as plugged with the pair exchanged, over many blocks.

    Parameters
    ----------
    covariance : ndarray, shape (n_ld, n_ld)
        Calibration covariance of the reference-free LD channels in µV².
    n_blocks : int
        Blocks that are looked at together.
    gain : float
        How much better the exchanged order must fit: the mean relative drop of
        ``tr(S_calibration^-1 S_block)``. It must also be half of what the calibration expects
        of that exchange; pairs of which less than ``gain`` is expected look too much alike to
        be told apart.
    share : float
        Share of the blocks in which it must fit better at all.

    Attributes
    ----------
    source : ndarray of int, shape (n_ld,)
        Column in which each channel's signal is thought to be; its own, as a rule.
    """

    def __init__(self, covariance: FloatArray, n_blocks: int, gain: float, share: float) -> None:
        self._covariance = covariance
        self._n_blocks, self._gain, self._share = n_blocks, gain, share
        self.reset()

    def reset(self) -> None:
        """All channels are in their places; nothing has been seen."""
        n = len(self._covariance)
        self.source = np.arange(n)
        self._usable = np.zeros(n, dtype=bool)
        self._start(self._usable)

    @property
    def swapped(self) -> BoolArray:
        """Channels that are not in their place."""
        return np.asarray(self.source != np.arange(len(self.source)))

    def add(self, block: FloatArray, usable: BoolArray) -> None:
        """Take in a block without artefacts.

        Parameters
        ----------
        block : ndarray, shape (n_times, n_ld)
            Filtered, µV.
        usable : ndarray of bool, shape (n_ld,)
            Channels that have no other fault.

        Notes
        -----
        With P the exchange of i and j, K = S_calibration^-1 and S the block's covariance (in
        the order that is believed so far), the Gaussian log-likelihoods of the two orders
        differ by half of ``tr(K P S P) - tr(K S)``, here relative to ``tr(K S)``: loud blocks
        count no more than quiet ones. Back in its place, a pair is found in the same way.
        """
        usable = usable & usable[self.source]
        if (usable != self._usable).any():
            self._start(usable)
        if self._inverse is None:
            return
        x = block[:, self.source[usable]]
        x = x - x.mean(axis=1, keepdims=True)
        s = x.T @ x / len(x)
        if np.trace(s) < _MIN_POWER * self._power:
            return
        fit = float((self._inverse * s).sum())
        oldest = self._ring[self._count % self._n_blocks]
        newest = np.minimum(exchange(self._inverse, s) / fit, 1.0)
        self._sum += newest - oldest
        self._better += (newest < 0).astype(int) - (oldest < 0)
        oldest[...] = newest
        self._count += 1
        if self._count >= self._n_blocks:
            self._judge()

    def _start(self, usable: BoolArray) -> None:
        self._usable = usable
        n = int(usable.sum())
        self._inverse: FloatArray | None = None
        if n < _MIN_CHANNELS:
            return
        self._ring = np.zeros((self._n_blocks, n, n))
        self._empty()
        centre = np.eye(n) - 1.0 / n
        covariance = centre @ self._covariance[np.ix_(usable, usable)] @ centre
        self._power = float(np.trace(covariance))
        loading = 1e-6 * self._power / n * np.eye(n)
        self._inverse = np.asarray(np.linalg.pinv(covariance + loading, hermitian=True))
        self._inverse = centre @ self._inverse @ centre
        drop = exchange(self._inverse, covariance)
        expected = drop / (float((self._inverse * covariance).sum()) + drop)
        needed = np.maximum(self._gain, 0.5 * expected)
        self._needed = np.where(expected >= self._gain, needed, np.inf)

    def _judge(self) -> None:
        mean = self._sum / self._n_blocks
        found = (mean < -self._needed) & (self._better >= self._share * self._n_blocks)
        if not found.any():
            return
        a, b = np.unravel_index(int(np.argmin(np.where(found, mean, np.inf))), mean.shape)
        i, j = np.flatnonzero(self._usable)[[a, b]]
        self.source[[i, j]] = self.source[[j, i]]
        self._empty()  # the others are judged anew, in the better order

    def _empty(self) -> None:
        self._count = 0
        self._ring[...] = 0.0
        self._sum = np.zeros(self._ring.shape[1:])
        self._better = np.zeros(self._ring.shape[1:], dtype=int)
