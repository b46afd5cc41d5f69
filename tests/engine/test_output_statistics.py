"""Modes of the output: the map is folded, the noise is what it should be, chunks change nothing."""

from dataclasses import replace

import numpy as np
import pytest

from emag_rt import Upsampler
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.core.output_statistics import MODES, OutputStatistics, SimulatedNoise
from emag_rt.engine.offline import render_recording
from emag_rt.errors import SettingsError
from emag_rt.native import why_not
from tests.factories import (
    LD,
    REST,
    ld_signal,
    make_bundle,
    random_cuts,
    relative,
    with_statistics,
)

N_LD = len(LD)
ENGINES = ["packed", "onnx", "torch"] + ([] if why_not() else ["native"])


@pytest.fixture(scope="module")
def bundle():
    return with_statistics(make_bundle(4, hidden="dilated"))


def rendered(bundle, ld, **options):
    return render_recording(Upsampler(bundle, **{"engine": "packed", **options}), ld)


def test_matched_is_the_map_of_the_estimate_and_measured_channels_stay(bundle):
    ld = ld_signal(300)
    estimate, matched = (rendered(bundle, ld, statistics=s) for s in ("estimate", "matched"))
    mean = estimate[:, :N_LD].mean(axis=1, keepdims=True)
    wanted = (estimate - mean) @ bundle.statistics.transport.T + mean
    np.testing.assert_array_equal(matched[:, :N_LD], estimate[:, :N_LD])
    assert relative(matched[:, N_LD:], wanted[:, N_LD:]) < 1e-4
    half = rendered(bundle, ld, statistics="matched", statistics_mix=0.5)
    assert relative(half, (estimate + matched) / 2) < 1e-4


def test_simulated_adds_noise_to_rendered_channels_alone(bundle):
    ld = ld_signal(4000)
    estimate, matched, simulated = (rendered(bundle, ld, statistics=s) for s in MODES)
    np.testing.assert_array_equal(simulated[:, :N_LD], estimate[:, :N_LD])
    noise = simulated[:, N_LD:] - matched[:, N_LD:]
    mixing = bundle.statistics.mixing[N_LD:]
    assert relative(np.cov(noise.T), mixing @ mixing.T) < 0.2
    assert np.abs(np.corrcoef(noise[:, 0], matched[:, N_LD])[0, 1]) < 0.1
    half = rendered(bundle, ld, statistics="simulated", statistics_mix=0.5)
    assert relative(half, (estimate + simulated) / 2) < 1e-4
    other = rendered(bundle, ld, statistics="simulated", seed=1)
    assert relative(other, simulated) > 0.01


@pytest.mark.parametrize("mode", ["matched", "simulated"])
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_and_chunks_change_nothing(bundle, engine, mode):
    ld = ld_signal(200)
    whole = rendered(bundle, ld, statistics=mode)
    upsampler = Upsampler(bundle, engine=engine, statistics=mode)
    for _ in range(2):  # and again after a reset
        parts = []
        for cut in random_cuts(np.random.default_rng(1), len(ld), 40):
            parts.append(upsampler.push(ld[cut])[0])
            upsampler.prepare()
        assert relative(np.concatenate(parts), whole) < 1e-4
        upsampler.reset()


def test_rows_skipped_for_being_late_use_up_their_noise(bundle):
    ld = ld_signal(60)
    whole = rendered(bundle, ld, statistics="simulated")
    upsampler = Upsampler(bundle, engine="packed", statistics="simulated")
    upsampler.push(ld[:20])
    assert np.isnan(upsampler.push(ld[20:30], skip=True)[0]).all()
    assert relative(upsampler.push(ld[30:])[0], whole[30:]) < 1e-5


def test_noise_has_the_spectrum_of_its_autoregression():
    """One part with reflection k at lag one alone: its neighbours correlate by k."""
    statistics = OutputStatistics(np.eye(1), np.array([[3.0]]), np.array([[0.7, 0.0]]), 0.0, 0.0)
    noise = SimulatedNoise(statistics, 1.0, [0]).take(20_000)[:, 0]
    assert noise.std() == pytest.approx(3.0, rel=0.05)
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(0.7, abs=0.03)


def test_a_montage_of_worn_electrodes_keeps_the_statistics(bundle):
    ld, labels = ld_signal(100), ("Pz", "Cz", "F3")
    rows = [(LD + REST).index(label) for label in labels]
    for mode in ("matched", "simulated"):
        few = rendered(bundle, ld, statistics=mode, montage=",".join(labels))
        assert relative(few, rendered(bundle, ld, statistics=mode)[:, rows]) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistics": "perfect"}, "statistics must be one of"),
        ({"statistics": "matched", "statistics_mix": 1.5}, "statistics_mix must be from 0 to 1"),
        ({"statistics": "matched", "engine": "direct"}, "engine auto"),
        ({"statistics": "simulated", "engine": "direct"}, "engine auto"),
        ({"statistics": "simulated", "montage": "cap,NEW=40/40/40"}, "nobody wore"),
    ],
)
def test_what_cannot_be_is_refused(bundle, options, message):
    with pytest.raises(SettingsError, match=message):
        Upsampler(bundle, **{"engine": "packed", **options})


def test_bundles_keep_them_and_older_ones_are_to_be_calibrated_again(bundle, tmp_path):
    save_bundle(bundle, tmp_path / "new.emag")
    save_bundle(replace(bundle, statistics=None), tmp_path / "old.emag")
    kept, ld = load_bundle(tmp_path / "new.emag"), ld_signal(50)
    np.testing.assert_array_equal(kept.statistics.transport, bundle.statistics.transport)
    for mode in ("matched", "simulated"):
        wanted = rendered(bundle, ld, statistics=mode)
        np.testing.assert_array_equal(rendered(kept, ld, statistics=mode), wanted)
        with pytest.raises(SettingsError, match="Calibrate again"):
            Upsampler.load(tmp_path / "old.emag", statistics=mode)
    Upsampler.load(tmp_path / "old.emag")


def test_the_error_to_be_expected_is_that_of_the_mode(bundle):
    found = {
        mode: Upsampler(bundle, engine="packed", statistics=mode).expected_nmse for mode in MODES
    }
    assert [found[mode][-1] for mode in found] == pytest.approx([0.25, 0.3, 0.5])
    assert found["simulated"][0] is None
