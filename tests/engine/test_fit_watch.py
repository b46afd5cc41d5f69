"""Whether LD fits the bundle, told within a minute, once, and taken back."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from calibration.scores.held_out import evaluate_bundle
from emag_rt.core.ld_bands import band_edges, mean_bands
from emag_rt.daemon.loop import Server
from emag_rt.daemon.status.outlet import STATUS_NUMBERS, StatusOutlet
from emag_rt.engine.fit_watch import FitWatch
from emag_rt.engine.offline import upsample_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.recordings.write import write_raw
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import (
    ManualClock,
    MemoryMarkerSink,
    MemorySink,
    MemorySource,
    scripted_chunks,
)
from tests.core.test_misfit import SFREQ, head, recording
from tests.factories import LD, make_bundle

EDGES = band_edges((0.5, 45.0), SFREQ)
N = len(LD)
HALF = round(SFREQ / 2)
GOOD = np.ones(N, dtype=bool)


def worn(seed, length, person=0):
    """A person's channels in µV."""
    return 20.0 * recording(head(person)[:N], seed, length)


def bundle():
    calibration = worn(1, 120)
    centred = calibration - calibration.mean(axis=1, keepdims=True)
    plain = make_bundle(1, sfreq=SFREQ)
    bands = mean_bands([calibration], EDGES, SFREQ)
    return replace(plain, covariance=centred.T @ centred / len(centred), ld_bands=bands)


def watched(watch, signal, usable=None, first=0):
    """Events by the second in which they came."""
    found = []
    for i in range(len(signal) // HALF):
        block = signal[i * HALF : (i + 1) * HALF]
        watch.take(first + i, block, GOOD if usable is None else usable[i])
        found += [((i + 1) / 2, news) for news in [watch.judge()] if news is not None]
    return found


def test_the_person_who_was_calibrated_fits():
    watch = FitWatch(bundle())
    assert watch.why_not() is None
    assert watch.level is None
    assert watched(watch, worn(2, 180)) == []
    assert 0 <= watch.level < 0.5
    assert not watch.unfit


def test_another_person_is_told_within_a_minute_once_and_taken_back():
    watch = FitWatch(bundle())
    found = watched(watch, worn(2, 120, person=3))
    ((second, news),) = found
    assert second <= 60
    assert not news.fits
    assert news.level > 1
    assert news.exchanged == ()
    assert watch.unfit
    ((second, news),) = watched(watch, worn(4, 120), first=240)
    assert (news.fits, second <= 60) == (True, True)
    assert not watch.unfit


def test_two_in_each_others_place_are_named():
    order = np.arange(N)
    order[[2, 5]] = 5, 2
    watch = FitWatch(bundle())
    ((second, news),) = watched(watch, worn(2, 60)[:, order])
    assert second <= 60
    assert news.exchanged == (LD[2], LD[5])
    assert f"{LD[2]} and {LD[5]}" in news.text
    assert watch.level >= 1


def test_bad_channels_are_left_out_and_too_many_bad_blocks_tell_nothing():
    signal, usable = worn(2, 100), np.ones((200, N), dtype=bool)
    signal[40:, 4] = 1e4 * np.random.default_rng(0).normal(size=len(signal) - 40)
    usable[:, 4] = False
    watch = FitWatch(bundle())
    assert watched(watch, signal, usable) == []
    assert watch.level is not None
    usable[100:, :5] = False  # three are left
    assert watched(watch, signal, usable, first=200) == []
    assert watch.level is None
    usable[:] = True
    usable[::3] = False  # a hand on the cap all the time
    assert watched(watch, worn(2, 100, person=3), usable, first=400) == []
    assert watch.level is None


def test_a_signal_without_power_is_no_block():
    watch = FitWatch(bundle())
    assert watched(watch, np.zeros((round(100 * SFREQ), N))) == []
    assert watch.level is None


def test_blocks_end_where_the_front_end_starts_anew():
    watch = FitWatch(bundle())
    for _ in range(100):  # one and a half seconds, again and again
        assert watched(watch, worn(2, 1.5, person=3)) == []
    assert watch.level is None


def test_after_a_silence_it_is_judged_anew():
    watch = FitWatch(bundle())
    watched(watch, worn(2, 50, person=3))
    watch.forget()
    assert watched(watch, worn(5, 56, person=3)) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ld_bands": None}, "Calibrate again"),
        ({"labels": LD[:5]}, "fewer than 6"),
    ],
)
def test_what_cannot_tell_says_why(change, why):
    plain = make_bundle(1, labels=change.get("labels", LD))
    watch = FitWatch(plain)
    assert why in watch.why_not()
    watch.take(0, np.zeros((100, len(plain.manifest.ld))), np.ones(len(plain.manifest.ld), bool))
    assert watch.judge() is None


