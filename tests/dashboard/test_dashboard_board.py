"""What a dashboard makes of a daemon's outlets: states in words, quality, events, rows."""

from __future__ import annotations

import ast
import inspect
import json
import math
import socket
import textwrap
import threading
from dataclasses import replace

import numpy as np
import pytest

from emag_rt.daemon.status.counters import Counters, ServerStatus
from emag_rt.daemon.status.outlet import BAD_REASONS, STATUS_NUMBERS, StatusOutlet
from emag_rt.dashboard.outlet import clean, read_hd_outlet
from emag_rt.dashboard.rows import Latencies, RowBuffer, n_averaged
from emag_rt.errors import SettingsError, StreamError
from emag_rt.frontend import frontend as frontend_module
from emag_rt.frontend.bad_channels import BadChannelMonitor
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import LslSink, OutletSpec
from emag_rt.streams.memory import MemorySink
from emag_rt.streams.query import StreamQuery
from tests.dashboard.conftest import HD, PLACES, SFREQ, Daemon, hd_outlet
from tests.factories import LD


def event(kind, **details):
    return json.dumps({"event": kind, **details})


def test_the_outlet_is_read_as_it_was_published(daemon):
    hd = daemon.hd
    assert hd.labels == HD
    np.testing.assert_allclose(hd.positions_mm, PLACES, atol=1e-5)
    assert hd.kinds == ("measured",) * len(LD) + ("rendered",) * 3 + ("virtual",)
    assert hd.nmse[: len(LD)] == (None,) * len(LD)
    assert hd.nmse[len(LD) :] == (0.1, 0.2, 0.3, 0.4)
    assert hd.ld_labels == LD
    assert (hd.band_hz, hd.input_source_id, hd.hold_s) == ((0.5, 40.0), "AMP-1", 0.0)


@pytest.mark.parametrize(
    "description",
    [
        (),
        (("channels", "no nodes"), ("emag_rt", (("hop", "many"), ("look_ahead_s", "nan")))),
        (("channels", (("channel", "x"), ("channel", ())) * 3), ("filters", (("highpass", ""),))),
        (("channels", (("channel", (("location", (("X", "a"), ("Y", "1"))),)),) * 3),),
    ],
)
def test_a_foreign_description_is_taken_as_unknown(description):
    hd = read_hd_outlet(StreamFormat("X", "EEG", "", 100.0, (), (), n_channels=3), description)
    assert len(hd.labels) == len(hd.kinds) == len(hd.nmse) == 3
    assert np.isnan(hd.positions_mm).all()
    assert hd.hold_s == 0.0
    assert hd.band_hz is None


def test_states_from_the_start_to_the_end(daemon):
    assert daemon.state == "waiting"
    assert "s01-HD" in daemon.text
    daemon.open()
    assert daemon.state == "waiting"
    daemon.rows()
    assert daemon.state == "running"
    assert "AMP-1" in daemon.text
    daemon.clock.advance(0.9)
    assert daemon.state == "running"
    daemon.clock.advance(2.0)
    assert daemon.state == "silent"
    assert "for 3 s" in daemon.text
    daemon.board.status({"samples_in": 4.0})
    daemon.clock.advance(5.0)
    assert daemon.state == "silent", "the daemon speaks, the source does not"
    daemon.clock.advance(10.0)
    assert daemon.state == "unresponsive"
    daemon.rows()
    assert daemon.state == "running"
    daemon.board.event(event("stopped"))
    assert daemon.state == "stopped"
    daemon.board.hd_lost()
    daemon.open()
    assert daemon.state == "waiting", "another run"


def test_an_outlet_that_goes_without_a_word_has_stopped(daemon):
    daemon.open().rows()
    daemon.board.hd_lost()
    assert daemon.state == "stopped"
    assert "outlet has gone" in daemon.text


def test_the_daemon_may_say_sooner_that_its_source_is_silent(daemon):
    daemon.open().rows()
    daemon.board.event(event("silent", last_stamp=1.0))
    assert daemon.state == "silent"
    daemon.rows()
    assert daemon.state == "running"


def test_a_launched_dashboard_names_the_source_that_is_waited_for():
    daemon = Daemon(source="AMP-7", launched=True)
    assert "AMP-7" in daemon.text
    assert daemon.board.state()["title"] == "Waiting for the source"


