"""Rows of samples during which too many LD channels were bad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emag_rt.array_types import Float32Array
from emag_rt.frontend import Lack


class Withholding:
    """Counts such rows, and makes them NaN, good measured channels apart.

    Parameters
    ----------
    policy : {"nan", "fill"}
        Whether they are made NaN, or left as rendered.
    measured : sequence of (int, int)
        Output rows that hold a measured channel and nothing else, with their LD column.

    Attributes
    ----------
    lacks : list of Lack
        Those that rows to come may belong to; none, as a rule.
    n_rows : int
        Such rows so far.
    """

    def __init__(self, policy: str, measured: Sequence[tuple[int, int]]) -> None:
        self._policy, self._measured = policy, measured
        self.n_rows = 0
        self.reset()

    def reset(self) -> None:
        """A new start: samples are counted from 0 again."""
        self.lacks: list[Lack] = []

    def take_back(self, hd: Float32Array, end: int, news: Sequence[Lack]) -> None:
        """Deal with rows that are about to go out.

        Parameters
        ----------
        hd : ndarray, shape (n_times, n_out), float32
            Changed in place.
        end : int
            Samples since the start whose rows are out, these among them.
        news : sequence of Lack
            What the front end has found since the last call.
        """
        lacks = self.lacks
        lacks += news
        if not lacks:
            return
        first = end - len(hd)
        for i, lack in enumerate(lacks):
            stop = min(lacks[i + 1].time if i + 1 < len(lacks) else end, end) - first
            rows = hd[max(0, lack.time - first) : max(0, stop)]
            if lack.bad is None or not len(rows):
                continue
            self.n_rows += len(rows)
            if self._policy == "nan":
                kept = [row for row, column in self._measured if not lack.bad[column]]
                passed = rows[:, kept]
                rows[...] = np.nan
                rows[:, kept] = passed
        while len(lacks) > 1 and lacks[1].time <= end:
            del lacks[0]
        if lacks[0].bad is None and lacks[0].time <= end:
            del lacks[0]
