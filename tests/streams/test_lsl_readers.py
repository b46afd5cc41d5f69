"""What receivers of our own outlets lean on: descriptions, events, and an end that is heard."""

from __future__ import annotations

import numpy as np
import pytest

from emag_rt.errors import StreamError, StreamNotFound
from emag_rt.streams.lsl import (
    LslMarkerSink,
    LslMarkerSource,
    LslSink,
    LslSource,
    OutletSpec,
    StreamQuery,
    find_stream,
)
from emag_rt.streams.metadata import description

pytestmark = pytest.mark.lsl


def test_a_description_is_read_as_it_was_published_and_the_end_is_heard(unique_id, wait_until):
    spec = OutletSpec(
        "described",
        unique_id,
        ("A", "B"),
        100.0,
        positions_mm=np.array([[1.0, 2, 3], [np.nan] * 3]),
        channel_origin=("measured", "rendered"),
        highpass=0.5,
        vendor={"note": "a < b & 'c'", "labels": "Ä,µ"},
    )
    sink = LslSink(spec)
    source = LslSource(find_stream(StreamQuery(source_id=unique_id), 10), recover=False)
    assert source.description() == description(spec)
    sink.push(np.ones((1, 2), np.float32), np.array([1.0]))
    wait_until(lambda: len(source.pull(0.1)[1]), 30, "a sample")
    sink.close()

    def lost():
        try:
            source.pull(0.1)
        except StreamError:
            return True
        return False

    wait_until(lost, 20, "the end")
    source.close()
    assert source.description() == ()


def test_events_arrive_with_their_stamps_and_the_end_is_heard(unique_id, wait_until):
    sink = LslMarkerSink("events", unique_id)
    source = LslMarkerSource(StreamQuery(source_id=unique_id), 10)
    assert source.pull(0.0) is None
    sink.push('{"event": "gap µ"}', 12.5)
    assert wait_until(lambda: source.pull(0.1), 30, "an event") == ('{"event": "gap µ"}', 12.5)
    sink.close()

    def lost():
        try:
            source.pull(0.1)
        except StreamError:
            return True
        return False

    wait_until(lost, 20, "the end")
    source.close()
    with pytest.raises(StreamError, match="closed"):
        source.pull(0.0)


def test_numeric_streams_are_no_events(unique_id):
    sink = LslSink(OutletSpec("numbers", unique_id, ("A",), 10.0))
    with pytest.raises(StreamNotFound):
        LslMarkerSource(StreamQuery(source_id=unique_id), 0.5)
    with pytest.raises(StreamNotFound):
        LslMarkerSource(StreamQuery(source_id=unique_id), 60, stop=lambda: True)
    sink.close()
