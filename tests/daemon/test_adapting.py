"""What is learned elsewhere is put into use, told, saved and undone."""

import io
import json
import logging
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emag_rt.core.ld_bands import HdBands
from emag_rt.daemon.adapting import FADE_S, Adapting, Wishes
from emag_rt.daemon.learner import Ended, Learned, LearnerProcess, Saved, hear, tell
from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import AdaptSettings, ServeSettings
from emag_rt.daemon.signal_path import make_upsampler
from emag_rt.daemon.status.outlet import STATUS_NUMBERS, StatusOutlet
from emag_rt.daemon.status.terminal import LiveView
from emag_rt.daemon.stopping import answering
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import BundleError, SettingsError
from emag_rt.native import why_not
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.marker_codes import EVENTS
from emag_rt.streams.memory import (
    ManualClock,
    MemoryMarkerSink,
    MemorySink,
    MemorySource,
    Silence,
    scripted_chunks,
)
from emag_rt.system import SAVE_AND_UNDO
from tests.factories import LD, ld_signal, make_bundle

SFREQ = 200.0
N_FADE = round(FADE_S * SFREQ)
ENGINES = ["packed", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason="C"))]


def adaptable(**options):
    bundle = make_bundle(1, coupled=False, n_memory=1, **options)
    n = len(bundle.manifest.hd)
    return replace(bundle, hd_bands=HdBands(np.array([1.0, 8.0, 30.0]), np.eye(n)[None, None]))


class Told:
    """A learner that says what a test tells it to."""

    def __init__(self):
        self.blocks, self.n_saves, self._news = [], 0, []

    def add(self, block, era):
        self.blocks.append((block, era))

    def save(self):
        self.n_saves += 1
        self._news.append(Saved("there.emag"))

    def news(self, timeout_s=0.0):
        return self._news.pop(0) if self._news else None

    def tell(self, *news):
        self._news += news


