"""A session too short for networks of its own, or without torch, takes that of many people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration import CalibrationSettings, FieldCalibrator, stages
from calibration.population.network import network_of
from calibration.population.people import ADULT
from calibration.scores.held_out import estimate_recording
from emag_rt.core.scores import nmse
from emag_rt.recordings.read import read_recording
from tools.studies.cases import cut


@pytest.fixture(scope="module")
def person(data_dir):
    """S004 is none of the package's 17: ten seconds, and what came after them."""
    whole = read_recording(data_dir / "S004R01_raw.fif")
    return tuple(
        cut(whole, round(a * whole.sfreq), round(b * whole.sfreq)) for a, b in ((20, 30), (30, 60))
    )


def fit(recording, n_ld=8, **changes):
    return FieldCalibrator(n_ld, CalibrationSettings(**changes)).fit([recording]).result_


@pytest.fixture(scope="module")
def refined(person):
    return fit(person[0])


@pytest.fixture(scope="module")
def closed(person):
    return fit(person[0], refine=False)


def unseen_errors(recording, *results):
    found = [estimate_recording(result.bundle, recording, "packed") for result in results]
    unseen = list(found[0].unseen)
    truth = found[0].truth[:, unseen]
    return [nmse(truth, estimate.methods["field"][:, unseen]) for estimate in found]


@pytest.mark.data
def test_ten_seconds_do_better_with_it_and_it_is_said(person, refined, closed):
    with_it, alone = unseen_errors(person[1], refined, closed)
    assert with_it < 0.98 * alone
    ratio = refined.field.residual.split_ratios[0]
    own, without = (r.scores.methods["field"].nmse_unseen for r in (refined, closed))
    assert own == pytest.approx(ratio * without)
    facts = refined.bundle.manifest.calibration["residual"]
    assert facts["trained_on"] == network_of(ADULT).texts["people"]
    assert facts["fold_ratios"] == [ratio]
    assert closed.bundle.manifest.calibration["residual"] is None
    assert any("17 other people trained (adult)" in note for note in refined.notes)


@pytest.mark.data
def test_what_the_bundle_renders_is_what_was_judged(person, refined, closed):
    session, residual = refined.session, refined.field.residual
    found, without = (estimate_recording(r.bundle, person[0], "packed") for r in (refined, closed))
    labels = [session.montage.labels[row] for row in session.targets]
    columns = [found.labels.index(label) for label in labels]
    added = (found.methods["field"] - without.methods["field"])[:, columns]
    given = np.concatenate([residual.predict(x) for x, _ in session.target_segments])
    # A segment begins in silence, a stream with its first sample standing still.
    n = min(len(added), len(given)) - 300
    assert np.linalg.norm((added - given[-len(added) :])[-n:]) < 5e-3 * np.linalg.norm(given)


def corrected(closed, **changes):
    settings = replace(closed.settings, **changes)
    others = stages.others_network(closed.field, closed.session, settings)
    return stages.correct_by_others(closed.field, closed.session, others)


@pytest.mark.data
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"look_ahead_s": 0.02}, "without a look-ahead"),
        ({"band_hz": (1.0, 40.0)}, "from 0.5 to 45 Hz"),
    ],
)
def test_why_not_is_said(closed, changes, why):
    field = corrected(closed, **changes)
    assert field.residual is None
    assert f"without the network of many people (adult): it was trained {why}" in field.notes


@pytest.mark.data
def test_prior_none_is_without_it(closed):
    assert corrected(closed, prior="none") is closed.field


@pytest.mark.data
def test_where_it_does_harm_it_is_left_out(closed, monkeypatch):
    network = network_of(ADULT)
    wrong = replace(network, out=-3.0 * network.out)
    monkeypatch.setattr(stages, "network_of", lambda _name: wrong)
    field = corrected(closed)
    assert field.residual is None
    assert any("it does harm on blocks held out" in note for note in field.notes)


@pytest.fixture(scope="module")
def nine(person):
    return fit(person[0], 9), fit(person[0], 9, refine=False)


@pytest.mark.data
def test_with_counts_that_nobody_judged_the_session_tells_how_far_it_counts(person, nine):
    with_it, alone = unseen_errors(person[1], *nine)
    assert with_it < alone
    residual = nine[0].field.residual
    assert 0.05 < residual.gains[0] < 0.9
    assert (residual.gains == residual.gains[0]).all()
    own, without = (r.scores.methods["field"].nmse_unseen for r in nine)
    assert own == pytest.approx(residual.split_ratios[0] * without)
    said = f"it counts {residual.gains[0]:.2f}"
    assert any(said in note for note in nine[0].notes)


@pytest.mark.data
def test_with_such_counts_it_is_left_out_where_it_does_harm(nine, monkeypatch):
    closed = nine[1]
    wrong = replace(network_of(ADULT), out=-network_of(ADULT).out)
    monkeypatch.setattr(stages, "network_of", lambda _name: wrong)
    field = corrected(closed)
    assert field.residual is None
    assert "without the network of many people (adult): it adds too little" in field.notes


@pytest.mark.data
def test_gradient_steps_that_would_forget_other_people_are_not_taken(closed, monkeypatch):
    def steps(*_inputs, **_settings):
        raise AssertionError

    assert closed.field.linear.prior.people_s > 0
    monkeypatch.setattr(stages, "fit_residual", lambda *_inputs, **_settings: None)
    monkeypatch.setattr(stages, "refine_field", steps)
    watch = stages.Stopwatch(lambda *_told: None)
    field = stages.refine(
        closed.field, closed.session, replace(closed.settings, refine=True), watch, None
    )
    assert field.refinement is None
    assert field.residual.trained_on == network_of(ADULT).texts["people"]
