"""Faults of sources, clocks and schedulers, scripted: what happens to every sample."""

import json
from dataclasses import replace

import numpy as np
import pytest

from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import StreamAmbiguous, StreamError, StreamMismatch
from emag_rt.streams.memory import Chunk, Silence, scripted_chunks
from tests.daemon.test_loop import AMP, LONG, SFREQ, Bench, chunk, offline, stamps_of
from tests.factories import LD, ld_signal, make_bundle, relative


def balanced(bench):
    """Whether the account of the counters is closed, on both sides."""
    c = bench.server.status().counters
    assert c.samples_in == (
        c.samples_out + c.skipped + c.duplicates + c.out_of_order + c.refused
    ), c
    assert len(bench.sink.timestamps) == c.samples_out + c.skipped + c.bridged + c.filled, c
    return c


@pytest.mark.parametrize("silent_s", [0.8, 3.0])
@pytest.mark.parametrize("look_ahead", [0, 3])
def test_channels_that_come_back_in_another_order_are_remapped(silent_s, look_ahead):
    bundle, ld = make_bundle(2, look_ahead=look_ahead), ld_signal(1000)
    n_lost = round(silent_s * SFREQ)
    order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
    other = replace(AMP, labels=tuple(LD[i] for i in order), uid="new")
    first, second = np.arange(100), np.arange(100 + n_lost, 400 + n_lost)
    script = [chunk(ld, first), *[Silence()] * round(silent_s / 0.2), other]
    script += [Chunk(ld[second][:, order], stamps_of(1000)[second])]
    bench = Bench(script, bundle=bundle, latency={"budget_s": 9.0}).run()
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(400 + n_lost), atol=1e-9)
    assert relative(bench.sink.samples[:100], offline(ld[first], bundle)) < 1e-5
    assert relative(bench.sink.samples[100 + n_lost :], offline(ld[second], bundle)) < 1e-5
    assert bench.events("remapped")[0]["labels"] == list(other.labels)
    assert balanced(bench).filled == n_lost


def test_an_outlet_made_anew_that_stamps_earlier_loses_nothing():
    """Less than a second back would be samples sent twice, were it the same outlet."""
    ld = ld_signal(1000)
    again = stamps_of(1000)[100:400] - 0.6
    script = [chunk(ld, range(100)), *LONG, replace(AMP, uid="new"), Chunk(ld[100:400], again)]
    bench = Bench(script).run()
    assert bench.events("clock_jump")[0]["step_s"] == pytest.approx(1.0 / SFREQ - 0.6, abs=1e-3)
    np.testing.assert_allclose(bench.sink.timestamps, [*stamps_of(1000)[:100], *again], atol=1e-9)
    assert balanced(bench).out_of_order == 0


def test_a_format_that_lsl_never_takes_up_again_is_refused_while_silent():
    ld = ld_signal(100)
    other = replace(AMP, channel_format="int16")
    bench = Bench([chunk(ld, range(100)), *LONG, other, *LONG])
    with pytest.raises(StreamMismatch, match="format float32 became int16"):
        bench.run()
    assert [e["event"] for e in bench.events()] == ["silent", "refused", "stopped"]
    balanced(bench)


def test_two_that_claim_to_be_the_source_are_told_once_and_waited_out(monkeypatch):
    ld = ld_signal(1000)
    bench = Bench([chunk(ld, range(100)), *LONG * 2, chunk(ld, range(700, 900))])

    def several():
        raise StreamAmbiguous("two of them")

    monkeypatch.setattr(bench.source, "replaced_by", several)
    bench.run()
    told = [e["event"] for e in bench.events()]
    assert told == ["silent", "ambiguous", "recovered", "gap", "stopped"]
    balanced(bench)


def test_a_source_that_does_not_answer_at_first_is_asked_again(monkeypatch):
    ld = ld_signal(1500)
    bench = Bench([chunk(ld, range(40)), *LONG, *scripted_chunks(ld, SFREQ, 20, 1003.0)])
    answers = [StreamError("no answer in time"), StreamError("again"), AMP]

    def current_format(_timeout_s):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(bench.source, "current_format", current_format)
    bench.run()
    assert answers == [], "asked until it answered, and not again"
    assert len(bench.events("unverified")) == 1
    balanced(bench)


def test_a_daemon_that_was_stopped_itself_does_not_call_its_source_silent():
    """After SIGCONT the first wait may end empty: the clock has moved, nothing was waited for."""
    ld = ld_signal(1000)
    bench = Bench([chunk(ld, range(100)), Silence(), chunk(ld, range(100, 740), 1003.7)])
    bench.server.turn(0.2)
    bench.clock.advance(3.0)
    bench.run()
    assert bench.events("silent") == []
    assert bench.counters.recovered == 0
    c = balanced(bench)
    assert (c.gaps, c.samples_in) == (0, 740)
    assert c.skipped == 440  # of 640, those older than a second


