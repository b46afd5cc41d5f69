"""LSL between real processes, and within one where that proves the same."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pylsl
import pytest

from emag_rt.errors import SettingsError, StreamAmbiguous, StreamError, StreamNotFound
from emag_rt.streams.lsl import (
    LslMarkerSink,
    LslSink,
    LslSource,
    OutletSpec,
    StreamQuery,
    find_stream,
    list_streams,
    local_clock,
)

pytestmark = pytest.mark.lsl
AMPLIFIER = Path(__file__).with_name("amplifier.py")


@pytest.fixture
def amplifier(spawn, unique_id):
    def start(labels="A,B,C", sfreq=200, fmt="float32", n=400, source_id=unique_id):
        child = spawn(AMPLIFIER, "amp", source_id, labels, sfreq, fmt, n)
        child.wait_for("up")
        return child

    return start


def sink_of(unique_id, name="sink", labels=("A", "B"), sfreq=100.0, **values):
    return LslSink(OutletSpec(name, unique_id, labels, sfreq, **values))


def collect(source, n, deadline_s=20.0):
    """Pull ``n`` samples."""
    samples, stamps, end = [], [], time.monotonic() + deadline_s
    while sum(map(len, stamps)) < n and time.monotonic() < end:
        values, times = source.pull(0.2)
        samples.append(values.copy())
        stamps.append(times.copy())
    return np.concatenate(samples), np.concatenate(stamps)


def test_every_sample_once_with_the_stamp_of_its_source(amplifier, unique_id):
    child = amplifier(n=300)
    begin = time.monotonic()
    source = LslSource.open(StreamQuery(source_id=unique_id), 10.0)
    assert time.monotonic() - begin < 5.0  # 1 s on an idle machine
    fmt_seen = source.format
    assert fmt_seen.labels == ("A", "B", "C")
    assert fmt_seen.units == ("microvolts",) * 3
    assert (fmt_seen.sfreq, fmt_seen.channel_format) == (200.0, "float32")
    assert (fmt_seen.reference, fmt_seen.compensated_lag_s) == ("CMS", 0.004)
    assert source.same_clock
    assert abs(source.clock_correction_s) < 1e-3
    samples, stamps = collect(source, 300)
    start = float(child.wait_for("start").split()[1])
    expected = np.arange(300)[:, None] + 1000.0 * np.arange(3)
    np.testing.assert_array_equal(samples, expected)
    assert samples.dtype == np.float32
    # bit for bit, not nearly
    np.testing.assert_array_equal(stamps, [start + k / 200.0 for k in range(300)])
    source.close()
    with pytest.raises(StreamError, match="closed"):
        source.pull(0.0)


@pytest.mark.parametrize("fmt", ["int16", "int32", "double64"])
def test_other_formats_become_float64(unique_id, fmt):
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo("amp", "EEG", 2, 100.0, fmt, unique_id))
    source = LslSource.open(StreamQuery(source_id=unique_id), 10.0)
    assert source.format.channel_format == fmt
    assert (source.format.labels, source.format.n_channels) == ((), 2)
    assert outlet.wait_for_consumers(10.0)
    values = np.arange(-6, 6).reshape(6, 2) * 1000
    stamps = local_clock() + np.arange(6) / 100.0
    outlet.push_chunk(values, list(stamps))
    samples, times = collect(source, 6)
    assert samples.dtype == np.float64
    np.testing.assert_array_equal(samples, values)
    np.testing.assert_array_equal(times, stamps)


def test_a_killed_source_comes_back_with_its_id_and_changes_are_seen(amplifier, unique_id):
    child = amplifier(n=100_000)
    source = LslSource.open(StreamQuery(source_id=unique_id), 10.0)
    collect(source, 20)
    assert source.current_format(2.0) == source.format
    os.kill(child.process.pid, signal.SIGKILL)
    child.finish()
    while len(source.pull(0.3)[1]):
        pass
    with pytest.raises(StreamNotFound):
        source.current_format(1.0)
    amplifier(labels="A,B,X", sfreq=100, n=100_000)
    samples, stamps = collect(source, 10)
    np.testing.assert_array_equal(samples[:10, 0], np.arange(10))
    assert np.all(np.diff(stamps) > 0)
    now = source.current_format(5.0)
    assert (now.labels, now.sfreq) == (("A", "B", "X"), 100.0)
    assert now.uid != source.format.uid
    assert source.format.labels == ("A", "B", "C")


def test_another_channel_count_is_seen_though_liblsl_never_recovers_it(amplifier, unique_id):
    child = amplifier(n=100_000)
    source = LslSource.open(StreamQuery(source_id=unique_id), 10.0)
    collect(source, 5)
    child.kill()
    amplifier(labels="A,B", n=100_000)
    assert source.current_format(5.0).labels == ("A", "B")


def test_ambiguity_lists_the_candidates(unique_id):
    name = f"twin-{unique_id}"
    sinks = [sink_of(f"{unique_id}-{i}", name) for i in range(2)]
    with pytest.raises(StreamAmbiguous) as caught:
        LslSource.open(StreamQuery(name=name), 30.0)
    assert not any(sink.wait_for_consumers(0.0) for sink in sinks)
    with pytest.raises(StreamAmbiguous):
        find_stream(StreamQuery(name=name), 30.0)
    for i in range(2):
        assert f"{unique_id}-{i}" in str(caught.value)
    one = find_stream(StreamQuery(source_id=f"{unique_id}-1", name=name, type="EEG"), 30.0)
    assert one.format.source_id == f"{unique_id}-1"
    other = find_stream(StreamQuery(name=name), 30.0, ignore_source_ids=[f"{unique_id}-1"])
    assert other.format.source_id == f"{unique_id}-0"
    for sink in sinks:
        sink.close()


def test_all_properties_must_match_and_markers_never_do(unique_id):
    sink = sink_of(unique_id, "eeg")
    markers = LslMarkerSink("eeg", f"{unique_id}-m")
    assert find_stream(StreamQuery(name="eeg"), 30.0).format.source_id == unique_id
    with pytest.raises(StreamNotFound) as caught:
        find_stream(StreamQuery(source_id=unique_id, type="EMG"), 0.2)
    assert unique_id in str(caught.value)  # what is there is listed
    with pytest.raises(StreamNotFound):
        find_stream(StreamQuery(source_id=f"{unique_id}-m"), 0.2)
    assert {s.source_id for s in list_streams(0.5)} >= {unique_id, f"{unique_id}-m"}
    markers.close()
    sink.close()


def test_waiting_can_be_stopped(unique_id):
    begin = time.monotonic()
    with pytest.raises(StreamNotFound):
        find_stream(StreamQuery(source_id=unique_id), float("inf"), stop=lambda: True)
    assert time.monotonic() - begin < 5.0


def test_sink_keeps_vectors_of_stamps_and_checks_shapes(unique_id):
    sink = sink_of(unique_id, reference={"label": "avg"}, compensated_lag_s=0.01)
    source = LslSource.open(StreamQuery(source_id=unique_id), 10.0)
    assert sink.wait_for_consumers(10.0)
    assert (source.format.reference, source.format.compensated_lag_s) == ("avg", 0.01)
    values = np.arange(20.0).reshape(10, 2)
    stamps = local_clock() + np.sort(np.random.default_rng(0).random(10))
    sink.push(np.asfortranarray(values), stamps)  # any layout and float type
    sink.push(np.zeros((0, 2), np.float32), np.zeros(0))
    samples, times = collect(source, 10)
    np.testing.assert_array_equal(samples, values)
    np.testing.assert_array_equal(times, stamps)
    for bad in (np.zeros((3, 3), np.float32), np.zeros((2, 2), np.float32)):
        with pytest.raises(SettingsError, match="shape"):
            sink.push(bad, np.zeros(3))
    sink.close()
    with pytest.raises(StreamError, match="closed"):
        sink.push(np.zeros((1, 2), np.float32), np.ones(1))


def test_backlog_is_handed_over_in_bounded_pieces(unique_id):
    sink = sink_of(unique_id, sfreq=50.0)
    source = LslSource.open(StreamQuery(source_id=unique_id), 10.0)
    assert sink.wait_for_consumers(10.0)
    ramp = np.repeat(np.arange(500.0, dtype=np.float32)[:, None], 2, axis=1)
    stamps = local_clock() + np.arange(500) / 50.0
    sink.push(ramp, stamps)
    end = time.monotonic() + 10.0
    while source.samples_available() < 500 and time.monotonic() < end:
        pass
    first, _ = source.pull(1.0)
    assert len(first) == 64
    first = first.copy()
    rest, times = collect(source, 436)
    np.testing.assert_array_equal(np.concatenate([first, rest]), ramp)
    np.testing.assert_array_equal(times, stamps[64:])


def test_a_source_without_id_is_lost_with_our_error(spawn):
    name = f"no-id-{time.time_ns()}"
    child = spawn(AMPLIFIER, name, "", "A", 100, "float32", 100_000)
    child.wait_for("up")
    source = LslSource.open(StreamQuery(name=name), 10.0)
    collect(source, 5)
    child.kill()
    with pytest.raises(StreamError, match="lost for good"):
        collect(source, 10**6, deadline_s=10.0)


def test_marker_and_status_streams(unique_id):
    markers = LslMarkerSink("events", unique_id)
    status = sink_of(f"{unique_id}-q", "status", ("gaps", "age_s"), 0.0, type="Quality", units="")
    info = pylsl.resolve_byprop("source_id", unique_id, timeout=30.0)[0]
    assert (info.type(), info.nominal_srate()) == ("Markers", 0.0)
    inlet = pylsl.StreamInlet(info)
    inlet.open_stream(5.0)
    markers.push("gap 0.5 s", 123.25)
    assert inlet.pull_sample(5.0) == (["gap 0.5 s"], 123.25)
    source = LslSource.open(StreamQuery(source_id=f"{unique_id}-q"), 30.0)
    assert source.format.labels == ("gaps", "age_s")
    assert status.wait_for_consumers(5.0)
    status.push(np.array([[3, 0.25]], np.float32), np.array([local_clock()]))
    np.testing.assert_array_equal(source.pull(5.0)[0], [[3, 0.25]])
    markers.close()
    status.close()


def test_what_is_sent_just_before_an_outlet_closes_arrives(unique_id):
    """Destroyed at once, liblsl lost most of it, and now and then the process with it."""
    sinks, sources, n = [], [], 3000
    labels = tuple(f"c{i}" for i in range(64))
    for k in range(4):
        sinks.append(sink_of(f"{unique_id}-{k}", labels=labels, sfreq=3000.0))
        sources.append(LslSource.open(StreamQuery(source_id=f"{unique_id}-{k}"), 10.0))
    for sink, source in zip(sinks, sources, strict=True):
        assert sink.wait_for_consumers(10.0)
        sink.push(np.zeros((n, 64), np.float32), 5.0 + np.arange(n) / 3000.0)
        sink.close()
        assert sum(len(source.pull(0.2)[1]) for _ in range(5)) == n
        source.close()
    unheard = sink_of(f"{unique_id}-nobody")
    unheard.push(np.zeros((1, 2), np.float32), np.array([1.0]))
    begin = time.monotonic()
    unheard.close()
    assert time.monotonic() - begin < 0.25  # nobody is there to wait for


def described(source_id, n, labels, tag="label", reference=()):
    """An outlet as somebody else would write it."""
    info = pylsl.StreamInfo("amp", "EEG", n, 100.0, "float32", source_id)
    channels = info.desc().append_child("channels")
    for label in labels:
        channels.append_child("channel").append_child_value(tag, label)
    if reference:
        node = info.desc().append_child("reference")
        for name, text in reference:
            node.append_child_value(name, text)
    return pylsl.StreamOutlet(info)


def test_labels_may_stand_under_name_and_some_may_be_lacking(unique_id):
    keep = [
        described(f"{unique_id}-a", 3, ("Pz", "Cz", "Fz"), "name", (("label", "average"),)),
        described(f"{unique_id}-b", 3, ("Pz", "Cz")),
    ]
    formats = []
    for suffix in "ab":
        source = LslSource.open(StreamQuery(source_id=f"{unique_id}-{suffix}"), 10.0)
        formats.append(source.format)
        source.close()
    assert formats[0].labels == ("Pz", "Cz", "Fz")
    assert formats[0].reference == "average"
    assert (formats[1].labels, formats[1].described) == ((), ("Pz", "Cz"))
    assert len(keep) == 2
