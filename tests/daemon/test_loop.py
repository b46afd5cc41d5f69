"""The serving loop on scripted streams and a clock that moves only when told: no waiting."""

import gc
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import ServeSettings
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import StreamError, StreamMismatch, StreamNotFound
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import (
    Chunk,
    Lost,
    ManualClock,
    MemoryMarkerSink,
    MemorySink,
    MemorySource,
    Silence,
    scripted_chunks,
)
from tests.factories import LD, ld_signal, make_bundle, relative

SFREQ = 200.0
AMP = StreamFormat("Amp", "EEG", "amp-1", SFREQ, LD, ("microvolts",) * len(LD))
LONG = [Silence()] * 6  # 1.2 s at the loop's own time-out: stale


class Bench:
    """A server with everything around it in memory."""

    def __init__(self, events, *, bundle=None, options=None, **sections):
        self.clock = ManualClock(1000.0)
        self.source = MemorySource(AMP, events, self.clock)
        self.sink, self.markers, self.reports = MemorySink(), MemoryMarkerSink(), []
        self.upsampler = Upsampler(bundle or make_bundle(1), engine="packed", **(options or {}))
        self.server = Server(
            self.upsampler,
            self.source,
            self.sink,
            self.clock,
            ServeSettings.model_validate(sections),
            self.markers,
            self.reports.append,
        )

    def run(self, **limits):
        self.status = self.server.serve(lambda: self.source.exhausted, **limits)
        return self

    @property
    def counters(self):
        return self.server.counters

    def events(self, name=None):
        found = [json.loads(text) for text, _ in self.markers.events]
        return [e for e in found if name in (None, e["event"])]


def stamps_of(n, start_s=1000.0):
    return start_s + np.arange(n) / SFREQ


def offline(ld, bundle=None, **options):
    """The same samples through the object, in one piece."""
    upsampler = Upsampler(bundle or make_bundle(1), engine="packed", **options)
    hd, _ = upsampler.push(ld)
    return np.concatenate([hd, upsampler.flush()[0]])


def chunk(ld, keep, arrives_s=None):
    keep = np.asarray(keep)
    return Chunk(ld[keep], stamps_of(len(ld))[keep], arrives_s)


@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("hop", [0, 16])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_every_sample_once_in_order_with_its_stamp(look_ahead, hop, size):
    bundle, ld = make_bundle(2, look_ahead=look_ahead), ld_signal(300)
    options = {"hop": hop}
    bench = Bench(scripted_chunks(ld, SFREQ, size), bundle=bundle, options=options).run()
    np.testing.assert_array_equal(bench.sink.timestamps, stamps_of(300))
    assert relative(bench.sink.samples, offline(ld, bundle)) < 1e-5
    assert bench.counters.samples_in == bench.counters.samples_out == 300
    assert bench.status.state == "stopped"
    assert bench.events() == [{"event": "stopped"}]
    if not (look_ahead or hop):
        assert all(len(stamps) == size for _, stamps in bench.sink.chunks[:-1])
        assert bench.status.latency["latency_max_ms"] == pytest.approx((size - 1) * 5.0, abs=1e-3)


@pytest.mark.parametrize("policy", ["nan", "hold", "skip"])
@pytest.mark.parametrize("look_ahead", [0, 3])
def test_long_gaps_by_policy(policy, look_ahead):
    bundle, ld = make_bundle(3, look_ahead=look_ahead), ld_signal(200)
    before, after = np.arange(0, 80), np.arange(140, 200)
    script = [chunk(ld, before), chunk(ld, after)]
    bench = Bench(script, bundle=bundle, gaps={"policy": policy}).run()
    hd, stamps = bench.sink.samples, bench.sink.timestamps
    first, second = offline(ld[before], bundle), offline(ld[after], bundle)
    np.testing.assert_allclose(hd[:80], first, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(hd[-60:], second, rtol=1e-5, atol=1e-3)
    filled = hd[80:-60]
    if policy == "skip":
        assert len(filled) == 0
        expected = np.r_[before, after]
    else:
        assert len(filled) == 60
        expected = np.arange(200)
        wanted = np.nan if policy == "nan" else first[-1]
        np.testing.assert_allclose(filled, np.broadcast_to(wanted, filled.shape), rtol=1e-5)
    np.testing.assert_allclose(stamps, stamps_of(200)[expected], atol=1e-9)
    n_filled = 0 if policy == "skip" else 60
    assert (bench.counters.gaps, bench.counters.filled) == (1, n_filled)
    assert bench.counters.unfilled == 60 - n_filled
    assert bench.counters.samples_in == bench.counters.samples_out == 140
    (gap,) = bench.events("gap")
    assert (gap["samples"], gap["filled"]) == (60, n_filled)
    assert gap["stamp"] == pytest.approx(stamps_of(81)[80])


def test_filling_ends_at_its_limit():
    ld = ld_signal(1000)
    script = [chunk(ld, range(20)), chunk(ld, range(980, 1000))]
    bench = Bench(script, gaps={"max_fill_s": 0.5}).run()
    assert (bench.counters.filled, bench.counters.unfilled) == (100, 860)
    assert len(bench.sink.timestamps) == 140
    assert (np.diff(bench.sink.timestamps) > 0).all()


def test_short_gaps_are_bridged_and_marked():
    ld = ld_signal(100)
    bench = Bench([chunk(ld, range(50)), chunk(ld, range(54, 100))]).run()
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(100), atol=1e-9)
    bridged = ld.copy()
    share = np.arange(1, 5)[:, None] / 5
    bridged[50:54] = ld[49] + share * (ld[54] - ld[49])
    assert relative(bench.sink.samples, offline(bridged)) < 1e-5
    assert bench.counters.bridged == 4
    assert bench.counters.gaps == 0
    assert bench.events("bridged")[0]["samples"] == 4


