"""In-memory twins: they behave as the engine expects of live ones."""

import numpy as np
import pytest

from emag_rt.errors import SettingsError, StreamError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import (
    Lost,
    ManualClock,
    MemoryMarkerSink,
    MemorySink,
    MemorySource,
    Silence,
    scripted_chunks,
)

FORMAT = StreamFormat("m", "EEG", "m-1", 100.0, ("A", "B"), ("uV", "uV"))


def test_chunks_come_in_order_and_move_the_clock():
    clock = ManualClock(1000.0)
    ramp = np.arange(50.0).reshape(25, 2)
    source = MemorySource(FORMAT, scripted_chunks(ramp, 100.0, 10), clock)
    pulled = [source.pull(0.5) for _ in range(3)]
    np.testing.assert_array_equal(np.concatenate([p[0] for p in pulled]), ramp)
    stamps = np.concatenate([p[1] for p in pulled])
    np.testing.assert_array_equal(stamps, 1000.0 + np.arange(25) / 100.0)
    assert clock() == stamps[-1]
    assert source.exhausted
    samples, stamps = source.pull(0.5)
    assert samples.shape == (0, 2)
    assert stamps.shape == (0,)
    assert clock() == pytest.approx(1000.24 + 0.5)


def test_silence_change_and_loss():
    changed = StreamFormat("m", "EEG", "m-1", 200.0, ("A", "C"), ("uV", "uV"))
    first, second = scripted_chunks(np.zeros((2, 2)), 100.0, 1)
    source = MemorySource(FORMAT, [first, Silence(), changed, second])
    source.append(Lost())
    assert len(source.pull(0.1)[1]) == 1
    assert len(source.pull(0.1)[1]) == 0
    assert source.current_format(1.0) is FORMAT
    assert len(source.pull(0.1)[1]) == 1
    assert source.current_format(1.0) is changed
    assert source.format is FORMAT
    with pytest.raises(StreamError, match="lost for good"):
        source.pull(0.1)


def test_closed_source_and_sink_refuse():
    source, sink = MemorySource(FORMAT, []), MemorySink()
    source.close()
    sink.close()
    with pytest.raises(StreamError, match="closed"):
        source.pull(0.0)
    with pytest.raises(StreamError, match="closed"):
        sink.push(np.zeros((1, 2), np.float32), np.zeros(1))


def test_sink_keeps_copies():
    sink, buffer = MemorySink(), np.ones((2, 2), np.float32)
    assert sink.samples.size == sink.timestamps.size == 0
    sink.push(buffer, np.array([1.0, 2.0]))
    buffer[:] = 0
    sink.push(buffer, np.array([3.0, 4.0]))
    np.testing.assert_array_equal(sink.samples[:, 0], [1, 1, 0, 0])
    np.testing.assert_array_equal(sink.timestamps, [1, 2, 3, 4])
    with pytest.raises(SettingsError, match="stamp"):
        sink.push(buffer, np.zeros(3))


def test_marker_sink_and_clock():
    markers, clock = MemoryMarkerSink(), ManualClock(5.0)
    clock.advance_to(4.0)
    markers.push("gap", clock())
    markers.close()
    assert markers.events == [("gap", 5.0)]
    assert markers.closed
    with pytest.raises(SettingsError):
        clock.advance(-1.0)