def test_serving_goes_on_and_says_it_everywhere(caplog):
    signal = worn(2, 64, person=3)
    clock, sink, markers = ManualClock(1000.0), MemorySink(), MemoryMarkerSink()
    amp = StreamFormat("Amp", "EEG", "amp-1", SFREQ, LD, ("microvolts",) * N)
    source = MemorySource(amp, scripted_chunks(signal, SFREQ, 32), clock)
    server = Server(Upsampler(bundle(), engine="packed"), source, sink, clock, None, markers)
    status = server.serve(lambda: source.exhausted)
    (event,) = [e for text, _ in markers.events if (e := json.loads(text))["event"] == "ld_misfit"]
    assert event["level"] > 1
    assert "does not fit the bundle" in caplog.text
    assert status.unfit
    assert status.as_dict()["ld_misfit"] > 1
    assert len(sink.samples) == len(signal)
    assert np.isfinite(sink.samples).all()
    outlet = MemorySink()
    StatusOutlet("HD", "hd", clock, lambda _: outlet)(status)
    told = dict(zip(STATUS_NUMBERS, outlet.samples[0], strict=True))
    assert (told["unfit"], told["ld_misfit"] > 1) == (1.0, True)


def pushed(upsampler, signal, prepared):
    for start in range(0, len(signal), 64):
        upsampler.push(signal[start : start + 64])
        if prepared:
            upsampler.prepare()
    upsampler.flush()


@pytest.mark.parametrize("prepared", [True, False])
def test_an_upsampler_warns_once(caplog, prepared):
    upsampler = Upsampler(bundle(), engine="packed")
    pushed(upsampler, worn(2, 70), prepared)
    assert "fit the bundle" not in caplog.text
    pushed(upsampler, worn(2, 90, person=3), prepared)
    (record,) = [r for r in caplog.records if "does not fit the bundle" in r.message]
    assert record.levelno == logging.WARNING


def test_an_upsampler_that_ignores_mismatch_says_nothing(caplog):
    pushed(Upsampler(bundle(), engine="packed", mismatch="ignore"), worn(2, 64, person=3), True)
    assert caplog.text == ""


def test_upsampling_and_scoring_a_recording_say_it_once(tmp_path, caplog):
    own = bundle()
    signal = worn(2, 64, person=3)
    rest = [e.label for e in own.manifest.hd if e.label not in LD]
    noise = np.random.default_rng(0).normal(scale=20.0, size=(len(signal), len(rest)))
    path = tmp_path / "other_raw.fif"
    write_raw(path, np.hstack([signal, noise]), (*LD, *rest), SFREQ)
    result = upsample_recording(own, path, tmp_path / "hd_raw.fif", engine="packed")
    (told,) = [text for text in result.warnings if "does not fit the bundle" in text]
    scored = evaluate_bundle(own, path, "packed")
    assert scored.misfits == (told,)
    assert scored.as_dict()["ld_misfits"] == [told]
    assert "does not fit the bundle" not in caplog.text, "said by who asked, not by the log too"
