"""Samples that carry stamps, put on an even grid: where some are missing, and where time jumps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import minimum_filter1d

from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.even_line import SURE, WINDOW_S

_DRIFT_S = 30.0
_FEW = 8
MAX_FILLED_S = 60.0
"""Longer gaps are cut out: their samples would only take memory."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where each sample goes.

    Attributes
    ----------
    rows : ndarray, shape (n_samples,), int
        Row of each sample, ascending; rows without a sample are missing ones.
    sfreq : float
        Rate that the stamps show, in Hz.
    gaps : tuple of (int, int)
        Ranges of missing rows.
    cuts : tuple of int
        Rows before which time jumps: a gap too long to fill, or a clock set back.
    lost_s : float
        Duration of the gaps that were cut out, in seconds.
    """

    rows: IndexArray
    sfreq: float
    gaps: tuple[tuple[int, int], ...]
    cuts: tuple[int, ...]
    lost_s: float


def place_on_grid(stamps: FloatArray, sfreq: float) -> Grid:
    """Find missing samples by what never catches up.

    What :class:`~emag_rt.core.even_line.EvenLine` does with live stamps, for all of a recording.
    Stamps of many amplifiers jitter, or come in bursts of one chunk each. They are late then, and
    others soon are not; after a gap all are. So what counts is the least delay within the coming
    second, followed through the recording in whole samples.

    Parameters
    ----------
    stamps : ndarray, shape (n_samples,)
        In seconds.
    sfreq : float
        Nominal rate in Hz.

    Returns
    -------
    Grid
        The places.
    """
    n = len(stamps)
    period = _period(stamps, sfreq)
    missing = np.zeros(n, dtype=np.intp)
    cuts: list[int] = []
    lost_s = 0.0
    back = [int(i) for i in np.flatnonzero(np.diff(stamps) < -WINDOW_S) + 1]
    jumps = [(i, -1) for i in back]
    for start, stop in pairwise([0, *back, n]):
        jumps += [(start + i, count) for i, count in _jumps(stamps[start:stop], period)]
    for i, count in sorted(jumps):
        if 0 < count * period <= MAX_FILLED_S:
            missing[i] = count
        else:
            cuts += [] if i in cuts else [i]
            lost_s += max(0.0, count * period)
    rows = np.arange(n) + np.cumsum(missing)
    gaps = tuple((int(rows[i] - missing[i]), int(rows[i])) for i in np.flatnonzero(missing))
    return Grid(rows, 1.0 / period, gaps, tuple(int(rows[i]) for i in cuts), lost_s)


def _period(stamps: FloatArray, sfreq: float) -> float:
    """Seconds a sample, by the stamps; gaps in fewer than half of the seconds do not matter.

    By the least delay against the nominal rate, as stamps of arrival come in bursts: of spans of
    one second between stamps, many would hold a burst too much or too little.
    """
    width = round(WINDOW_S * sfreq)
    if len(stamps) < 3 * width:  # too short to measure
        return 1.0 / sfreq
    delay = stamps - stamps[0] - np.arange(len(stamps)) / sfreq
    least = minimum_filter1d(delay, width, mode="nearest", origin=-(width // 2))
    return 1.0 / sfreq + float(np.median(least[width:] - least[:-width])) / width


def _jumps(stamps: FloatArray, period: float) -> list[tuple[int, int]]:
    """Samples before which others are missing, and how many; less than none: time went back."""
    if not (np.abs(np.diff(stamps) / period - 1.0) > 0.5).any():
        return []
    delay = (stamps - stamps[0]) / period - np.arange(len(stamps))
    n_window = max(8, round(WINDOW_S / period))
    least = _least(delay, n_window)
    follow = period / _DRIFT_S
    found, level, base = [], 0, least[0]
    for i, value in enumerate(least.tolist()):
        off = value - base - level
        if abs(off) > SURE:
            found.append((i if off > 0 else _set_back(stamps, i, n_window), round(off)))
            level += round(off)
            off = value - base - level
        base += follow * off  # clocks drift
    return found


def _set_back(stamps: FloatArray, first: int, n_window: int) -> int:
    """The sample at which a clock was set back: the least delay foretells it by the window."""
    steps = np.diff(stamps[first : first + n_window + 1])
    return first + int(steps.argmin()) + 1 if len(steps) else first


def _least(delay: FloatArray, n_window: int) -> FloatArray:
    """The least delay from each sample on."""
    # A single stamp that is too early says nothing: none is earlier than all others near it.
    half = n_window // 2
    beyond = np.full(half + 1, np.inf)
    lowest = minimum_filter1d(np.concatenate([beyond, delay, beyond]), half)
    place = np.arange(len(delay)) + half + 1
    others = np.minimum(lowest[place - half + half // 2], lowest[place + 1 + half // 2])
    calm = np.maximum(delay, others)
    least: FloatArray = minimum_filter1d(calm, n_window, mode="nearest", origin=-(n_window // 2))
    least[-_FEW:] = least[-_FEW:].min()  # too few are left to tell a gap from jitter
    return least