def test_every_state_has_its_own_title(daemon):
    titles = set()
    for action in (
        lambda: None,
        lambda: daemon.open().rows(),
        lambda: daemon.board.event(event("too_many_bad", channels=list(LD[:5]), policy="nan")),
        lambda: daemon.board.event(event("silent")),
        lambda: daemon.clock.advance(60),
        lambda: daemon.board.event(event("stopped")),
    ):
        action()
        titles.add(daemon.board.state()["title"])
    # Without a status outlet a long silence is still called a silence.
    assert len(titles) == 5


def test_bad_channels_by_events(daemon):
    daemon.open().rows()
    before = daemon.board.layout.number
    daemon.board.event(event("bad_channel", channel=LD[1], reason="flat"))
    assert daemon.board.layout.number > before, "the map is drawn from the others"
    assert daemon.board.layout.bad == {LD[1]}
    (bad,) = [c for c in daemon.board.state()["quality"] if c["bad"]]
    assert bad == {"label": LD[1], "bad": True, "reason": "flat"}
    assert LD[1] in daemon.text
    daemon.board.event(event("good_channel", channel=LD[1]))
    assert not daemon.board.layout.bad
    daemon.board.event(event("bad_channel", channel="no such", reason="flat"))
    assert not daemon.board.layout.bad


def test_who_comes_late_learns_of_bad_channels_from_the_status_outlet(daemon):
    sink = MemorySink()
    specs = []

    def make_sink(spec):
        specs.append(spec)
        return sink

    outlet = StatusOutlet("s01-HD", "emag-rt:1", lambda: 1.0, make_sink, LD)
    reasons = {LD[0]: "flat", LD[2]: "something new", LD[3]: "stale text of a good channel"}
    status = ServerStatus(
        "running", "packed", (LD[0], LD[2]), Counters(samples_in=7), 1.0, 0.1, None, {}, reasons
    )
    known = {f"latency_{k}_ms": None for k in ("p50", "p99", "max")}
    status.latency.update(known)
    outlet(status)
    labels = specs[0].labels
    assert labels == (*STATUS_NUMBERS, *(f"bad:{label}" for label in LD))
    numbers = dict(zip(labels, sink.samples[0].tolist(), strict=True))
    daemon.open().rows()
    daemon.board.status(numbers)
    state = daemon.board.state()
    assert {c["label"]: c["reason"] for c in state["quality"] if c["bad"]} == {
        LD[0]: "flat",
        LD[2]: "another reason",
    }
    assert state["numbers"]["samples_in"] == 7
    assert state["numbers"]["latency_p50_ms"] is None
    assert not any("bad:" in key for key in state["numbers"])


