"""A short HD session that leans on other people's heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration import CalibrationSettings, FieldCalibrator
from calibration.population.people import load_population, save_population
from calibration.population.session_prior import session_people
from calibration.regression.profiles import candidate_banks
from calibration.report.write import report_of_bundle
from calibration.scores.held_out import evaluate_recording
from calibration.session.segments import open_session
from emag_rt.bundle import load_bundle
from emag_rt.errors import CalibrationError, SettingsError
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from tools.studies.cases import cut


def settings(**changes):
    return CalibrationSettings(refine=False, **changes)


@pytest.fixture(scope="module")
def ten_seconds(recordings):
    """Of the person whom the population does not know."""
    return cut(recordings["P4"], 0, round(10 * recordings["P4"].sfreq))


@pytest.fixture(scope="module")
def file(population, tmp_path_factory):
    path = tmp_path_factory.mktemp("prior") / "own.safetensors"
    save_population(population, path)
    return str(path)


def test_how_much_other_people_count_is_written_down(ten_seconds, file):
    result = FieldCalibrator(8, settings(prior=file)).fit([ten_seconds]).result_
    facts = result.bundle.manifest.calibration
    assert facts["prior"]["name"] == "made-up"
    assert facts["prior"]["n_people"] == 4
    seconds = facts["prior"]["counts_as_s"]
    assert seconds > 0, "four heads like this one must help ten seconds of it"
    assert any(f"count as {seconds:g} s of signal" in note for note in facts["notes"])
    assert any("2 to 5 minutes" in note for note in result.notes)


def test_a_report_goes_on_without_a_population_of_ones_own(ten_seconds, file, tmp_path):
    """Its file is on another computer: the report says so, and scores a field without it."""
    recording, own = tmp_path / "own_raw.fif", tmp_path / "heads.safetensors"
    write_raw(
        recording,
        ten_seconds.data_uv,
        ten_seconds.labels,
        ten_seconds.sfreq,
        ten_seconds.montage().positions_mm,
        origin_mm=ten_seconds.origin_mm,
    )
    own.write_bytes(Path(file).read_bytes())
    calibrator = FieldCalibrator(8, settings(prior=str(own))).fit([recording])
    calibrator.save(tmp_path / "s01.emag")
    own.unlink()
    bundle = load_bundle(tmp_path / "s01.emag")
    page = tmp_path / "s01.html"
    verdict = report_of_bundle(bundle, [recording], page, curves="no")
    said = [text for text in verdict.caveats if "4 other people (made-up)" in text]
    assert len(said) == 1
    assert "fitted without them" in said[0]
    assert said[0] in page.read_text(encoding="utf-8")


def test_none_is_without_other_people(ten_seconds):
    result = FieldCalibrator(8, settings(prior="none")).fit([ten_seconds]).result_
    assert result.bundle.manifest.calibration["prior"] is None
    assert result.field.linear.prior.people_s == 0


@pytest.mark.parametrize("sfreq", [100.0, 160.0, 500.0])
@pytest.mark.parametrize("ahead", [0, 5])
def test_their_covariance_is_one_at_any_rate(ten_seconds, sfreq, ahead):
    """At once it is the population's own in the inputs' units; and no power is negative."""
    session = open_session([ten_seconds], 8, settings())
    people, _ = session_people(session, settings())
    people = type(people)(people.places, people.scale_uv, sfreq)
    bank = candidate_banks(sfreq, ahead)[-1]
    found = people(bank, ahead)
    n = found.ld_ld.shape[0] * 8
    values = np.linalg.eigvalsh(found.ld_ld.reshape(n, n))
    assert values.min() > -0.02 * values.max()
    now = int(np.flatnonzero(np.abs(bank.centers_s[found.profiles]) < 1e-9)[0])
    places, scale = people.places, people.scale_uv
    mean = places.population.mean()[0]
    n_hd = len(places.hd_mm)
    carried = places.carry
    at_once = carried[n_hd:] @ mean @ carried[:n_hd].T
    np.testing.assert_allclose(found.ld_out[now], at_once / scale[:, None], rtol=1e-6, atol=1e-9)


def test_what_cannot_be_used_is_noted_by_default_and_refused_by_name(ten_seconds, file):
    session = open_session([ten_seconds], 8, settings())
    people, notes = session_people(session, settings(look_ahead_s=0.2))
    assert people is None
    assert "look-ahead" in notes[0]
    with pytest.raises(CalibrationError, match="--prior none"):
        session_people(session, settings(look_ahead_s=0.2, prior=file))
    with pytest.raises(CalibrationError, match=r"--prior must be one of adult, or a file"):
        session_people(session, settings(prior="nobody"))
    with pytest.raises(SettingsError, match="windows"):
        settings(prior="adult", anchor="window")


@pytest.mark.data
def test_ten_real_seconds_do_better_with_other_people(data_file):
    """S004 is none of the package's 17."""
    whole = read_recording(data_file("S004R01_raw.fif"))
    first, last = (
        cut(whole, round(a * whole.sfreq), round(b * whole.sfreq)) for a, b in ((0, 10), (30, 60))
    )
    assert "S004" not in load_population().texts["people"]
    error = {}
    for prior in ("adult", "none"):
        bundle = FieldCalibrator(8, settings(prior=prior)).fit([first]).result_.bundle
        scored = evaluate_recording(bundle, last, "packed")
        error[prior] = scored.methods["field"]["unseen"]["nmse"]
    assert error["adult"] < 0.99 * error["none"]