class Bench:
    """What adapts, and the upsampler that it changes."""

    def __init__(self, engine="packed", **options):
        self.upsampler = Upsampler(adaptable(**options), engine=engine)
        self.learner, self.wishes = Told(), Wishes()
        self.adapting = Adapting(self.upsampler, self.learner, self.wishes)

    def learned(self, seed=0, era=0, share=0.2):
        weights = self.upsampler.plan.operator.weights
        change = 0.2 * np.random.default_rng(seed).normal(size=weights.shape)
        return Learned(era, 30.0, ((1.0, 8.0, 2.0), (8.0, 30.0, -1.0)), share, change)

    def names(self, unfit=False):
        return [event.name for event in self.adapting.news(unfit)]

    def render(self, ld, size=10):
        rows = []
        for i in range(0, len(ld), size):
            rows.append(self.upsampler.push(ld[i : i + size])[0])
            self.upsampler.prepare()
        return np.concatenate(rows)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("size", "options"), [(1, {}), (10, {}), (1, {"hidden": "dilated", "look_ahead": 3})]
)
def test_weights_go_over_in_small_steps_and_back_to_the_bit(engine, size, options):
    bench, plain = Bench(engine, **options), Bench(engine, **options)
    ld = ld_signal(4 * N_FADE)
    bench.adapting.news(False)
    learned = bench.learned()
    bench.learner.tell(learned)
    assert bench.names() == ["adapted"]
    rows, expected = (b.render(ld[: 2 * N_FADE], size) for b in (bench, plain))
    differs = rows.astype(float) - expected
    late = slice(N_FADE + size, None)
    other = replace(bench.upsampler.plan.operator)
    other = replace(other, weights=other.weights + learned.change)
    swapped = replace(adaptable(**options), operator=other)
    there = Upsampler(swapped, engine=engine)
    then = there.push(ld[: 2 * N_FADE])[0]
    np.testing.assert_allclose(rows[late], then[late], rtol=1e-5, atol=1e-3)
    # A step of the fade is a 64th of what differs in the end.
    steps = np.abs(np.diff(differs, axis=0))[: N_FADE + size]
    assert steps.max() < 1.5 * np.abs(np.diff(differs[late], axis=0)).max()
    assert np.abs(differs[: N_FADE // 32]).max() < 0.1 * np.abs(differs[late]).max()
    bench.wishes.undo()
    assert bench.names() == ["unadapted"]
    rows, expected = (b.render(ld[2 * N_FADE :], size) for b in (bench, plain))
    np.testing.assert_array_equal(rows[late], expected[late])
    assert (rows[: N_FADE // 2] != expected[: N_FADE // 2]).any()


def test_a_reset_in_the_midst_of_going_over_goes_on():
    bench, ld = Bench(), ld_signal(3 * N_FADE)
    bench.learner.tell(bench.learned())
    bench.names()
    bench.render(ld[: N_FADE // 2])
    bench.upsampler.reset()
    assert bench.upsampler.fading.goes_on
    bench.render(ld[:N_FADE])
    assert not bench.upsampler.fading.goes_on


def test_wishes_are_obeyed_and_told(caplog):
    bench = Bench()
    bench.wishes.save()
    assert bench.names() == []
    assert "nothing is saved" in caplog.text
    assert bench.learner.n_saves == 0
    bench.learner.tell(bench.learned())
    (event,) = bench.adapting.news(False)
    assert event.details["percent"] == 20.0
    assert "1 to 8 Hz +2.0 dB, 8 to 30 Hz -1.0 dB; rendered channels change by 20.0 %" in event.text
    bench.wishes.save()
    (event,) = bench.adapting.news(False)
    assert (event.name, event.details["saved"]) == ("adapting", "there.emag")
    bench.learner.tell(Saved(why_not="no room"))
    assert bench.names() == []
    assert "no room" in caplog.text
    bench.wishes.undo()
    (event,) = bench.adapting.news(False)
    assert (event.name, event.details["reason"]) == ("unadapted", "asked")
    assert "SIGUSR2 again" in event.text
    assert (bench.adapting.state, bench.adapting.share) == ("undone", 0.0)
    bench.adapting.take(np.zeros((4, 2)))
    bench.learner.tell(bench.learned())  # was on its way
    assert bench.names() == []
    assert bench.learner.blocks == []
    bench.wishes.undo()
    assert bench.names() == ["adapting"]
    bench.adapting.take(np.zeros((4, 2)))
    ((_, era),) = bench.learner.blocks
    bench.learner.tell(bench.learned(era=era))
    assert bench.names() == ["adapted"]
    assert bench.adapting.n_adapted == 2


def test_the_sessions_own_state_and_misfit_lead_back():
    bench = Bench()
    bench.learner.tell(replace(bench.learned(), change=None))
    assert bench.names() == []
    bench.learner.tell(bench.learned(), replace(bench.learned(), change=None))
    assert bench.names() == ["adapted", "unadapted"]
    bench.learner.tell(bench.learned())
    assert bench.names() == ["adapted"]
    bench.learner.tell(bench.learned(1))  # of LD that does not fit
    assert bench.names(unfit=True) == ["unadapted"]
    assert bench.names(unfit=True) == []
    bench.adapting.take(np.zeros((4, 2)))
    assert bench.learner.blocks[0][1] > 0, "nothing is put together with what did not fit"


def test_a_learner_that_has_ended_leaves_what_is_in_use(caplog):
    bench = Bench()
    bench.learner.tell(bench.learned(), Ended("exit 1"))
    assert bench.names() == ["adapted", "adapting"]
    assert (bench.adapting.state, bench.adapting.share) == ("ended", 0.2)
    bench.wishes.save()
    assert (bench.names(), bench.learner.n_saves) == ([], 0)
    assert "nothing is saved: adapting has ended" in caplog.text
    bench.wishes.undo()
    assert bench.names() == ["unadapted"]
    bench.wishes.undo()
    assert bench.names() == []


@pytest.mark.parametrize("wanted", [True, False])
def test_saved_at_the_end_where_that_is_wanted(wanted):
    bench = Bench()
    assert bench.adapting.finish(wanted) == []
    bench.learner.tell(bench.learned())
    bench.names()
    bench.learner.tell(bench.learned())  # comes too late to be used
    assert [e.name for e in bench.adapting.finish(wanted)] == ["adapting"] * wanted
    assert bench.learner.n_saves == wanted


def served(settings=None, silences=0):
    """A server, told of something learned before its first turn."""
    bench = Bench()
    clock, markers = ManualClock(), MemoryMarkerSink()
    amp = StreamFormat("Amp", "EEG", "amp", SFREQ, LD, ("microvolts",) * len(LD))
    chunks = scripted_chunks(ld_signal(4000), SFREQ, 20)
    source = MemorySource(amp, [*chunks, *[Silence()] * silences], clock)
    sink = MemorySink()
    server = Server(
        bench.upsampler, source, sink, clock, settings, markers, adapting=bench.adapting
    )
    return bench, server, source, sink, markers


def test_the_status_and_every_outlet_say_it(caplog):
    settings = ServeSettings.model_validate({"adapt": {"save_at_end": True}})
    bench, server, source, sink, markers = served(settings)
    bench.learner.tell(bench.learned())
    status = server.serve(lambda: source.exhausted)
    names = [json.loads(text)["event"] for text, _ in markers.events]
    assert names == ["adapted", "adapting", "stopped"]
    assert set(names) <= set(EVENTS)
    assert (status.adapting, status.adapted, status.counters.adaptations) == ("adapted", 0.2, 1)
    assert "adapted to the last 30 s of LD" in caplog.text
    outlet = MemorySink()
    StatusOutlet("HD", "hd", ManualClock(), lambda _: outlet)(status)
    told = dict(zip(STATUS_NUMBERS, outlet.samples[0], strict=True))
    assert told["adapted"] == pytest.approx(0.2)
    assert told["adaptations"] == 1
    assert len(sink.samples) == 4000
    # Blocks of two seconds went to the learner, in microvolts without their mean.
    assert len(bench.learner.blocks) == 9
    block, _ = bench.learner.blocks[-1]
    assert block.shape == (400, len(LD))
    np.testing.assert_allclose(block.mean(axis=1), 0.0, atol=1e-9)


def test_without_samples_wishes_are_heard():
    bench, server, source, _, markers = served(silences=6)
    bench.learner.tell(bench.learned())
    server.serve(lambda: source.exhausted and not bench.wishes.undo() and server.state == "stale")
    assert "unadapted" in [json.loads(text)["event"] for text, _ in markers.events]


def test_after_a_silence_blocks_are_of_another_era():
    bench, server, _, _, _ = served()
    server._judge_anew()
    bench.adapting.take(np.zeros((4, 2)))
    assert bench.learner.blocks[-1][1] == 1


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"adapting": "adapted", "adapted": 0.084}, "adapted (8 %)"),
        ({"adapting": "undone"}, "undone"),
    ],
)
def test_the_terminal_shows_it(monkeypatch, told, shown):
    served_status = served()[1].status()
    view, lines = LiveView("HD"), []
    monkeypatch.setattr(view._live, "update", lambda line, refresh: lines.append(line.plain))
    view(replace(served_status, **told))
    assert shown in lines[0]


@pytest.mark.parametrize(
    ("bundle", "sections", "error", "why"),
    [
        (make_bundle(1), {}, BundleError, "Calibrate again with HD. Or serve it without --adapt"),
        (
            replace(adaptable(), model=make_bundle(1, anchor="window").model),
            {},
            BundleError,
            "--anchor stream",
        ),
        (adaptable(), {"engine": {"name": "direct"}}, SettingsError, "needs engine native"),
    ],
)
def test_what_cannot_be_adapted_is_refused_at_the_start(bundle, sections, error, why):
    settings = ServeSettings.model_validate({"adapt": {"enabled": True}, **sections})
    with pytest.raises(error, match=why):
        make_upsampler(bundle, settings)


def test_auto_takes_an_engine_that_can():
    settings = ServeSettings.model_validate({"adapt": {"enabled": True}})
    expected = "packed" if why_not() else "native"
    assert make_upsampler(adaptable(), settings).engine == expected


@pytest.mark.skipif(not SAVE_AND_UNDO, reason="Windows has no such signals")
def test_signals_are_wishes():
    wishes = Wishes()
    before = signal.getsignal(SAVE_AND_UNDO[0])
    with answering(SAVE_AND_UNDO, wishes.save, wishes.undo):
        signal.raise_signal(SAVE_AND_UNDO[0])
        signal.raise_signal(SAVE_AND_UNDO[1])
        signal.raise_signal(SAVE_AND_UNDO[1])
    assert (wishes.saves, wishes.undos) == (1, 2)
    assert signal.getsignal(SAVE_AND_UNDO[0]) == before
    thread = threading.Thread(target=lambda: answering((), wishes.save).__enter__())
    thread.start()
    thread.join()


def test_news_cut_anywhere_are_the_end():
    whole, learned = io.BytesIO(), Bench().learned()
    tell(whole, learned)
    blob = whole.getvalue()
    heard = hear(io.BytesIO(blob))
    np.testing.assert_array_equal(heard.change, learned.change)
    assert heard.power_db == learned.power_db
    for n in (0, 10, blob.index(b"\n"), blob.index(b"\n") + 1, len(blob) - 1):
        assert hear(io.BytesIO(blob[:n])) is None


def test_a_process_that_gets_no_core_stops_nothing(tmp_path, monkeypatch, wait_until):
    monkeypatch.setattr("emag_rt.daemon.learner.LearnerProcess._write", lambda _: None)
    upsampler = Upsampler(adaptable(), engine="packed")
    learner = LearnerProcess(str(tmp_path / "s.emag"), upsampler, AdaptSettings())
    try:
        if hasattr(os, "SCHED_IDLE"):  # and it takes none from others
            pid = learner._child.pid
            idle = lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE  # noqa: E731
            wait_until(idle, 60, "idle priority")
            group = Path(f"/proc/{pid}/autogroup")
            if group.exists():
                wait_until(lambda: "nice 10" in group.read_text(), 30, "the session's share")
        for _ in range(100):
            learner.add(np.zeros((400, len(LD))), 0)
        learner.save()
        assert "gets no core" in learner.news(1.0).why_not
    finally:
        learner._child.stdin.close()
        learner.close()


def test_a_process_that_cannot_learn_says_why_and_goes(tmp_path, wait_until, caplog):
    """It reads another file than is served: the daemon goes on without it."""
    caplog.set_level(logging.WARNING)
    bundle = tmp_path / "gone.emag"
    learner = LearnerProcess(str(bundle), Upsampler(adaptable(), engine="packed"), AdaptSettings())
    try:
        news = wait_until(learner.news, 60, "its end")
        assert isinstance(news, Ended)
        assert "no such file" in news.reason
    finally:
        learner.close()
    assert learner.news() is None
