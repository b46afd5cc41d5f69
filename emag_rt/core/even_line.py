"""An even line through stamps that are late, in bursts or of arrival: the count tells the time."""

from __future__ import annotations

from collections import deque

import numpy as np

WINDOW_S = 1.0
"""How long a delay must last to be a gap, not lateness."""
SURE = 0.7
"""Of a sample: what is less is no whole one."""
EVEN = 0.005
"""Steps that differ by less than this, of a period, are even."""

_FINE_S = 5e-6  # clocks tell no less
_SAME_S = 1e-7
_SURE_S = 0.005
# Of what is sure: a delay that grows by more is of a slow source, whose rate is first unknown.
_LEVEL, _LEVEL_AT_FIRST = 0.25, 0.1
_N_KNOWN = 5
_N_POINTS = 10
_GAIN = 0.15
_MOST_SLEW = 0.002
_MOST_SLOPE = 0.025


def even_within_s(period: float) -> float:
    """By how much steps may differ and be even, in s."""
    return max(EVEN * period, _FINE_S)


class EvenLine:
    """Gives each sample its time on a line that follows the stamps slowly.

    A stamp may be late, and others soon are not: what counts is the least delay within a second
    (the second least, as a single stamp says nothing). The line follows it by a few
    thousandths of the time, and takes its rate from the count over up to ten seconds. Samples are
    missing where all of a second are late by whole periods, and as late at its end.

    Parameters
    ----------
    period : float
        Of the samples, in s, as far as it is known.
    last : float
        Stamp of the last sample.

    Attributes
    ----------
    last : float
        The same, as the line goes on.
    """

    def __init__(self, period: float, last: float) -> None:
        self._period = self.step = period
        self.last = last
        self._n_window = max(8, round(WINDOW_S / period))
        self._sure_s = max(SURE * period, _SURE_S)
        self._points: deque[tuple[int, float]] = deque(maxlen=_N_POINTS)
        self._rows = self._n = 0
        self._slope = 0.0
        self._least = self._next_least = (float("inf"), 0, 0.0)
        self._late: list[tuple[float, float]] = []

    def delay(self, said: float) -> float:
        """How late a stamp is for the next sample, in s."""
        return said - self.last - self.step

    def skip(self, n_missing: int) -> None:
        """Go on over samples that are missing."""
        self._rows += n_missing
        self.last += n_missing * self.step
        self._late.clear()

    def missing(self, said: float) -> int:
        """How many samples are proven to be missing before the next, which has this stamp."""
        off = self.delay(said)
        if off <= self._sure_s:
            return 0
        self._late.append((off, said - (self._rows + 1) * self._period * (1.0 + self._slope)))
        if len(self._late) < self._n_window:
            return 0
        half = self._n_window // 2
        before, after = (
            min(delay for _, delay in part) for part in (self._late[:half], self._late[half:])
        )
        level = _LEVEL if len(self._points) >= _N_KNOWN else _LEVEL_AT_FIRST
        if abs(before - after) > level * self._sure_s:  # catching up, or a slow source
            del self._late[:half]
            return 0
        return max(1, round(min(off for off, _ in self._late[half:]) / self.step))

    def place(self, said: float | None) -> float:
        """Time of the next sample, which has this stamp, or none that says anything."""
        self._rows += 1
        self.last += self.step
        if said is not None:
            self.note(said)
            if abs(said - self.last) <= _SAME_S:
                self.last = said
        self._n += 1
        if self._n >= self._n_window:
            self._follow()
        return self.last

    def note(self, said: float) -> None:
        """What a stamp says of the time of the sample that was placed last."""
        off = said - self.last
        if off <= self._sure_s:
            self._late.clear()
        if off < self._least[0]:
            self._next_least, self._least = self._least, (off, self._rows, said)
        elif off < self._next_least[0]:
            self._next_least = (off, self._rows, said)

    def _follow(self) -> None:
        off, row, said = self._next_least
        self._least = self._next_least = (float("inf"), 0, 0.0)
        self._n = 0
        delay = said - row * self._period
        grown = delay - self._points[-1][1] if self._points else off
        if off > self._sure_s and grown > 2.0 * self._sure_s:  # late, or missing: not yet known
            return
        self._points.append((row, delay))
        half = len(self._points) // 2
        if half:
            points = np.array(self._points)
            row, time = np.median(points[-half:], axis=0) - np.median(points[:half], axis=0)
            slope = float(time / (row * self._period))
            shrunk = slope * (1.0 - 1.0 / len(points) ** 2)  # a short span says little
            self._slope = min(max(shrunk, -_MOST_SLOPE), _MOST_SLOPE)
        # Quicker towards what is late: a source that is slow must not look like a gap.
        gain = 2.0 * _GAIN if off > 0 else _GAIN
        slew = min(max(gain * off / WINDOW_S, -_MOST_SLEW), 2.0 * _MOST_SLEW)
        self.step = self._period * (1.0 + self._slope + slew)
