"""A daemon's events in words."""

from __future__ import annotations

import json
from typing import Any

from emag_rt.dashboard.outlet import clean

_MAX_CHARS = 300
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
}


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
