"""Telling events: a line for people first, then the marker."""

from __future__ import annotations

import json
import logging

from emag_rt.daemon.events import Event, Teller
from emag_rt.streams.memory import ManualClock, MemoryMarkerSink


def test_a_line_then_a_marker_with_the_time_of_telling(caplog):
    markers = MemoryMarkerSink()
    teller = Teller(ManualClock(12.5), markers)
    with caplog.at_level(logging.INFO):
        teller.tell(Event("gap", {"samples": 3}, "gap of 5 %s"))
        teller.tell(Event("stopped"))
    assert [r.getMessage() for r in caplog.records] == [
        "gap of 5 %s",
        'event {"event": "gap", "samples": 3}',
        'event {"event": "stopped"}',
    ]
    assert [r.levelno for r in caplog.records] == [logging.WARNING, logging.INFO, logging.INFO]
    (text, stamp), (last, _) = markers.events
    assert (json.loads(text), stamp) == ({"event": "gap", "samples": 3}, 12.5)
    assert json.loads(last) == {"event": "stopped"}


def test_without_markers_the_log_has_it_all(caplog):
    with caplog.at_level(logging.INFO):
        Teller(ManualClock()).tell(Event("stopped"))
    assert caplog.messages == ['event {"event": "stopped"}']
