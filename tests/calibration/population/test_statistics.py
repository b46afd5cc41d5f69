"""One person's statistics: what is bad stays out, no reference counts, every place is filled."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.population.people import robust_mean
from calibration.population.statistics import person_statistics, repaired
from emag_rt.errors import CalibrationError
from emag_rt.frontend import design_band

SOS = design_band(0.5, 45.0, 160.0)


def statistics(recording, labels=None):
    return person_statistics("P", [recording], labels or recording.labels, SOS)


def test_bridged_and_wild_electrodes_are_found_and_told(recordings):
    person = statistics(recordings["P0"])
    assert set(np.flatnonzero(~person.good)) == {3, 4, 7}
    assert not person.covariances[:, 7].any()
    assert any("wild" in note for note in person.notes)
    assert any("bridged" in note for note in person.notes)
    assert statistics(recordings["P1"]).good.all()


def test_no_reference_changes_them(recordings):
    recording = recordings["P1"]
    common = 100.0 * np.random.default_rng(0).normal(size=(len(recording.data_uv), 1))
    other = replace(recording, data_uv=recording.data_uv + common)
    one, two = statistics(recording).covariances, statistics(other).covariances
    np.testing.assert_allclose(two, one, rtol=1e-6, atol=1e-6 * one.max())


def test_missing_places_are_filled_near_the_truth(recordings):
    everyone = [statistics(recordings[name]) for name in ("P1", "P2", "P3", "P4")]
    places = recordings["P1"].montage().positions_mm
    whole, _ = repaired(everyone, places)
    good = everyone[0].good.copy()
    good[[10, 11]] = False
    hidden = everyone[0].covariances.copy()
    hidden[:, [10, 11]] = hidden[:, :, [10, 11]] = 0.0
    filled, _ = repaired(
        [replace(everyone[0], covariances=hidden, good=good), *everyone[1:]], places
    )
    truth, found = whole[0][0], filled[0][0]
    assert np.linalg.norm(found - truth) < 0.35 * np.linalg.norm(truth)
    assert np.linalg.eigvalsh(found).min() > -1e-9
    assert found[10, 10] > 0.3 * truth[10, 10]


def test_everyone_has_unit_power_and_an_amplitude(population):
    power = np.trace(population.covariances[:, 0], axis1=1, axis2=2) / len(population.places)
    np.testing.assert_allclose(power, 1.0)
    # The people are the same in kind, once to four times as loud.
    assert population.amplitudes_uv[3] > 1.5 * population.amplitudes_uv[1]
    assert abs(population.covariances.sum(axis=2)).max() < 1e-9


def test_one_odd_person_cannot_drag_the_mean_away():
    rng = np.random.default_rng(3)
    people = 1.0 + 0.1 * rng.normal(size=(9, 4, 4))
    people[0] = 100.0
    assert abs(people.mean(axis=0) - 1.0).min() > 5.0
    assert abs(robust_mean(people) - 1.0).max() < 0.3


def test_too_little_is_refused(recordings):
    recording = recordings["P1"]
    short = replace(recording, segments=((0, 800),))
    with pytest.raises(CalibrationError, match="at least 20 s"):
        statistics(short)
    with pytest.raises(CalibrationError, match="half of the population"):
        statistics(recording, [f"Q{i}" for i in range(40)] + list(recording.labels))