def test_repeated_and_stuck_stamps_are_counted():
    ld = ld_signal(30)
    stuck = Chunk(ld[10:20], np.full(10, stamps_of(30)[9]))
    script = [chunk(ld, range(10)), chunk(ld, [9]), stuck, chunk(ld, range(20, 30))]
    bench = Bench(script).run()
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(30), atol=1e-9)
    assert relative(bench.sink.samples, offline(ld)) < 1e-5
    counters = bench.status.counters
    assert (counters.duplicates, counters.restamped) == (1, 10)
    assert (counters.samples_in, counters.samples_out) == (31, 30)


def test_silence_is_stale_then_recovered_on_the_same_outlet():
    ld = ld_signal(700)
    script = [chunk(ld, range(40)), *LONG, chunk(ld, range(600, 700))]
    bench = Bench(script)
    states = []
    for _ in range(len(script)):
        bench.server.turn(0.2)
        states.append(bench.server.state)
    assert states[:5] == ["running"] * 5
    assert states[-2:] == ["stale", "running"]
    bench.run()
    assert bench.counters.recovered == bench.counters.gaps == 1
    told = [e["event"] for e in bench.events()]
    assert told == ["silent", "recovered", "gap", "stopped"]
    assert bench.events("silent")[0]["last_stamp"] == pytest.approx(stamps_of(40)[-1])
    assert bench.events("recovered")[0]["silent_s"] == pytest.approx(3.3)
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(700), atol=1e-9)
    assert relative(bench.sink.samples[600:], offline(ld[600:])) < 1e-5


CHANGED = [
    replace(AMP, sfreq=250.0),
    replace(AMP, labels=("X", *LD[1:])),
    replace(AMP, units=("V",) * len(LD)),
    replace(AMP, channel_format="double64"),
]


@pytest.mark.parametrize("changed", CHANGED, ids=["rate", "labels", "units", "format"])
@pytest.mark.parametrize("silent_s", [0.8, 3.0])
def test_a_source_that_comes_back_as_another_is_refused(changed, silent_s):
    """Also when it was away for less time than it takes to be called silent."""
    ld = ld_signal(1000)
    n_lost = round(silent_s * SFREQ)
    away = [Silence()] * round(silent_s / 0.2)
    back = chunk(ld, range(20 + n_lost, 40 + n_lost))
    bench = Bench([chunk(ld, range(20)), *away, changed, back])
    with pytest.raises(StreamMismatch, match="must come back as it was"):
        bench.run()
    np.testing.assert_array_equal(bench.sink.timestamps, stamps_of(20))
    assert [e["event"] for e in bench.events()][-2:] == ["refused", "stopped"]
    assert bench.server.state == "stopped"
    account = bench.server.status().counters
    assert account.samples_in == account.samples_out + account.refused


def test_large_chunks_do_not_ask_the_source_again(monkeypatch):
    ld = ld_signal(600)
    bench = Bench(scripted_chunks(ld, SFREQ, 150))
    monkeypatch.setattr(bench.source, "current_format", lambda _: pytest.fail("asked"))
    bench.run()
    assert bench.counters.samples_out == 600


def test_a_source_lost_for_good_ends_with_all_that_is_owed():
    bundle, ld = make_bundle(4, look_ahead=3), ld_signal(50)
    bench = Bench([chunk(ld, range(50)), Lost("gone")], bundle=bundle)
    with pytest.raises(StreamError, match="gone"):
        bench.run()
    np.testing.assert_array_equal(bench.sink.timestamps, stamps_of(50))
    assert bench.events("stopped")


