"""What an upsampler keeps for later: samples of a hop, and stamps of rows that look ahead."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray, Stamps


class WholeHops:
    """Holds samples back until a hop is complete.

    Parameters
    ----------
    hop : int
        Samples that go on together; 0 lets every chunk pass.
    n_ld : int
        LD channels.

    Attributes
    ----------
    n_waiting : int
        Samples that are held back.
    """

    def __init__(self, hop: int, n_ld: int) -> None:
        self._hop, self._n_ld = hop, n_ld
        self.reset()

    def reset(self) -> None:
        """Forget what is held back."""
        self._waiting: list[tuple[FloatArray, Stamps]] = []
        self.n_waiting = 0

    def add(self, ld: FloatArray, stamps: Stamps) -> tuple[FloatArray, Stamps]:
        """Take samples and their stamps, and give back those of whole hops."""
        if not self._hop:
            return ld, stamps
        # A copy: a source may use the memory of its stamps again.
        self._waiting.append((ld, stamps.copy()))
        self.n_waiting += len(ld)
        if self.n_waiting < self._hop:
            return ld[:0], stamps[:0]
        ld, stamps = self.take()
        whole = len(ld) - len(ld) % self._hop
        if whole < len(ld):
            self._waiting = [(ld[whole:], stamps[whole:])]
            self.n_waiting = len(ld) - whole
        return ld[:whole], stamps[:whole]

    def take(self) -> tuple[FloatArray, Stamps]:
        """All that is held back."""
        if not self._waiting:
            return np.empty((0, self._n_ld)), np.empty(0)
        ld = np.concatenate([part for part, _ in self._waiting])
        stamps = np.concatenate([part for _, part in self._waiting])
        self.reset()
        return ld, stamps


class OwedRows:
    """Gives rows that follow the input by a look-ahead the stamps that they belong to.

    Parameters
    ----------
    look_ahead : int
        Samples.
    """

    def __init__(self, look_ahead: int) -> None:
        self._look_ahead = look_ahead
        self.reset()

    def reset(self) -> None:
        """No row is owed."""
        self._stamps: Stamps = np.empty(0)

    def __len__(self) -> int:
        return len(self._stamps)

    def release(
        self, hd: Float32Array, stamps: Stamps, newest_ld: FloatArray
    ) -> tuple[Float32Array, Stamps]:
        """Rows that are complete, with their stamps.

        Parameters
        ----------
        hd : ndarray, shape (n_times, n_out), float32
            What the engine made of the samples with ``stamps``: rows of earlier ones.
        stamps : ndarray, shape (n_times,)
            In s.
        newest_ld : ndarray, shape (1, n_ld)
            The newest of these samples, filtered.
        """
        if not self._look_ahead:
            return hd, stamps
        self._newest_ld = newest_ld.copy()
        owed = np.concatenate([self._stamps, stamps])
        ready = max(0, len(owed) - self._look_ahead)
        self._stamps = owed[ready:]
        return hd[len(hd) - ready :], owed[:ready]

    def held_samples(self) -> FloatArray:
        """What the rest is rendered from: the newest sample held, shape (look_ahead, n_ld)."""
        return np.repeat(self._newest_ld, self._look_ahead, axis=0)

    def release_rest(self, hd: Float32Array) -> tuple[Float32Array, Stamps]:
        """The last rows, rendered from :meth:`held_samples`, with their stamps."""
        stamps = self._stamps
        self.reset()
        return hd[len(hd) - len(stamps) :], stamps