def test_every_reason_of_the_front_end_has_a_number():
    named = {inspect.signature(BadChannelMonitor.break_now).parameters["reason"].default}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(BadChannelMonitor._judge)))):
        if isinstance(node, ast.Dict):
            named |= {key.value for key in node.keys}
        elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "found":
            named.add(node.slice.value)
    for node in ast.walk(ast.parse(inspect.getsource(frontend_module))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "break_now":
            named |= {argument.value for argument in node.args[1:]}
    assert sorted(named) == sorted(BAD_REASONS)


def test_too_many_bad_is_seen_in_the_status_too(daemon):
    daemon.open().rows()
    daemon.board.status({"unrenderable": 5.0, "too_many_bad": 1.0})
    assert daemon.state == "too_many_bad", "at the first status, for who comes late"
    daemon.board.status({"unrenderable": 5.0, "too_many_bad": 1.0})
    assert daemon.state == "too_many_bad", "a source that rests changes nothing"
    daemon.board.status({"unrenderable": 205.0, "too_many_bad": 0.0})
    assert daemon.state == "running", "rows may miss for other reasons"


def test_ld_that_does_not_fit_is_seen_until_it_fits_again(daemon):
    daemon.open().rows()
    daemon.board.event(event("ld_misfit", level=2.5, exchanged=["C3", "C4"]))
    assert daemon.board.state()["title"] == "Does not fit"
    assert "2.5 times the limit" in daemon.board.state()["events"][-1]["details"]
    daemon.board.event(event("ld_fits", level=0.3))
    assert daemon.state == "running"
    daemon.board.status({"unfit": 1.0})
    assert daemon.board.state()["title"] == "Does not fit", "for who comes late"
    daemon.board.status({"unfit": 0.0})
    assert daemon.state == "running"


def test_channels_are_good_when_the_daemon_said_so_and_not_before(daemon):
    daemon.open().rows()
    assert not daemon.board.state()["judged"]
    daemon.board.status({"samples_in": 4.0})
    assert not daemon.board.state()["judged"]
    daemon.board.status({f"bad:{label}": 0.0 for label in LD})
    assert daemon.board.state()["judged"]
    daemon.open().rows()
    assert not daemon.board.state()["judged"], "another run"


def test_while_silent_no_channel_is_good(daemon):
    daemon.open().rows()
    daemon.board.status({f"bad:{label}": 0.0 for label in LD})
    assert daemon.board.state()["judged"]
    daemon.clock.advance(3.0)
    assert daemon.state == "silent"
    assert not daemon.board.state()["judged"]


@pytest.mark.parametrize(
    ("told", "state", "title"),
    [
        (event("amplifier_dead"), "no_eeg", "No EEG comes"),
        (event("wrong_scale", factor=1000.0), "wrong_input", "Wrong unit"),
        (event("wrong_rate", measured_hz=125.0, declared_hz=250.0), "wrong_input", "Wrong rate"),
        (event("refused", reason="labels differ"), "wrong_input", "Source refused"),
        (event("too_many_bad", channels=[]), "too_many_bad", "Too many bad channels"),
    ],
)
def test_what_the_daemon_says_is_wrong_is_never_called_running(daemon, told, state, title):
    daemon.open().rows()
    daemon.board.status({f"bad:{label}": 0.0 for label in LD})
    daemon.board.event(told)
    found = daemon.board.state()
    assert (found["state"], found["title"]) == (state, title)
    if state == "wrong_input":
        assert not found["judged"]
        daemon.board.event(event("stopped"))
        assert found["text"] in daemon.text, "why it ended"
    daemon.open().rows()
    assert daemon.state == "running", "another run"


def test_a_wrong_unit_by_which_too_many_are_bad_says_that_nothing_is_rendered(daemon):
    daemon.open().rows()
    assert not daemon.board.state()["unrendered"]
    daemon.board.event(event("wrong_scale", factor=1000.0, remedy="Leave --unit out"))
    assert daemon.text.endswith("gain is wrong. Leave --unit out.")
    daemon.board.event(event("too_many_bad", channels=list(LD), policy="nan"))
    assert daemon.text.endswith("Leave --unit out. Nothing is rendered meanwhile.")
    assert daemon.board.state()["unrendered"]
    daemon.hd = replace(daemon.hd, renders_on=True)
    daemon.open()
    daemon.board.event(event("too_many_bad", channels=list(LD), policy="fill"))
    assert not daemon.board.state()["unrendered"]


@pytest.mark.parametrize(
    ("scale", "raw", "rendered", "state"),
    [
        (20.0, 20.0, 20.0, "running"),
        (20.0, 0.0, 20.0, "no_eeg"),
        (20.0, 20.0, np.nan, "no_eeg"),
        (2e-5, 20.0, 2e-5, "wrong_input"),
        (2e4, 20.0, 2e4, "wrong_input"),
    ],
)
def test_the_rows_are_looked_at_too(daemon, scale, raw, rendered, state):
    """Whoever attaches later has not heard the event."""
    daemon.open()
    rng = np.random.default_rng(0)
    rows = rng.normal(0.0, scale, (900, len(HD)))
    rows[:, len(LD) :] = rng.normal(0.0, 1.0, (900, 4)) * rendered
    stamps = 100.0 + np.arange(900) / SFREQ
    daemon.board.ld_rows(rows[:, : len(LD)], stamps, raw * rng.normal(size=(900, len(LD))))
    daemon.board.hd_rows(rows, stamps, None)
    assert daemon.state == "running"
    daemon.board.look()
    assert daemon.state == state


def test_events_stand_where_they_happened(daemon):
    daemon.open()
    daemon.board.event(event("gap", stamp=5.0), 9.0)
    daemon.board.event(event("good_channel"), 9.0, 0.5)
    daemon.board.mark("T1", "stimuli", 7.0)
    daemon.board.event(event("gap", stamp=math.nan), 9.0)
    found = [(e["event"], e["stamp"]) for e in daemon.board.state()["events"]]
    assert found == [("gap", 5.0), ("good_channel", 9.5), ("T1", 7.0), ("gap", None)]


def test_a_daemon_with_a_rare_status_is_not_called_mute(daemon):
    daemon.hd = hd_outlet(status_interval_s="30")
    daemon.open().rows()
    daemon.board.status({"samples_in": 4.0})
    daemon.clock.advance(60.0)
    assert daemon.state == "silent"
    daemon.clock.advance(40.0)
    assert daemon.state == "unresponsive"


def test_trouble_after_data_does_not_look_live(daemon):
    daemon.board.note(trouble="Two of this name.")
    assert daemon.state == "waiting"
    daemon.board.note(trouble="")
    daemon.open().rows()
    daemon.board.hd_lost()
    daemon.board.note(trouble="Two of this name.")
    assert daemon.state == "stopped"
    assert daemon.text == "Two of this name. What is shown is the last that came."


def test_words_fit_with_and_without_a_source(daemon):
    daemon.open()
    assert daemon.text == "Connected; no sample has come from “AMP-1” yet."
    daemon = Daemon()
    daemon.hd = hd_outlet(input_source_id="")
    assert daemon.open().text == "Connected; no sample has come yet."


@pytest.mark.parametrize(
    ("text", "kind", "details"),
    [
        (event("gap", stamp=5.0, samples=20, filled=20), "gap", "20 samples, 20 filled"),
        (event("step", channels=["Cz"], size_uv=2500.0, common=False), "step", "Cz, by 2500 µV"),
        ("<script>", "<script>", ""),
        ("[1, 2]", "[1, 2]", ""),
        (event("new\n\x1b[2J", x="\x00"), r"new\n\x1b[2J", r"x \x00"),
    ],
)
def test_events_in_words(daemon, text, kind, details):
    daemon.board.event(text)
    (shown,) = daemon.board.state()["events"]
    assert (shown["event"], shown["details"]) == (kind, details)


def test_events_are_bounded(daemon):
    for i in range(500):
        daemon.board.event(event("gap", samples="x" * 10_000, number=i))
    state = daemon.board.state()
    assert state["n_events"] == 500
    assert len(json.dumps(state)) < 100_000


def test_text_from_the_network_is_cut_and_made_printable():
    assert clean("a\x1bb") == r"a\x1bb"
    assert len(clean("x" * 1000)) == 60


def test_rows_are_averaged_to_a_rate_that_screens_can_show():
    buffer = RowBuffer(1, 1000.0)
    assert buffer.every == 4
    assert [n_averaged(f) for f in (0.0, 200.0, 250.0, 300.0, 512.0)] == [1, 1, 1, 2, 3]
    values = np.arange(30.0)
    for piece in np.split(values, [3, 4, 17]):
        buffer.add(piece[:, None], piece / 1000)
    rows, times = buffer.take()
    np.testing.assert_allclose(rows[:, 0], values[:28].reshape(-1, 4).mean(axis=1))
    np.testing.assert_allclose(times, rows[:, 0] / 1000)
    assert not len(buffer.take()[1])


def test_rows_that_nobody_takes_do_not_pile_up():
    buffer = RowBuffer(2, 200.0)
    for i in range(1000):
        buffer.add(np.full((5, 2), i), np.arange(5.0))
    rows, _ = buffer.take()
    assert len(rows) <= 200
    assert rows[-1, 0] == 999
    assert buffer.dropped == 5000 - len(rows)


def test_numbers_beyond_float32_make_no_noise():
    buffer = RowBuffer(2, 1000.0)
    buffer.add(np.array([[1e300, 1.0], [-1e300, 1.0], [np.nan, 1.0], [0.0, 1.0]]), np.arange(4.0))
    rows, _ = buffer.take()
    assert rows[0, 1] == 1.0


def test_rows_of_gaps_do_not_count_as_late(daemon):
    daemon.open().rows()
    assert daemon.board.state()["latency"]["max_ms"] == pytest.approx(20.0)
    daemon.rows(value=np.nan)
    assert daemon.board.state()["latency"]["n"] == 4


def test_the_histogram_holds_all_latencies():
    latencies = Latencies(1000)
    assert latencies.histogram() is None
    latencies.add(np.r_[np.linspace(0.001, 0.01, 999), 5.0])
    found = latencies.histogram()
    assert sum(found["counts"]) == found["n"] == 1000
    assert found["edges_ms"][-1] < 20.0, "one straggler does not squeeze the rest"
    assert found["max_ms"] == 5000.0
    assert math.isclose(found["p50_ms"], 5.5, rel_tol=0.05)
    latencies.add(np.array([np.nan, np.inf]))
    assert latencies.histogram() == found


def test_an_error_while_reading_is_said_and_tried_again(daemon, monkeypatch, caplog, wait_until):
    from emag_rt.dashboard import feed as feed_module

    attempts = []

    def fail(*_, **__):
        attempts.append(1)
        raise ValueError("a bug")

    monkeypatch.setattr(feed_module, "find_stream", fail)
    monkeypatch.setattr(feed_module, "_LOOK_S", 0.01)
    feed = feed_module.Feed(daemon.board, "s01-HD", None, {})
    feed.start()
    wait_until(lambda: len(attempts) > 2, 30, "another attempt")
    feed.stop()
    assert daemon.board.state()["title"] == "Cannot attach"
    assert "a bug" in caplog.text


def test_a_companion_that_fails_is_taken_up_again(monkeypatch, wait_until):
    from emag_rt.dashboard import feed as feed_module

    monkeypatch.setattr(feed_module, "_AGAIN_S", 0.01)
    gone, attempts = threading.Event(), []

    def read(_hd, gone):
        attempts.append(1)
        if len(attempts) == 1:
            raise StreamError("lost")
        if len(attempts) == 2:
            raise ValueError("a bug")
        gone.wait()

    helper = threading.Thread(target=feed_module._quietly, args=(read, hd_outlet(), gone))
    helper.start()
    wait_until(lambda: len(attempts) == 3, 30, "another attempt")
    gone.set()
    helper.join(10)
    assert not helper.is_alive()


@pytest.mark.lsl
def test_a_launched_dashboard_shows_its_own_daemon_alone(unique_id, monkeypatch, wait_until):
    from emag_rt.dashboard import feed as feed_module

    monkeypatch.setattr(feed_module, "_LOOK_S", 0.1)
    daemon = Daemon(source="AMP-7", launched=True)
    board = daemon.board

    def outlet(bundle):
        vendor = {"bundle_sha256": bundle, "ld_labels": ",".join(LD)}
        spec = OutletSpec(unique_id, f"{unique_id}-{bundle[0]}", HD, SFREQ, vendor=vendor)
        return LslSink(spec)

    other = outlet("b" * 64)
    feed = feed_module.Feed(board, unique_id, None, {}, socket.gethostname(), "a" * 64)
    feed.start()
    try:
        wait_until(lambda: board.state()["title"] == "Cannot attach", 20, "a refusal")
        text = board.state()["text"]
        assert "got bbbbbbbbbbbb" in text
        assert "its own --name" in text
        assert board.layout.hd is None
        other.close()
        wait_until(lambda: board.state()["title"] == "Waiting for the source", 20, "trouble gone")
        own = outlet("a" * 64)
        wait_until(lambda: board.layout.hd is not None, 20, "the right one")
        assert board.layout.hd.source_id == f"{unique_id}-a"
        again = outlet("c" * 64)
        own.close()
        own = outlet("a" * 64)
        wait_until(lambda: "serve its own --name" in board.state()["text"], 30, "both named")
        assert board.state()["state"] == "stopped", "what was shown is not live"
        for sink in (own, again):
            sink.close()
    finally:
        feed.stop()


def test_another_host_s_daemon_is_not_looked_for():
    query = StreamQuery(name="emag_rt", hostname="here")
    assert "hostname='here'" in query.predicate()
    with pytest.raises(SettingsError, match="must name a source id"):
        StreamQuery(hostname="here")


@pytest.mark.parametrize(
    ("told", "shown"),
    [(("matched", "0.5"), "matched, mix 0.5"), (("simulated", "1"), "simulated"), (None, None)],
)
def test_statistics_of_the_output_are_a_line(told, shown):
    names = ("statistics", "statistics_mix")
    vendor = () if told is None else tuple(zip(names, told, strict=True))
    head = StreamFormat("X", "EEG", "", 100.0, (), (), n_channels=1)
    facts = read_hd_outlet(head, (("emag_rt", vendor),)).facts
    assert facts.get("statistics") == shown
