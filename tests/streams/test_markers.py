"""Marker streams and streams by one word, over LSL."""

from __future__ import annotations

import numpy as np
import pylsl
import pytest

from emag_rt.cli.simulate import Signal, _with_markers
from emag_rt.errors import StreamAmbiguous, StreamNotFound
from emag_rt.streams.lsl import (
    LslMarkerReader,
    LslMarkerSink,
    LslSink,
    OutletSpec,
    channel_fields,
    find_stream,
    local_clock,
)
from emag_rt.streams.lsl.library import Inlet, resolve
from emag_rt.streams.named import NamedStream

pytestmark = pytest.mark.lsl


def test_markers_of_all_streams_or_of_some(unique_id, wait_until):
    everything = LslMarkerReader()
    one = LslMarkerReader([f"b-{unique_id}"])
    ours = LslMarkerSink(f"serve-{unique_id}", f"{unique_id}:markers")
    tasks = [LslMarkerSink(f"{name}-{unique_id}", f"{name}{unique_id}") for name in "ab"]

    def found():
        everything.look()
        one.look()
        return len(everything.streams) == 2 and one.streams

    wait_until(found, 10.0)
    now = local_clock()
    ours.push("not meant", now)
    tasks[1].push("späť", now + 1.0)
    tasks[0].push("first", now)
    heard = []
    wait_until(lambda: heard.extend(everything.pull()) or len(heard) == 2, 10.0)
    assert [(m.stamp, m.text) for m in sorted(heard, key=lambda m: m.stamp)] == [
        *((now, "first"), (now + 1.0, "späť"))
    ], "with the very stamps they were sent with"
    assert [m.stream for m in wait_until(one.pull, 10.0)] == [f"b-{unique_id}"]
    everything.close()
    one.close()


def test_a_stream_is_found_by_its_id_or_its_name(unique_id):
    spec = OutletSpec(f"name {unique_id}", unique_id, ("Fz", "Cz"), 100.0)
    sinks = [LslSink(spec)]
    for word in (unique_id, f"name {unique_id}"):
        found = find_stream(NamedStream(word), 10.0)
        assert found.format.source_id == unique_id
    fields = channel_fields(found, ("label", "type", "location/X"))
    assert fields[1] == {"label": "Cz", "type": "EEG", "location/X": ""}
    sinks.append(LslSink(OutletSpec(f"name {unique_id}", f"other-{unique_id}", ("Fz",), 100.0)))
    with pytest.raises(StreamAmbiguous, match="must have source id or name 'name"):
        find_stream(NamedStream(f"name {unique_id}"), 10.0)
    with pytest.raises(StreamNotFound, match="source id or name \"it's nowhere"):
        find_stream(NamedStream("it's nowhere"), 0.1)
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize("pull", ["take_all", "pull_texts", "pull_text"])
def test_text_of_any_encoding_is_read(unique_id, wait_until, pull):
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo("m", "Markers", 2, 0, "string", unique_id))
    inlet = Inlet(resolve(f"source_id='{unique_id}'", 10.0)[0], "markers")
    inlet.open_stream(10.0)
    outlet.push_sample(["K\u00e4se".encode("latin-1"), "µ"], 5.0)
    if pull == "pull_text":
        assert inlet.pull_text(10.0) == ("K�se", 5.0)
        assert inlet.pull_text(0.0) is None
        return
    values, *more = wait_until(lambda: [x for x in getattr(inlet, pull)() if len(x)], 10.0)
    if pull == "take_all":
        assert values == [["K�se", "µ"]]
        assert more[0].tolist() == [5.0]
    else:
        assert values == ("K�se;µ", 5.0)


def test_what_simulate_plays_is_heard_by_live_recordings(unique_id, wait_until):
    samples = LslSink(OutletSpec(f"amp-{unique_id}", unique_id, ("Fz",), 100.0))
    signal = Signal(("Fz",), 100.0, None, (0, 0, 0), "", 100, None, ((0.5, "left"),))
    player, reader = _with_markers(samples, signal), LslMarkerReader()
    wait_until(lambda: reader.look() or reader.streams, 10.0)
    now = local_clock()
    player.push(np.zeros((100, 1), np.float32), now + np.arange(100) / 100.0)
    (marker,) = wait_until(reader.pull, 10.0)
    assert (marker.text, marker.stream) == ("left", f"amp-{unique_id}-markers")
    assert abs(marker.stamp - now - 0.5) < 1e-6
    reader.close()
    player.close()