@pytest.mark.parametrize("gap_policy", ["nan", "hold"])
def test_late_samples_are_skipped_counted_and_marked(gap_policy):
    ld = ld_signal(800)
    on_time = [chunk(ld, range(i, i + 20)) for i in range(0, 100, 20)]
    backlog = chunk(ld, range(100, 700), stamps_of(800)[699])
    script = [*on_time, backlog, chunk(ld, range(700, 800))]
    bench = Bench(script, latency={"budget_s": 1.0}, gaps={"policy": gap_policy}).run()
    np.testing.assert_array_equal(bench.sink.timestamps, stamps_of(800))
    hd, whole = bench.sink.samples, offline(ld)
    # Of the backlog's 600 samples, those older than 1 s when it came.
    assert bench.counters.skipped == 399
    lost = np.arange(800)[(np.arange(800) >= 100) & (np.arange(800) < 499)]
    wanted = np.nan if gap_policy == "nan" else hd[99]
    np.testing.assert_array_equal(hd[lost], np.broadcast_to(wanted, (399, hd.shape[1])))
    kept = np.setdiff1d(np.arange(800), lost)
    np.testing.assert_allclose(hd[kept], whole[kept], rtol=1e-4, atol=1e-2)
    assert bench.counters.samples_out == 401
    assert bench.events("skipped")[0]["samples"] == 399
    # Skipped rows tell nothing of the latency of those rendered.
    assert bench.status.latency["latency_max_ms"] == pytest.approx(1000.0, abs=1.0)


def test_catch_up_renders_everything():
    ld = ld_signal(800)
    script = [chunk(ld, range(100)), chunk(ld, range(100, 800))]
    bench = Bench(script, latency={"policy": "catch_up", "budget_s": 0.1}).run()
    assert bench.counters.skipped == 0
    assert np.isfinite(bench.sink.samples).all()
    assert bench.status.latency["latency_max_ms"] == pytest.approx(3495.0, abs=1.0)


@pytest.mark.parametrize("step_s", [-800.0, 5000.0])
def test_clock_jumps_are_survived_at_once(step_s):
    """Ages on the new clock are the usual ones: nothing is late because the clock was set."""
    ld = ld_signal(2000)
    stamps = stamps_of(2000)
    jumped = stamps + step_s
    script = [Chunk(ld[i : i + 50], stamps[i : i + 50]) for i in range(0, 1000, 50)]
    script += [
        Chunk(ld[i : i + 50], jumped[i : i + 50], stamps[i + 49]) for i in range(1000, 2000, 50)
    ]
    bench = Bench(script).run()
    assert bench.counters.jumps == 1
    assert bench.counters.skipped == 0
    assert np.isfinite(bench.sink.samples).all()
    np.testing.assert_array_equal(bench.sink.timestamps, np.r_[stamps[:1000], jumped[1000:]])
    expected = np.concatenate([offline(ld[:1000]), offline(ld[1000:])])
    assert relative(bench.sink.samples, expected) < 1e-5
    assert bench.events("clock_jump")[0]["step_s"] == pytest.approx(step_s, abs=0.1)


def test_bad_channels_are_reported_when_they_change():
    ld = ld_signal(1400)
    ld[200:400, 3] = np.nan
    ld[300:, 5] = np.nan
    bench = Bench(scripted_chunks(ld, SFREQ, 20))
    bench.run()
    told = [(e["event"], e.get("channel")) for e in bench.events()]
    assert told == [
        ("bad_channel", "Cz"),
        ("bad_channel", "T8"),
        ("good_channel", "Cz"),
        ("stopped", None),
    ]
    assert bench.status.as_dict()["bad_channels"] == ["T8"]
    assert np.isfinite(bench.sink.samples).all()


def test_too_many_bad_channels_are_said_and_counted():
    ld = ld_signal(1600)
    ld[200:410, :5] = 1e30
    bench = Bench(scripted_chunks(ld, SFREQ, 20))
    states = []
    while not bench.source.exhausted:
        bench.server.turn(0.2)
        states.append(bench.server.status().too_many_bad)
    bench.run()
    assert states[9:11] == [False, True]
    assert states[-1] is False
    told = [e for e in bench.events() if e["event"] in ("too_many_bad", "enough_good")]
    assert told == [
        {"event": "too_many_bad", "channels": list(LD[:5]), "policy": "nan"},
        {"event": "enough_good", "channels": []},
    ]
    assert {e["reason"] for e in bench.events("bad_channel")} == {"no number, or railed"}
    lost = np.isnan(bench.sink.samples).any(axis=1)
    assert bench.status.as_dict()["unrenderable"] == lost.sum() == 900 - 200
    assert bench.counters.samples_in == bench.counters.samples_out == 1600


