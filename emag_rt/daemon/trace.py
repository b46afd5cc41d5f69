"""Where the time of each chunk goes, for benchmarks."""

from __future__ import annotations

import os

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.files import replacing
from emag_rt.streams.base import Clock

COLUMNS = ("stamp", "pulled", "filtered", "rendered", "pushed")
_FIRST_SIZE = 4096


class Trace:
    """Times of the stages of every chunk, kept in memory and written at the end.

    Parameters
    ----------
    clock : callable
        Seconds on the clock of the stamps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows = np.full((_FIRST_SIZE, len(COLUMNS)), np.nan)
        self._n = 0

    def begin(self, stamp: float, pulled: float) -> None:
        """A chunk was pulled at that time; its newest sample has this stamp."""
        self._rows[self._n, :2] = stamp, pulled

    def filtered(self) -> None:
        """The front end is through."""
        self._rows[self._n, 2] = self._clock()

    def rendered(self) -> None:
        """HD rows are there, and about to be published."""
        self._rows[self._n, 3] = self._clock()

    def end(self) -> None:
        """The chunk is answered."""
        self._rows[self._n, 4] = self._clock()
        self._n += 1
        # Room for the next, and for what is still published after the last.
        if self._n == len(self._rows):
            self._rows = np.concatenate([self._rows, np.full_like(self._rows, np.nan)])

    def times(self) -> dict[str, FloatArray]:
        """What was measured.

        Returns
        -------
        dict of str to ndarray, shape (n_chunks,), float64
            ``stamp`` (newest capture stamp), ``pulled``, ``filtered``, ``rendered`` and
            ``pushed``, all in s on the LSL clock; NaN where a chunk missed a stage.
        """
        return {name: self._rows[: self._n, i].copy() for i, name in enumerate(COLUMNS)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`times` as an ``.npz``.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        with replacing(path, "--trace") as beside, beside.open("wb") as file:
            np.savez(file, **self.times())  # type: ignore[arg-type]
