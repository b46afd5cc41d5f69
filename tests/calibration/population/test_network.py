"""The network upon the field of many people: what it adds, anywhere, and where it is off."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.population.estimate import Places, conditional_weights, make_timing, moments
from calibration.population.network import (
    PopulationNetwork,
    load_network,
    network_of,
    save_network,
    unexplained,
)
from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
from calibration.population.people import load_population, population_names, save_population
from calibration.regression.profiles import apply_taps, taps
from calibration.report.without_hd import judge_without_hd, report_without_hd
from emag_rt import Upsampler
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter

N_UNITS, N_BLOCKS, GAIN = 6, 3, 0.5


@pytest.fixture(scope="module")
def network(population):
    rng = np.random.default_rng(3)
    n = len(population.places)
    return PopulationNetwork(
        into=rng.normal(size=(N_UNITS, n)) / np.sqrt(n),
        inner=rng.normal(size=(N_BLOCKS, N_UNITS, 2 * N_UNITS)) / N_UNITS,
        mix=rng.normal(size=(N_BLOCKS, N_UNITS, N_UNITS)) / N_UNITS,
        out=0.2 * rng.normal(size=(n, N_UNITS)),
        rates_hz=np.array([120.0, 210.0]),
        counts=np.array([4.0, 8.0]),
        gains=np.array([GAIN, GAIN]),
        left=np.array([0.8, 0.9]),
        worst=np.array([1.0, 1.1]),
        texts={"people": population.texts["people"], "command": "made up"},
    )


def render(made, recording, n=600, scale=1.0):
    data = scale * recording.data_uv[:n]
    upsampler = Upsampler(made.bundle, channels=recording.labels, engine="direct")
    return upsampler.push(data)[0].astype(np.float64)


def by_hand(population, network, made, hd_mm, x, step):
    """The correction at some places for filtered LD in µV relative to its mean, no engine."""
    timing = make_timing(population, made.bundle.manifest.sfreq)
    mean, ld_mm = population.mean(), made.ld.positions_mm
    there = Places(population, ld_mm, population.places.positions_mm)
    weights = conditional_weights(moments(there, timing, mean, made.wearer.noise))
    bank = timing.bank
    kernel = taps(bank.centers_s, bank.widths_s, timing.sfreq, 0, timing.n_lags)
    z = apply_taps(x, kernel)
    h = np.einsum("egc,tgc->te", weights, z) @ network.into.T
    for place in range(N_BLOCKS):
        back = step * 2**place
        ago = np.concatenate([np.zeros((back, N_UNITS)), h])[: len(h)]
        inner = np.maximum(np.concatenate([ago, h], axis=1) @ network.inner[place].T, 0.0)
        h = h + inner @ network.mix[place].T
    wanted = Places(population, ld_mm, hd_mm)
    carry = unexplained(wanted, timing, moments(wanted, timing, mean, made.wearer.noise))
    return GAIN * np.maximum(h, 0.0) @ network.out.T @ carry.T


@pytest.mark.parametrize(("sfreq", "step"), [(160.0, 1), (320.0, 2)])
def test_it_adds_what_it_gives_at_the_places_to_any_electrodes(
    population, network, recordings, sfreq, step
):
    settings = NoHdSettings(6, "cap,NEW=10/60/60", sfreq)
    refined = calibrate_without_hd(settings, (), population, network)
    plain = calibrate_without_hd(replace(settings, refine=False), (), population, network)
    assert refined.network is network
    assert plain.network is None
    recording = recordings["P4"]
    added = render(refined, recording) - render(plain, recording)
    filtered = CausalFilter(
        np.array(refined.bundle.manifest.frontend.sos), len(refined.ld)
    ).process(recording.data_uv[:600, [recording.labels.index(a) for a in refined.ld.labels]])
    x = filtered - filtered.mean(axis=1, keepdims=True)
    wanted = by_hand(population, network, refined, refined.hd.positions_mm, x, step)
    rows = list(refined.rendered)
    # A stream begins with its first sample standing still for ever, not with silence.
    error = (added - wanted)[200:, rows]
    assert np.linalg.norm(error) < 2e-3 * np.linalg.norm(wanted[200:, rows])
    measured = [i for i in range(len(refined.hd)) if i not in rows]
    assert np.abs(added[:, measured]).max() < 1e-3 * np.abs(added).max()


def test_twice_the_signal_gives_twice_the_correction(population, network, recordings):
    made = calibrate_without_hd(NoHdSettings(6, "cap", 160.0), (), population, network)
    one, two = (render(made, recordings["P4"], scale=scale) for scale in (1.0, 2.0))
    assert np.allclose(two, 2.0 * one, atol=1e-3 * np.abs(two).max())


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"band_hz": (1.0, 40.0)}, "from 0.5 to 45 Hz"),
        ({"look_ahead_s": 0.0125}, "without a look-ahead"),
        ({"sfreq": 230.0}, "230 Hz"),
        ({"ld": 9}, "4 to 8 LD channels"),
        ({"ld": 3}, "4 to 8 LD channels"),
    ],
)
def test_where_nobody_judged_it_it_is_off_and_that_is_said(population, network, changed, text):
    settings = replace(NoHdSettings(6, "cap", 160.0), **changed)
    made = calibrate_without_hd(settings, (), population, network)
    assert made.network is None
    assert made.bundle.model.drive.hidden is None
    assert "network" not in made.bundle.manifest.calibration
    assert any("field alone" in note and text in note for note in made.notes)


@pytest.mark.usefixtures("undrawn")
def test_expected_errors_count_it_and_the_report_tells(population, network, tmp_path):
    settings = NoHdSettings(6, "cap", 160.0)
    refined = calibrate_without_hd(settings, (), population, network)
    plain = calibrate_without_hd(replace(settings, refine=False), (), population, network)
    ratio = np.median(refined.expected.nmse()) / np.median(plain.expected.nmse())
    assert ratio == pytest.approx(0.85, abs=1e-4)  # halfway between 4 and 8 LD channels
    facts = refined.bundle.manifest.calibration["network"]
    assert facts["error_left"] == pytest.approx(0.85)
    assert facts["trained_on"] == population.texts["people"]
    for made, text in ((refined, "leaves 0.85 of the field"), (plain, "the field alone")):
        path = tmp_path / "any.html"
        assert report_without_hd(made, "0" * 64, path).headline == judge_without_hd(made).headline
        assert text in path.read_text(encoding="utf-8")


def test_the_file_holds_all_of_it(network, tmp_path):
    path = tmp_path / "own.network.safetensors"
    save_network(replace(network, into=np.asfortranarray(network.into)), path)
    found = load_network(path)
    assert found.texts == network.texts
    for name in ("into", "inner", "mix", "out"):
        assert np.allclose(getattr(found, name), getattr(network, name), rtol=1e-3, atol=1e-4)
    assert np.array_equal(found.left, network.left)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CalibrationError, match="Make it again"):
        load_network(path)


def test_the_package_brings_one_for_its_own_people_only():
    adult = load_population()
    network = network_of("adult")
    timing = make_timing(adult, 160.0)
    assert not network.reason_against(adult, adult.band_hz, timing, 8)
    assert not network.reason_against(adult, adult.band_hz, timing, 25, weighed=True)
    told = network.reason_against(adult, adult.band_hz, timing, 28, weighed=True)
    assert told == "it was trained with 4 to 25 LD channels"
    fewer = replace(adult, texts={**adult.texts, "people": "S001,S003"})
    assert "other people" in network.reason_against(fewer, adult.band_hz, timing, 8)
    assert population_names() == ("adult",)


def test_a_population_of_ones_own_has_its_network_beside_it(population, network, tmp_path):
    file = str(tmp_path / "children.safetensors")
    save_population(population, file)
    assert network_of(file) is None
    settings = NoHdSettings(6, "cap", 160.0, population=file)
    assert calibrate_without_hd(settings).network is None
    save_network(network, tmp_path / "children.network.safetensors")
    found = calibrate_without_hd(settings).network
    assert found is not None
    assert np.array_equal(found.counts, network.counts)
    assert calibrate_without_hd(replace(settings, refine=False)).network is None
