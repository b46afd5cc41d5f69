"""Which samples come too late, and what is said of them."""

from __future__ import annotations

import math

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.daemon.events import Event
from emag_rt.daemon.settings import LatencySettings

_WINDOW_S = 10.0
# A log on a slow disk must not make it later yet.
_LOG_EVERY_S = 1.0


class UsualAge:
    """The smallest age of the last 10 to 20 s: what a stream has when nothing is late.

    A source's stamps may be off by a constant: an amplifier that does not subtract its own
    lag, a clock that is not synchronised.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what is usual, as when the source's clock has jumped."""
        self._recent = self._before = math.inf
        self._since: float | None = None

    @property
    def usual_s(self) -> float:
        """Age of the newest sample when nothing is late, in s; infinite before the first."""
        return min(self._recent, self._before)

    def observe(self, now: float, newest_age_s: float) -> None:
        """Note the age of the newest sample there is.

        Not that of a sample with others waiting behind it: to a daemon that cannot keep up, its
        own backlog would become the usual thing, and be carried along for ever.
        """
        if self._since is None or now - self._since > _WINDOW_S:
            self._before = self._recent
            self._recent = math.inf
            self._since = now
        self._recent = min(self._recent, newest_age_s)

    def latest(self, now: float) -> float:
        """No sample that has arrived by now can have been captured after this time."""
        usual_s = self.usual_s
        return now - usual_s if math.isfinite(usual_s) else math.inf


class Lateness(UsualAge):
    """Judges age against the age the stream usually has; by the stamps that the time line gives.

    Parameters
    ----------
    settings : LatencySettings
        Budget and policy.

    Attributes
    ----------
    catches_up : bool
        Whether late samples are rendered all the same.
    """

    def __init__(self, settings: LatencySettings) -> None:
        self._budget_s = settings.budget_s
        self.catches_up = settings.policy == "catch_up"
        self._n_untold = 0
        self._logged = -math.inf
        super().__init__()

    def count(self, now: float, stamps: FloatArray) -> int:
        """Number of samples, from the oldest on, that are beyond the budget."""
        deadline = now - min(self._recent, self._before) - self._budget_s
        if stamps.item(0) >= deadline:
            return 0
        return int(np.searchsorted(stamps, deadline))

    def event(self, now: float, stamp: float, n_late: int) -> Event:
        """What to tell of ``n_late`` samples from ``stamp`` on; into the log once a second."""
        self._n_untold += n_late
        text = ""
        if now - self._logged >= _LOG_EVERY_S:
            what = "rendered" if self.catches_up else "skipped"
            text = f"{self._n_untold} samples came beyond the latency budget: {what}"
            self._n_untold, self._logged = 0, now
        name = "overdue" if self.catches_up else "skipped"
        return Event(name, {"stamp": stamp, "samples": n_late}, text)