@pytest.mark.parametrize("policy", ["skip_to_newest", "catch_up"])
def test_a_daemon_too_slow_for_its_source_does_not_get_used_to_it(policy):
    """One per cent too slow: the backlog would become the usual age within 20 s, for ever."""
    n, slow = 8000, 1.03
    ld, stamps = ld_signal(n), stamps_of(n)
    events = [Chunk(ld[:200], stamps[:200])]
    for i in range(200, n, 200):
        due = 1001.0 + (stamps[i + 199] - 1001.0) * slow
        events.append(Chunk(ld[i : i + 200], stamps[i : i + 200], due, drained=False))
    bench = Bench(events, latency={"policy": policy, "budget_s": 0.5}).run()
    c = balanced(bench)
    if policy == "catch_up":
        assert c.skipped == 0
        assert c.overdue > 1000
        assert sum(e["samples"] for e in bench.events("overdue")) == c.overdue
        return
    assert c.overdue == 0
    late = np.isnan(bench.sink.samples[:, 0])
    assert late.sum() == c.skipped == sum(e["samples"] for e in bench.events("skipped"))
    # What is beyond the budget is skipped at the end as at the beginning.
    age = 1001.0 + (stamps[-1] - 1001.0) * slow - stamps[-200:]
    np.testing.assert_array_equal(late[-200:], age > 0.5 + 1e-9)


def test_repeats_swaps_and_stuck_clocks_are_told_once_a_second():
    ld = ld_signal(1000)
    order = np.arange(1000)
    order[100:102] = 101, 100
    order = np.insert(order, 500, order[490:500])
    stamps = stamps_of(1000)[order]
    stamps[700:740] = stamps[700]
    script = [Chunk(ld[order][i : i + 10], stamps[i : i + 10]) for i in range(0, 1010, 10)]
    bench = Bench(script).run()
    c = balanced(bench)
    assert (c.duplicates, c.out_of_order, c.restamped) == (1, 1 + 9, 39)
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(1000), atol=1e-9)
    told = bench.events("disorder")
    assert len(told) <= 5
    assert sum(e["out_of_order"] for e in told) == c.out_of_order
    assert sum(e["restamped"] for e in told) == c.restamped
    rows = np.delete(bench.sink.samples, slice(100, 400), axis=0)  # a bridged sample rings on
    whole = np.delete(offline(ld), slice(100, 400), axis=0)
    assert np.abs(rows - whole).max() < 0.02 * np.abs(whole).max()


def test_stamps_that_are_no_numbers_leave_the_status_valid():
    ld, stamps = ld_signal(60), stamps_of(60)
    stamps[20:40] = np.nan
    script = [Chunk(ld[i : i + 20], stamps[i : i + 20], 1000.0 + i / SFREQ) for i in (0, 20, 40)]
    bench = Bench(script, status={"interval_s": 0.05})
    for _ in range(2):
        bench.server.turn(0.2)
    status = bench.server.status().as_dict()
    assert status["input_age_s"] is None
    json.dumps(status, allow_nan=False)
    bench.run()
    np.testing.assert_allclose(bench.sink.timestamps, stamps_of(60), atol=1e-9)
    assert balanced(bench).restamped == 20


def test_all_channels_lost_for_a_while():
    """NaN from every electrode: rows stay, and are as good as new some time after."""
    ld = ld_signal(3000)
    broken = ld.copy()
    broken[500:900] = np.nan
    bench = Bench(scripted_chunks(broken, SFREQ, 10)).run()
    assert len(bench.sink.timestamps) == 3000
    assert np.isfinite(bench.sink.samples[-600:]).all()
    whole = Upsampler(bench.upsampler.bundle, engine="packed").push(ld)[0]
    assert relative(bench.sink.samples[-200:], whole[-200:]) < 0.2
    assert len(bench.events("bad_channel")) == len(bench.events("good_channel")) == len(LD)
    balanced(bench)


def test_a_dead_amplifier_is_a_state_of_its_own_and_gives_no_rows():
    """Alike on all channels: no channel is bad by the others, and yet there is no EEG."""
    ld = ld_signal(2400)
    ld[800:1600] = ld[800:1600, :1]
    script = scripted_chunks(ld, stamps_of(2400), 10)
    bench = Bench(script)
    states = set()
    while not bench.source.exhausted:
        bench.server.turn(0.2)
        states.add((bench.server.state, bench.server.status().state))
    assert states == {("running", "running"), ("dead", "dead")}
    assert [e["event"] for e in bench.events() if "amplifier" in e["event"]] == [
        "amplifier_dead",
        "amplifier_back",
    ]
    rows = bench.sink.samples
    assert len(rows) == 2400
    assert np.isnan(rows[1450:1590]).all()
    assert np.isfinite(rows[:1000]).all()
    assert np.isfinite(rows[-300:]).all()


def test_a_wrong_scale_ends_serving_and_blames_no_electrode():
    script = scripted_chunks(1e-6 * ld_signal(1000), stamps_of(1000), 10)
    bench = Bench(script)
    with pytest.raises(StreamMismatch, match="--unit V"):
        bench.run()
    names = [e["event"] for e in bench.events()]
    assert "refused" in names
    assert "bad_channel" not in names


@pytest.mark.parametrize(
    ("calibrated", "declared", "told"),
    [
        ("CMS", "average", True),
        ("CAR", "common average", False),
        ("M1", "m1", False),
        ("CMS", "", False),
        ("", "average", False),
    ],
)
def test_another_reference_than_the_calibrations_is_said(calibrated, declared, told, caplog):
    bundle = make_bundle(1)
    manifest = bundle.manifest.model_copy(update={"calibration": {"reference": calibrated}})
    bench = Bench(
        scripted_chunks(ld_signal(100), SFREQ, 10), bundle=replace(bundle, manifest=manifest)
    )
    bench.source._format = replace(bench.source._format, reference=declared)
    bench.run()
    events = bench.events("other_reference")
    assert len(events) == told
    assert ("reference of the source is 'average', calibration was in 'CMS'" in caplog.text) == told
    if told:
        assert (events[0]["source"], events[0]["calibration"]) == ("average", "CMS")
