"""The offset between two hosts' clocks, from measurements that a network makes noisy."""

from __future__ import annotations

import math
from collections import deque

# One host alone measures to this, in s.
_FLOOR_S = 2e-5
# Drift of a crystal against another, and how quickly it wanders (s/s, per root second).
_DRIFT = 2e-5
_WANDER = 2e-7
# Stamps of successive samples must grow and stay about a period apart, so a better estimate is
# approached by this many seconds a second.
_SLEW = 1e-3
_STEP_S = 0.05
_SURPRISES = 3


class ClockOffset:
    """Follows the offset from a remote clock to this host's, and its drift.

    A measurement is a round trip: its error is at most half of what it took beyond the quickest
    possible one. LSL's own correction takes over each measurement as it comes, so that on a busy
    network stamps jump by milliseconds every other second, which looks like lost and repeated
    samples. A Kalman filter with two states (offset, drift) weighs them by their round trips.

    Parameters
    ----------
    now_s : float
        Time of the first measurement on this host's clock, in s.
    offset_s : float
        What must be added to the remote clock, as first measured.
    round_trip_s : float
        What the measurement took.

    Notes
    -----
    Delays that always differ between there and back cannot be told from an offset by any means:
    half of their difference stays in the stamps.
    """

    def __init__(self, now_s: float, offset_s: float, round_trip_s: float) -> None:
        self._trips: deque[float] = deque(maxlen=150)
        self._begin(now_s, offset_s, round_trip_s)
        self._given, self._given_at = offset_s, now_s

    def _begin(self, now_s: float, offset_s: float, round_trip_s: float) -> None:
        self._trips.clear()
        self._trips.append(round_trip_s)
        self._at, self._offset, self._drift = now_s, offset_s, 0.0
        self._p = (self._variance(round_trip_s), 0.0, _DRIFT**2)
        self._surprises = 0

    def _variance(self, round_trip_s: float) -> float:
        """Of a measurement, in s²; the quickest possible trip is not known exactly either."""
        n, least = len(self._trips), min(self._trips)
        usual = (0.25 * least + sum(self._trips) - n * least) / (n + 1)
        beyond = round_trip_s - least + usual / math.sqrt(n)
        return _FLOOR_S**2 + beyond**2 / 12.0

    def observe(self, now_s: float, offset_s: float, round_trip_s: float) -> None:
        """Take in a measurement; parameters as for the class."""
        self._trips.append(round_trip_s)
        self._predict(now_s)
        p00, p01, p11 = self._p
        variance = self._variance(round_trip_s)
        surprise = offset_s - self._offset
        total = p00 + variance
        if abs(surprise) > 5.0 * math.sqrt(total) and abs(surprise) > 0.5 * round_trip_s:
            # Noise cannot explain it. Once is chance; thrice, the other clock was set.
            self._surprises += 1
            if self._surprises >= _SURPRISES or abs(surprise) > 1.0:
                self._begin(now_s, offset_s, round_trip_s)
            return
        self._surprises = 0
        gain0, gain1 = p00 / total, p01 / total
        self._offset += gain0 * surprise
        self._drift += gain1 * surprise
        self._p = ((1.0 - gain0) * p00, (1.0 - gain0) * p01, p11 - gain1 * p01)

    def at(self, now_s: float) -> float:
        """Offset to add to stamps that come now, in s; it never jumps for a better estimate."""
        target = self._offset + self._drift * (now_s - self._at)
        room = _SLEW * max(0.0, now_s - self._given_at)
        self._given_at = now_s
        change = target - self._given
        if abs(change) < _STEP_S:
            change = max(-room, min(room, change))
        self._given += change
        return self._given

    def _predict(self, now_s: float) -> None:
        dt = max(0.0, now_s - self._at)
        p00, p01, p11 = self._p
        q = _WANDER**2
        self._offset += self._drift * dt
        self._p = (
            p00 + 2 * dt * p01 + dt * dt * p11 + q * dt**3 / 3,
            p01 + dt * p11 + q * dt * dt / 2,
            p11 + q * dt,
        )
        self._at = now_s
