"""What changed in the LD channels: jumps, good and bad channels, too many bad ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from emag_rt.daemon.events import Event
from emag_rt.daemon.status.counters import Counters
from emag_rt.engine.upsampler import Upsampler
from emag_rt.frontend import Jump

_MOST_JUMPS = 10
"""Jumps told at once; after that one a second: a signal of a wrong scale jumps all the time."""


class ChannelWatch:
    """Compares an upsampler's channels with what was told of them.

    Parameters
    ----------
    upsampler : Upsampler
        Asked after every chunk.
    clock : callable
        Seconds.
    """

    def __init__(self, upsampler: Upsampler, clock: Callable[[], float] = time.monotonic) -> None:
        self._upsampler = upsampler
        self._clock = clock
        self._may_tell, self._since, self._untold = float(_MOST_JUMPS), clock(), 0
        self._bad: tuple[str, ...] = ()
        self._unrenderable = False

    @property
    def bad(self) -> tuple[str, ...]:
        """LD channels that are bad now, and filled from the others."""
        return self._upsampler.bad

    @property
    def reasons(self) -> dict[str, str]:
        """Why each of them is bad."""
        return self._upsampler.bad_reasons

    @property
    def lacking(self) -> bool:
        """Whether too many are bad to render."""
        return self._upsampler.lacking

    def count(self, counters: Counters) -> None:
        """Put what the upsampler has counted into the counters."""
        counters.unrenderable = self._upsampler.unrenderable
        counters.steps = self._upsampler.n_jumps

    def news(self) -> tuple[Event, ...] | list[Event]:
        """Events since the last call; most chunks bring none."""
        upsampler = self._upsampler
        bad, jumps = upsampler.bad, upsampler.take_jumps()
        if not jumps and bad == self._bad:
            return ()
        events = self._jumps(jumps) if jumps else []
        if bad != self._bad:
            events += self._changes(bad)
        return events

    def _jumps(self, jumps: Sequence[Jump]) -> list[Event]:
        """Jumps to tell; all of them are counted."""
        now = self._clock()
        self._may_tell = min(_MOST_JUMPS, self._may_tell + now - self._since)
        self._since = now
        told = jumps[: int(self._may_tell)]
        self._may_tell -= len(told)
        before = self._untold
        self._untold = len(jumps) - len(told) + (0 if told else before)
        return [_jumped(jump, before if i == 0 else 0) for i, jump in enumerate(told)]

    def _changes(self, bad: tuple[str, ...]) -> list[Event]:
        reasons = self._upsampler.bad_reasons
        events = [
            Event(
                "bad_channel",
                {"channel": label, "reason": reasons[label]},
                f"channel {label} is bad ({reasons[label]}): filled from the others",
            )
            for label in bad
            if label not in self._bad
        ]
        events += [
            Event("good_channel", {"channel": label}, f"channel {label} is good again")
            for label in self._bad
            if label not in bad
        ]
        self._bad = bad
        if self._upsampler.lacking != self._unrenderable:
            self._unrenderable = self._upsampler.lacking
            events.append(self._enough_or_not(bad))
        return events

    def _enough_or_not(self, bad: tuple[str, ...]) -> Event:
        channels, policy = list(bad), self._upsampler.too_many_bad
        if not self._unrenderable:
            text = "enough LD channels are good again"
            return Event("enough_good", {"channels": channels}, text)
        text = f"{len(bad)} LD channels are bad, too many to render: {policy}"
        return Event("too_many_bad", {"channels": channels, "policy": policy}, text, logging.ERROR)


def _jumped(jump: Jump, untold: int) -> Event:
    what = "the reference" if jump.common else f"channel {', '.join(jump.channels)}"
    return Event(
        "step",
        {
            "channels": list(jump.channels),
            "size_uv": round(jump.size_uv, 1),
            "common": jump.common,
            **({"untold": untold} if untold else {}),
        },
        f"{what} jumped by {jump.size_uv / 1e3:.1f} mV: taken out"
        + (f" ({untold} jumps before it were not told)" if untold else ""),
    )
