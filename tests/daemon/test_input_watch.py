"""What comes against what is declared: scale, rate, and a living amplifier."""

import numpy as np
import pytest

from emag_rt.daemon.input_watch import InputWatch
from emag_rt.engine.matching import match_input
from emag_rt.errors import StreamMismatch
from emag_rt.streams.base import StreamFormat
from tests.factories import LD, ld_signal, make_bundle

SFREQ = 200.0
CHUNK = 8


def watch(unit="microvolts", refuses=True, whose="wearer", given=None):
    stream = StreamFormat("Amp", "EEG", "amp-1", SFREQ, LD, (unit,) * len(LD))
    bundle = make_bundle(1)
    bundle.manifest.calibration["amplitudes"] = whose
    return InputWatch(stream, match_input(stream, bundle, given), bundle, refuses), bundle


def like_calibration(bundle, n, seed=0):
    """White signals with the amplitudes of the calibration after its filter."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(n, len(LD)))
    probe, _ = watch()
    filtered = probe._scale._filter.process(raw.copy())
    filtered -= filtered.mean(axis=1, keepdims=True)
    return raw * (np.sqrt(np.diag(bundle.covariance)) / filtered.std(axis=0)).mean()


def feed(input_watch, samples, stamps=None, chunk=CHUNK):
    stamps = 100.0 + np.arange(len(samples)) / SFREQ if stamps is None else stamps
    events = []
    for start in range(0, len(samples), chunk):
        part = slice(start, start + chunk)
        input_watch.take(samples[part], stamps[part])
        events += input_watch.judge()
    return events


def test_what_is_as_declared_brings_no_event():
    input_watch, bundle = watch()
    samples = like_calibration(bundle, 4000)
    samples[900:1000] *= 30.0  # a movement
    assert feed(input_watch, samples) == []
    assert input_watch.settled
    assert not input_watch.dead


@pytest.mark.parametrize(
    ("scale", "remedy", "power"),
    [
        (1e-6, "--unit V", -6),
        (1e-3, "--unit mV", -3),
        (10.0, "--scale 0.", 1),
        (44.7, "--scale", 2),
    ],
)
def test_a_wrong_scale_is_refused_within_three_seconds(scale, remedy, power):
    input_watch, bundle = watch()
    samples = scale * like_calibration(bundle, int(3.1 * SFREQ))
    with pytest.raises(StreamMismatch, match=f"amplitudes must be.*about 1e{power}.*{remedy}"):
        feed(input_watch, samples)
    warning, _ = watch(refuses=False)
    (event,) = feed(warning, samples)
    assert event.name == "wrong_scale"
    assert warning.settled


@pytest.mark.parametrize(
    ("own", "given", "remedy"),
    [
        ("microvolts", "mV", r"Leave --unit out: the stream's own unit \(microvolts\) fits"),
        ("", "V", r"Leave --unit out: the stream's own unit \(microvolts\) fits"),
        ("microvolts", "0.01 microvolts", "Leave --scale out"),
        ("mV", "V", r"say it \(--unit µV\)"),
        ("counts", "mV", r"say it \(--unit µV\)"),
        ("mV", None, r"say it \(--unit µV\)"),
    ],
)
def test_a_unit_that_was_given_wrongly_is_to_be_left_out(own, given, remedy):
    input_watch, bundle = watch(own, given=given)
    with pytest.raises(StreamMismatch, match=remedy):
        feed(input_watch, like_calibration(bundle, int(3.1 * SFREQ)))


def test_the_remedy_mends_it():
    _, bundle = watch()
    counts = like_calibration(bundle, 1000) / 0.02235
    mended, _ = watch("0.02235 microvolts")
    assert feed(mended, counts) == []
    volts, _ = watch("V")
    assert feed(volts, 1e-6 * like_calibration(bundle, 1000)) == []


@pytest.mark.parametrize("pattern", ["flat", "railed", "mains", "one channel everywhere"])
def test_a_dead_amplifier_and_its_return(pattern):
    input_watch, bundle = watch()
    samples = like_calibration(bundle, 12 * int(SFREQ))
    t = np.arange(len(samples)) / SFREQ
    dead = slice(4 * int(SFREQ), 8 * int(SFREQ))
    samples[dead] = {
        "flat": 0.0,
        "railed": 187500.0,
        "mains": 150 * np.sin(2 * np.pi * 50 * t[dead])[:, None],
        "one channel everywhere": samples[dead][:, :1],
    }[pattern]
    names = [event.name for event in feed(input_watch, samples)]
    assert names == ["amplifier_dead", "amplifier_back"]


def test_an_amplifier_that_is_dead_from_the_start_is_not_a_wrong_unit():
    input_watch, _ = watch()
    events = feed(input_watch, np.zeros((1000, len(LD))))
    assert [event.name for event in events] == ["amplifier_dead"]
    assert input_watch.dead


@pytest.mark.parametrize("true_rate", [125.0, 80.0, 320.0])
def test_a_wrong_rate_is_refused_within_five_seconds(true_rate):
    input_watch, bundle = watch()
    n = int(5 * true_rate)
    with pytest.raises(StreamMismatch, match=f"declared 200 Hz, got {true_rate:g} samples"):
        feed(input_watch, like_calibration(bundle, n), 50.0 + np.arange(n) / true_rate)


def test_a_rate_that_is_a_little_off_is_said():
    input_watch, bundle = watch()
    (event,) = feed(input_watch, like_calibration(bundle, 2000), 50.0 + np.arange(2000) / 202.0)
    assert event.name == "wrong_rate"
    assert event.details["measured_hz"] == pytest.approx(202.0, rel=1e-3)


@pytest.mark.parametrize("size", [2, 9, 16])
def test_bursts_jitter_gaps_and_clock_jumps_are_no_wrong_rate(size):
    input_watch, bundle = watch()
    n, rng = 6000, np.random.default_rng(size)
    stamps = 50.0 + (np.arange(n) // size * size + size - 1) / SFREQ
    stamps += np.repeat(rng.exponential(0.004, n // size + 1), size)[:n]
    stamps[1000:] += 7.0
    stamps[2000:] -= 3600.0
    kept = np.r_[0:2600, 2700:n]
    assert feed(input_watch, like_calibration(bundle, n)[kept], stamps[kept], size) == []


@pytest.mark.parametrize("what", [np.inf, np.nan, 0.7, -0.7])
def test_a_wrong_rate_is_found_through_single_wrong_stamps(what):
    input_watch, bundle = watch()
    stamps = 50.0 + np.arange(1200) / 180.0
    stamps[99::200] += what
    with pytest.raises(StreamMismatch, match="declared 200 Hz, got 180"):
        feed(input_watch, like_calibration(bundle, 1200), stamps, 1)


def test_stamps_that_are_no_numbers_do_no_harm():
    input_watch, bundle = watch()
    stamps = 50.0 + np.arange(4000) / SFREQ
    stamps[499::500] = np.inf
    stamps[7::800] = np.nan
    assert feed(input_watch, like_calibration(bundle, 4000), stamps, 1) == []


def test_the_factories_signal_is_taken_for_eeg():
    """Tests of the loop feed it: were it refused, they would test nothing else."""
    input_watch, _ = watch()
    samples = ld_signal(2000)
    assert feed(input_watch, samples) == []
    assert input_watch.settled


@pytest.mark.parametrize(("times", "wrong"), [(12.0, False), (0.08, False), (1000.0, True)])
def test_where_amplitudes_are_other_peoples_only_a_unit_is_wrong(times, wrong):
    """People differ tenfold; a unit is off by a thousand."""
    input_watch, bundle = watch(refuses=False, whose="population")
    events = feed(input_watch, times * like_calibration(bundle, 4000))
    assert [event.name for event in events] == ["wrong_scale"] * wrong
    assert not wrong or "other people" in events[0].text
    known, bundle = watch(refuses=False)
    assert feed(known, times * like_calibration(bundle, 4000))
