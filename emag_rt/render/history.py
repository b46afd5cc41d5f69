"""The newest rows of a stream with what came before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from emag_rt.array_types import Samples


class History:
    """The newest rows of a stream behind each other in memory, with context in front.

    Rows are appended to a long buffer and moved to its front only when it is full, so no push
    copies more than it brings, on average.

    Parameters
    ----------
    n_context : int
        Rows to keep in front of each chunk.
    n_channels : int
        Columns.
    dtype : dtype
        Of the buffer.
    silence : ndarray, shape (n_channels,), optional
        What the context is filled with at the start; 0 by default.
    """

    def __init__(
        self,
        n_context: int,
        n_channels: int,
        dtype: DTypeLike = np.float64,
        silence: Samples | None = None,
    ) -> None:
        self._n_context = n_context
        self._silence = 0 if silence is None else silence.copy()
        self._buffer = np.zeros((2 * n_context + 1024, n_channels), dtype=dtype)
        self.reset()

    def reset(self) -> None:
        """Fill the context with silence."""
        self._buffer[: self._n_context] = self._silence
        self._stop = self._n_context

    def append(self, rows: Samples) -> Samples:
        """Append rows and return them with their context, shape (n_context + n_times, ...)."""
        n, keep = len(rows), self._n_context
        if self._stop + n > len(self._buffer):
            tail = self._buffer[self._stop - keep : self._stop].copy()
            if keep + n > len(self._buffer):
                grown = (2 * keep + 2 * n, self._buffer.shape[1])
                self._buffer = np.zeros(grown, dtype=self._buffer.dtype)
            self._buffer[:keep] = tail
            self._stop = keep
        start = self._stop
        self._buffer[start : start + n] = rows
        self._stop = start + n
        return self._buffer[start - keep : start + n]
