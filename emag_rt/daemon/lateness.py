"""Which samples come too late to be worth rendering."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.daemon.settings import LatencySettings

_WINDOW_S = 10.0


class Lateness:
    """Judges age against the age the stream usually has.

    A source's stamps may be off by a constant (an amplifier that does not subtract its own
    lag, a clock that is not synchronised), so the smallest age of the last 10 to 20 s counts
    as on time.

    Parameters
    ----------
    settings : LatencySettings
        Budget and policy.
    """

    def __init__(self, settings: LatencySettings) -> None:
        self._budget_s = settings.budget_s
        self.reset()

    def reset(self) -> None:
        """Forget what is usual, as when the source's clock has jumped."""
        self._recent = self._before = float("inf")
        self._since: float | None = None

    @property
    def usual_s(self) -> float:
        """Age of the newest sample when nothing is late, in s."""
        return min(self._recent, self._before)

    def observe(self, now: float, newest_age_s: float) -> None:
        """Note the age of the newest sample there is.

        Not that of a sample with others waiting behind it: to a daemon that cannot keep up, its
        own backlog would become the usual thing, and be carried along for ever.
        """
        if self._since is None or now - self._since > _WINDOW_S:
            self._before = self._recent
            self._recent = float("inf")
            self._since = now
        self._recent = min(self._recent, newest_age_s)

    def count(self, now: float, stamps: FloatArray) -> int:
        """Number of samples, from the oldest on, that are beyond the budget."""
        deadline = now - self.usual_s - self._budget_s
        if stamps.item(0) >= deadline:
            return 0
        return int(np.searchsorted(stamps, deadline))
