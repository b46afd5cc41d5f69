"""What a stream is cut into: stretches of samples, bridges, gaps and clock jumps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from emag_rt.array_types import Samples, Stamps

Kind = Literal["data", "bridge", "gap", "jump"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of the stream.

    Attributes
    ----------
    kind : {"data", "bridge", "gap", "jump"}
        Samples; samples made up to bridge a short gap; a long gap; a clock jump.
    samples : ndarray, shape (n_times, n_channels)
        Empty for gaps and jumps.
    stamps : ndarray, shape (n_times,)
        Stamps of the samples, or for a gap those of the missing ones, evenly spaced.
    apart_s : float
        Time between the stamps around a gap or jump, in s.
    """

    kind: Kind
    samples: Samples
    stamps: Stamps
    apart_s: float = 0.0


class Cut:
    """Pieces of one chunk, as its samples are placed.

    Parameters
    ----------
    samples : ndarray, shape (n_times, n_channels)
        The chunk.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._pieces: list[Piece] = []
        self._rows: list[int] = []
        self._times: list[float] = []

    def row(self, i: int, stamp: float) -> None:
        """One of the samples."""
        self._rows.append(i)
        self._times.append(stamp)

    def add(self, piece: Piece) -> None:
        """A piece between two samples."""
        self.end().append(piece)

    def end(self) -> list[Piece]:
        """All pieces so far."""
        if self._rows:
            piece = Piece("data", self._samples[self._rows], np.array(self._times))
            self._pieces.append(piece)
            self._rows, self._times = [], []
        return self._pieces
