"""A daemon's events in words, and other programs' markers among them."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from typing import Any

from emag_rt.dashboard.outlet import clean

_MAX_CHARS = 300
_MAX_EVENTS = 100
# How details of events read; an empty text leaves one out.
_WORDS = {
    "channel": "{}",
    "channels": "{}",
    "labels": "{}",
    "reason": "{}",
    "policy": "policy {}",
    "samples": "{} samples",
    "filled": "{} filled",
    "silent_s": "after {} s",
    "step_s": "by {} s",
    "size_uv": "by {} µV",
    "duplicates": "{} repeated",
    "out_of_order": "{} out of order",
    "restamped": "{} given a time",
    "stamp": "",
    "last_stamp": "",
    "common": "",
    "level": "{} times the limit",
    "exchanged": "{} in each other's place",
    "untold": "{} more before",
    "seconds": "to {} s of LD",
    "percent": "rendered channels change by {} %",
    "power_db": "",
    "saved": "saved: {}",
    "goes_on": "goes on: {}",
}


class EventLog:
    """The newest hundred events.

    Attributes
    ----------
    count : int
        How many there were in all.
    """

    def __init__(self) -> None:
        self._events: deque[dict[str, str | float | None]] = deque(maxlen=_MAX_EVENTS)
        self.count = 0

    def add(self, kind: str, words: str, stamp: float) -> None:
        """Note an event that happened at ``stamp``, on the clock of the rows; NaN: not known."""
        self.count += 1
        self._events.append(
            {
                "at": time.strftime("%H:%M:%S"),
                "event": clean(kind),
                "details": clean(words, _MAX_CHARS),
                "stamp": stamp if math.isfinite(stamp) else None,
            }
        )

    def as_list(self) -> list[dict[str, str | float | None]]:
        """Them as JSON, the oldest first."""
        return list(self._events)


def stamp_of(event: dict[str, Any], told_at: float) -> float:
    """When an event happened; when it was told, where it does not say."""
    stamp = event.get("stamp", event.get("last_stamp"))
    return stamp if isinstance(stamp, float) else told_at


def read_event(text: str) -> tuple[str, dict[str, Any]]:
    """Kind and details of a marker; text that is no event of emag_rt is a kind of its own."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    event = found if isinstance(found, dict) else {"event": text}
    return str(event.pop("event", "?")), event


def details(event: dict[str, Any]) -> str:
    """Details in a line."""
    told = ((_WORDS.get(key, f"{key} {{}}"), value) for key, value in event.items())
    return clean(
        ", ".join(words.replace("{}", _plain(v)) for words, v in told if words), _MAX_CHARS
    )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(x) for x in value[:20])
    return f"{value:.6g}" if isinstance(value, float) else str(value)
