"""Which K electrodes: greedy growth, then swaps until none helps, from several starts.

Errors are those of :mod:`calibration.regression.lag_grams`, of all channels, cross-validated on
blocks of time. One call scores a set with each further channel, so the best swap of a slot
costs one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.lag_grams import SearchGrams, choose_penalty, errors_with, set_error
from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError

_WORTH = 1e-6
"""Least relative gain for which a swap is made: less is rounding."""
_ROUNDS = 3
_BEAM = 4


@dataclass(frozen=True)
class Choice:
    """A set of channels.

    Attributes
    ----------
    rows : tuple of int
        Channels chosen, ascending.
    error : float
        The surrogate's cross-validated NMSE of all channels.
    lam : float
        Penalty it was found with.
    """

    rows: tuple[int, ...]
    error: float
    lam: float


class SetSearch:
    """Greedy growth by a beam, then swaps until none helps.

    Parameters
    ----------
    grams : SearchGrams
        Statistics of the session.
    candidates : sequence of int
        Channels on offer.
    must : sequence of int
        Channels in every set; on offer or not.
    lam : float
        Penalty, as a share of each channel's power.
    beam : int
        Sets carried along while growing.
    tell : callable, optional
        Called with the set after every change of it.

    Attributes
    ----------
    n_scored : int
        Sets whose error was computed.
    """

    def __init__(
        self,
        grams: SearchGrams,
        candidates: Sequence[int],
        must: Sequence[int] = (),
        *,
        lam: float,
        beam: int = 1,
        tell: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        self.grams, self.lam, self.beam = grams, lam, beam
        self.must = tuple(sorted(must))
        self.offered = np.zeros(grams.n_channels, dtype=bool)
        self.offered[[*candidates, *must]] = True
        self._tell = tell or (lambda _rows: None)
        self.n_scored = 0

    def grow(self, count: int) -> Choice:
        """Grow sets of ``count`` channels, one channel at a time, and keep the best."""
        starts = [self.must] if self.must else [(int(i),) for i in np.flatnonzero(self.offered)]
        sets = dict.fromkeys(starts, np.inf)
        while len(next(iter(sets))) < count:
            grown: dict[tuple[int, ...], float] = {}
            for rows in sets:
                errors = self._errors_with(rows)
                for c in np.argsort(errors)[: self.beam]:
                    if np.isfinite(errors[c]):
                        grown[tuple(sorted((*rows, int(c))))] = float(errors[c])
            best = sorted(grown, key=grown.__getitem__)[: self.beam]
            sets = {rows: grown[rows] for rows in best}
            self._tell(best[0])
        return self._choice(next(iter(sets)))

    def refine(self, rows: Sequence[int]) -> Choice:
        """Swap single channels, each for the best one, until no swap lowers the error."""
        now = self._choice(tuple(sorted(rows)))
        waiting = [c for c in now.rows if c not in self.must]
        settled: set[int] = set()
        while waiting:
            out = waiting.pop(0)
            others = tuple(c for c in now.rows if c != out)
            errors = self._errors_with(others)
            best = int(np.argmin(errors))
            if errors[best] < now.error * (1 - _WORTH):
                now = Choice(tuple(sorted((*others, best))), float(errors[best]), self.lam)
                # The newcomer is the best for its slot; all others may have a better one now.
                waiting += sorted(settled)
                settled = {best}
                self._tell(now.rows)
            else:
                settled.add(out)
        return now

    def _choice(self, rows: tuple[int, ...]) -> Choice:
        return Choice(rows, set_error(self.grams, rows, self.lam), self.lam)

    def _errors_with(self, rows: Sequence[int]) -> FloatArray:
        errors = errors_with(self.grams, rows, self.lam)
        self.n_scored += int(self.offered.sum()) - len(rows)
        return np.where(self.offered, errors, np.inf)


def choose_set(
    grams: SearchGrams,
    candidates: Sequence[int],
    start: Sequence[int],
    *,
    must: Sequence[int] = (),
    n_starts: int = 4,
    seed: int = 0,
    tell: Callable[[Sequence[int]], None] | None = None,
) -> Choice:
    """Choose the set of channels with the least cross-validated error of all channels.

    Swaps are refined from a set grown by a beam, from ``start``, and from random sets; the best is
    kept. The penalty is chosen for ``start``, then for the set found, which is refined again until
    both agree.

    Parameters
    ----------
    grams : SearchGrams
        Statistics of the session.
    candidates : sequence of int
        Channels on offer.
    start : sequence of int
        A set to begin with, of the size wanted; with ``must`` in it.
    must : sequence of int
        Channels that must be in the set.
    n_starts : int
        Random sets to begin with.
    seed : int
        Of the random sets.
    tell : callable, optional
        Called with the set after every change of it.

    Returns
    -------
    Choice
        The best that swaps found; the penalty is that of its own cross-validation.

    Raises
    ------
    CalibrationError
        If fewer than two channels are asked for, or more than are on offer.
    """
    count, free = len(start), sorted(set(candidates) - set(must))
    if not max(2, len(must)) <= count <= len(free) + len(must):
        raise CalibrationError(
            f"count must be from {max(2, len(must))} to {len(free) + len(must)}, the channels on "
            f"offer, got {count}."
        )
    rng = np.random.default_rng(seed)
    search = SetSearch(
        grams, candidates, must, lam=choose_penalty(grams, start), beam=_BEAM, tell=tell
    )
    starts = [tuple(start), search.grow(count).rows]
    for _ in range(n_starts):
        drawn = rng.choice(free, count - len(must), replace=False)
        starts.append((*must, *(int(i) for i in drawn)))
    best = min((search.refine(rows) for rows in starts), key=lambda choice: choice.error)
    for _ in range(_ROUNDS):
        lam = choose_penalty(grams, best.rows)
        if lam == search.lam:
            break
        search.lam = lam
        best = search.refine(best.rows)
    return best