def test_jumps_are_said_once_and_counted():
    ld = ld_signal(1600)
    ld[300:] += 3e5
    ld[700:, 3] += np.cumsum(np.full(900, 5e3)) * (np.arange(900) < 50)
    bench = Bench(scripted_chunks(ld, SFREQ, 20)).run()
    steps = bench.events("step")
    assert [(e["common"], e["channels"]) for e in steps] == [(True, list(LD)), (False, ["Cz"])]
    assert steps[0]["size_uv"] == pytest.approx(3e5, rel=0.01)
    assert bench.status.as_dict()["steps"] == 1 + 51
    assert [e["reason"] for e in bench.events("bad_channel")] == ["jumped"]
    assert np.isfinite(bench.sink.samples).all()


def test_status_once_an_interval_and_numbers_that_add_up():
    ld = ld_signal(1000)
    bench = Bench([*scripted_chunks(ld, SFREQ, 20), Silence(), Silence()]).run()
    # 5 s of samples, then 0.4 s of silence: one report a second, none twice.
    assert len(bench.reports) == 5
    uptimes = [report.uptime_s for report in bench.reports]
    np.testing.assert_allclose(uptimes, np.arange(1, 6), atol=0.2)
    last = bench.status.as_dict()
    assert json.loads(json.dumps(last)) == last
    assert last["samples_in"] == last["samples_out"] == 1000
    assert last["engine"] == "packed"
    assert last["latency_p50_ms"] == pytest.approx(47.5, abs=0.1)
    assert last["latency_p99_ms"] == pytest.approx(95.0, abs=0.1)
    assert last["input_age_s"] == pytest.approx(0.4, abs=1e-3)


def test_render_time_is_without_publishing(monkeypatch):
    bench = Bench(scripted_chunks(ld_signal(20), SFREQ, 20))
    render, publish = bench.upsampler.push, bench.sink.push

    def slow_render(*chunk, **options):
        bench.clock.advance(0.004)
        return render(*chunk, **options)

    def slow_publish(*rows):
        bench.clock.advance(0.05)
        publish(*rows)

    monkeypatch.setattr(bench.upsampler, "push", slow_render)
    monkeypatch.setattr(bench.sink, "push", slow_publish)
    bench.server.turn(0.2)
    assert bench.server.status().render_ms == pytest.approx(4.0)


def test_status_before_the_first_sample():
    bench = Bench([Silence()] * 10).run()
    status = bench.status.as_dict()
    assert bench.reports[-1].state == "waiting"
    assert status["state"] == "stopped"
    assert status["latency_p50_ms"] is None
    assert status["input_age_s"] is None
    assert len(bench.reports) == 2
    assert bench.sink.chunks == []


def test_duration_ends_the_loop():
    ld = ld_signal(2000)
    bench = Bench(scripted_chunks(ld, SFREQ, 20)).run(duration_s=2.0)
    assert 2.0 <= bench.clock() - 1000.0 < 2.3
    assert 400 <= bench.counters.samples_out <= 440
    silent = Bench([Silence()] * 100).run(duration_s=1.05)
    assert silent.clock() - 1000.0 == pytest.approx(1.05)
    assert not silent.source.exhausted


def test_a_lookup_that_goes_unanswered_does_not_end_the_run(monkeypatch):
    ld = ld_signal(700)
    bench = Bench([chunk(ld, range(40)), *LONG, chunk(ld, range(600, 700))])

    def unanswered(_timeout_s):
        raise StreamNotFound("no answer")

    monkeypatch.setattr(bench.source, "current_format", unanswered)
    bench.run()
    assert bench.counters.recovered == 1
    assert bench.events("unverified")
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(700), atol=1e-9)


def test_no_turn_leaves_anything_behind():
    """The collector is off while serving: what a turn allocates must be gone after it."""
    bench = Bench([])
    ld = ld_signal(1).astype(np.float32)
    stamps = np.zeros(1)

    class Endless:
        format = AMP
        drained = True
        n = 0

        def pull(self, _timeout_s):
            self.n += 1
            stamps[0] = 1000.0 + self.n / SFREQ
            bench.clock.advance_to(stamps[0])
            return ld, stamps

    class Nowhere:
        def push(self, samples, timestamps):
            assert samples.shape == (1, len(bench.upsampler.labels))

    server = Server(bench.upsampler, Endless(), Nowhere(), bench.clock)
    for _ in range(500):
        server.turn(0.0)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for _ in range(4000):
            server.turn(0.0)
        grown = sys.getallocatedblocks() - before
    finally:
        gc.enable()
    assert server.counters.samples_out == 4500
    assert grown < 400, "blocks left by 4000 turns"
