"""Whether samples come: state, silence and heartbeat."""

from __future__ import annotations

import math

from emag_rt.daemon.events import Event
from emag_rt.daemon.status.counters import State

# A source that was restarted leaves a gap and is silent for about a second before liblsl has
# it back, which may be too short to count as stale.
_RESTART_S = 0.5


class Presence:
    """What is known of the source from its samples alone.

    Parameters
    ----------
    now : float
        Time in s.
    stale_s : float
        A longer silence is told.

    Attributes
    ----------
    state : State
        Whether samples flow.
    newest_stamp : float or None
        Of the newest sample; may be no number.
    """

    def __init__(self, now: float, stale_s: float) -> None:
        self.state: State = "waiting"
        self.newest_stamp: float | None = None
        self._stale_s = stale_s
        self._last_arrival = self._last_idle = now
        self._waited_s = 0.0

    @property
    def heartbeat(self) -> float:
        """When the loop last turned, in s."""
        return max(self._last_arrival, self._last_idle)

    def told_stamp(self) -> float | None:
        """The newest stamp, if it is a number."""
        stamp = self.newest_stamp
        return stamp if stamp is not None and math.isfinite(stamp) else None

    def arrived(self, now: float, newest_stamp: float) -> bool:
        """Note samples; whether the source may have been restarted since the last ones."""
        silent_s = now - self._last_arrival
        self._last_arrival = now
        self._waited_s = 0.0
        self.newest_stamp = newest_stamp
        return silent_s > _RESTART_S

    def waited(self, now: float, at_least_s: float) -> bool:
        """Whether nothing has come for so long, while it was waited for."""
        return now - self._last_arrival >= at_least_s and self._waited_s >= 0.5 * at_least_s

    def recovered(self, now: float) -> Event:
        """The source is back after a silence that was told."""
        silent_s = now - self._last_arrival
        text = f"the source is back after {silent_s:.1f} s"
        return Event("recovered", {"silent_s": round(silent_s, 3)}, text)

    def nothing_came(self, now: float, waited_s: float) -> Event | None:
        """Note that ``waited_s`` went by without samples; what to tell of it."""
        # Time spent waiting, not time gone by: a daemon that was stopped or starved itself
        # would else call its source silent.
        self._last_idle = now
        self._waited_s += waited_s
        silent_s = now - self._last_arrival
        if (
            self.state != "running"
            or silent_s <= self._stale_s
            or self._waited_s <= 0.5 * self._stale_s
        ):
            return None
        self.state = "stale"
        text = f"no samples for {silent_s:.1f} s: the source is silent"
        return Event("silent", {"last_stamp": self.told_stamp()}, text)
