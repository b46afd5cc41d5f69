"""A bundle that nobody's HD was measured for: complete, sober, and better than interpolation."""

import numpy as np
import pytest

from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
from calibration.population.people import load_population
from calibration.report.without_hd import judge_without_hd, report_without_hd
from calibration.scores.held_out import evaluate_recording
from emag_rt import Upsampler
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.errors import CalibrationError, MontageError, SettingsError
from emag_rt.recordings.read import read_recording


@pytest.fixture(scope="module")
def made(population):
    return calibrate_without_hd(NoHdSettings(8, "cap", 160.0), (), population)


def test_it_beats_the_spline_on_a_head_that_it_has_not_seen(made, recordings):
    result = evaluate_recording(made.bundle, recordings["P4"], "packed")
    assert result.ratios["spherical_spline"] < 0.85
    assert result.ratios["minimum_norm"] < 0.95
    # What was promised is near what came.
    promised = np.median(made.expected.nmse())
    assert 0.5 < result.methods["field"]["unseen"]["nmse"] / promised < 2.0


def test_the_bundle_is_like_any_other(made, tmp_path, recordings):
    path = tmp_path / "any.emag"
    save_bundle(made.bundle, path)
    upsampler = Upsampler(load_bundle(path), channels=recordings["P4"].labels)
    hd, _ = upsampler.push(recordings["P4"].data_uv[:400])
    assert hd.shape == (400, len(made.hd))
    assert np.isfinite(hd).all()
    # A channel that fails is filled from the population's covariance.
    broken = recordings["P4"].data_uv[400:1200].copy()
    broken[:, recordings["P4"].labels.index(made.ld.labels[0])] = np.nan
    hd, _ = upsampler.push(broken)
    assert upsampler.bad == (made.ld.labels[0],)
    assert np.isfinite(hd).all()


def test_manifest_says_that_nobodys_hd_was_measured(made):
    manifest = made.bundle.manifest
    assert not manifest.hd_measured
    assert not manifest.amplitudes_known
    low, high = manifest.between_people
    assert low < manifest.method_scores["field"][0] < high
    assert manifest.calibration["population"]["n_people"] == 4
    measured = [e.label for e in manifest.hd if e.origin == "measured"]
    assert sorted(measured) == sorted(made.ld.labels)
    assert all(e.expected_nmse is not None for e in manifest.hd if e.origin == "rendered")
    assert any("nobody's HD was measured" in note for note in made.notes)


def test_between_electrodes_it_follows_the_population(made, population, recordings):
    """At the population's places the field is the conditional estimate, also at those not asked."""
    few = calibrate_without_hd(
        NoHdSettings(tuple(made.ld.labels), ",".join(made.hd.labels[:12]), 160.0), (), population
    )
    recording = recordings["P4"]
    rest = [i for i, a in enumerate(made.hd.labels) if a not in (*few.hd.labels, *few.ld.labels)]
    wanted = made.hd.select(rest)
    one, two = (
        Upsampler(bundle, channels=recording.labels, montage=wanted).push(recording.data_uv)[0]
        for bundle in (made.bundle, few.bundle)
    )
    assert len(rest) > 5
    assert np.linalg.norm(one - two) < 0.02 * np.linalg.norm(one)


def test_ld_recordings_give_scale_and_noise(made, population, people_files):
    told = calibrate_without_hd(
        NoHdSettings(tuple(made.ld.labels), "cap", 160.0), [people_files["P4"]], population
    )
    manifest = told.bundle.manifest
    assert manifest.amplitudes_known
    assert not manifest.hd_measured
    assert told.wearer.seconds == pytest.approx(29.0, abs=1.5)
    loud = np.sqrt(np.diag(told.bundle.covariance)).mean()
    usual = np.sqrt(np.diag(made.bundle.covariance)).mean()
    # The fifth person was made five times as loud as the first.
    assert loud > 1.5 * usual
    assert manifest.provenance["inputs"][0]["file"] == "P4_raw.fif"


@pytest.mark.parametrize("sfreq", [128.0, 320.0])
def test_the_wearers_ld_does_no_harm_at_rates_other_than_the_populations(
    made, population, people_files, sfreq
):
    """At 128 Hz the field reaches the population's last lags, at 320 Hz its profiles are smooth."""
    settings = NoHdSettings(tuple(made.ld.labels), "cap", sfreq)
    recording = read_recording(people_files["P4"], sfreq=sfreq)
    errors = [
        evaluate_recording(
            calibrate_without_hd(settings, paths, population).bundle, recording, "packed"
        ).methods["field"]["unseen"]["nmse"]
        for paths in ((), [people_files["P4"]])
    ]
    assert errors[1] < 1.02 * errors[0]


@pytest.mark.parametrize(
    ("ld", "hd", "sfreq"),
    [
        (("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2"), "biosemi64", 250.0),
        (("Fz", "Cz", "Pz", "Oz"), "standard_1020", 512.0),
        (("Fz", "Pz", "ear=-80/0/-10"), "cap,NEW=10/60/60", 128.0),
        (("A1", "B5", "C10", "D20"), "biosemi128", 256.0),
    ],
)
def test_any_electrodes_at_any_rate(population, ld, hd, sfreq):
    found = calibrate_without_hd(NoHdSettings(ld, hd, sfreq), (), population)
    assert found.bundle.manifest.sfreq == sfreq
    assert tuple(found.ld.labels) == tuple(name.partition("=")[0] for name in ld)
    assert np.median(found.expected.nmse()) < np.median(found.expected.nmse("spherical_spline"))


def test_one_name_for_two_places(population):
    """C3 of the 10-05 system is worn, BioSemi's is rendered: nothing is passed on as measured."""
    settings = NoHdSettings(("C3", "Cz", "C4", "Oz"), "biosemi128", 160.0)
    found = calibrate_without_hd(settings, (), population)
    assert "C3-hd" in found.hd.labels
    assert any("C3-hd" in note for note in found.notes)
    assert found.bundle.measured_rows(found.hd.labels) == []
    assert found.ld.positions_mm[0][0] < -40
    assert found.ld.positions_mm[0][2] > 30
    assert np.linalg.norm(found.ld.positions_mm[0] - found.ld.positions_mm[2]) > 80


def test_a_file_of_measured_positions(population, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["name\tx_mm\ty_mm\tz_mm"]
    for i, place in enumerate(population.places.positions_mm):
        x, y, z = 1.05 * place + rng.normal(size=3)
        lines.append(f"M{i}\t{x:.2f}\t{y:.2f}\t{z:.2f}")
    path = tmp_path / "cap.tsv"
    path.write_text("\n".join(lines))
    settings = NoHdSettings(("M1", "M9", "M17", "M25"), str(path), 200.0)
    found = calibrate_without_hd(settings, (), population)
    assert len(found.hd) == len(population.places)
    apart = np.linalg.norm(found.hd.positions_mm - population.places.positions_mm, axis=1)
    assert np.median(apart) < 6.0


def test_what_cannot_be_is_refused(population):
    for ld, text in ((("Fz",), "at least 2"), (("Fz", "XX9"), "XX9"), (40, "--ld must be from 2")):
        with pytest.raises(CalibrationError, match=text):
            calibrate_without_hd(NoHdSettings(ld, "cap", 160.0), (), population)
    with pytest.raises(MontageError, match="none of these"):
        calibrate_without_hd(NoHdSettings(4, "no_such_cap", 160.0), (), population)
    with pytest.raises(SettingsError, match="sfreq must be"):
        NoHdSettings(4, "cap", 3.0)


@pytest.mark.usefixtures("undrawn")
def test_the_verdict_is_sober_and_the_report_stands_alone(made, tmp_path):
    verdict = judge_without_hd(made)
    assert verdict.grade != "good"
    assert "nobody's HD was measured" in verdict.headline
    path = tmp_path / "any.html"
    assert report_without_hd(made, "0" * 64, path).headline == verdict.headline
    page = path.read_text(encoding="utf-8")
    assert "spherical spline" in page
    assert "made-up, 4 people" in page


@pytest.mark.data
@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "people",
    [("S009",), pytest.param(("S001", "S009", "S016", "S024"), marks=pytest.mark.soak)],
    ids=len,
)
def test_never_worse_than_the_spline_on_people_left_out(data_file, people):
    """Whole path, by the people of the package but the one that is scored; and another cap."""
    from tools.studies.population.leave_out import score_cap, without

    adult = load_population()
    over = {8: [], 16: []}
    for person in people:
        test, others = read_recording(data_file(f"{person}R04.edf")), without(adult, person)
        for n_ld, ratios in over.items():
            made = calibrate_without_hd(NoHdSettings(n_ld, "cap", 160.0), (), others)
            found = evaluate_recording(made.bundle, test, "packed")
            ratios.append(found.ratios["spherical_spline"])
    assert max(over[8] + over[16]) <= 1.0
    if len(people) > 1:
        assert np.median(over[8]) <= 0.78
        assert np.median(over[16]) <= 0.80
    cap = score_cap(adult, data_file("rank57_biosemi64_raw.fif"), 16)
    assert cap["field"] <= cap["spherical_spline"]
