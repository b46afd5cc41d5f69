"""The population and its file."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from calibration.population.people import load_population, population_names, save_population
from emag_rt.errors import CalibrationError


def test_a_file_holds_what_was_saved(population, tmp_path):
    path = tmp_path / "own.safetensors"
    save_population(population, path)
    again = load_population(str(path))
    assert again.places.labels == population.places.labels
    assert again.texts == population.texts
    np.testing.assert_allclose(again.places.positions_mm, population.places.positions_mm)
    np.testing.assert_allclose(again.covariances, population.covariances, rtol=1e-3, atol=1e-4)
    assert again.band_hz == population.band_hz
    assert again.amplitude_uv == pytest.approx(population.amplitude_uv)


def test_the_shipped_one_is_small_and_says_where_it_comes_from():
    assert "adult" in population_names()
    adult = load_population()
    assert adult.n_people >= 15
    assert len(adult.places) == 64
    assert "ODC-By" in adult.texts["licence"]
    assert "Schalk" in adult.texts["attribution"]
    people = adult.texts["people"].split(",")
    assert len(people) == adult.n_people
    # A recording for tests alone must not be in it.
    assert "S004" not in people
    assert {run[:4] for run in adult.texts["runs"].split(",")} == set(people)
    assert 3.0 < adult.amplitude_uv < 100.0
    assert (adult.spread() > 0).any()


def test_leaving_a_person_out_changes_the_mean(population):
    assert not np.allclose(population.mean(), population.mean(without=0), rtol=1e-3)


def test_a_tenth_of_what_is_expected_is_a_plain_sphere(population):
    sphere = population.sphere
    assert sphere.shape == population.covariances.shape[1:]
    assert np.trace(sphere[0]) / len(sphere[0]) == pytest.approx(1.0)
    assert abs(sphere.sum(axis=1)).max() < 1e-9
    people = (population.mean() - 0.1 * sphere) / 0.9
    every = population.covariances
    assert (people[0] <= every[:, 0].max(axis=0) + 1e-9).all()
    assert (people[0] >= every[:, 0].min(axis=0) - 1e-9).all()
    # Neighbours go together, opposite sides do not.
    places = population.places.positions_mm
    order = np.argsort(np.linalg.norm(places[0] - places, axis=1))
    assert sphere[0][0, order[1]] > 0 > sphere[0][0, order[-1]]


def test_what_is_no_population_is_refused(population, tmp_path):
    with pytest.raises(CalibrationError, match="must be one of adult"):
        load_population("martian")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"nothing of the kind")
    with pytest.raises(CalibrationError, match="Make it again"):
        load_population(str(damaged))
    save_population(population, damaged)
    tensors = load_file(damaged)
    save_file(tensors, damaged, {"format": "99", "labels": "[]"})
    with pytest.raises(CalibrationError, match="another format"):
        load_population(str(damaged))
    tensors["amplitudes_uv"][0] = np.nan
    save_file(tensors, damaged, {"format": "1", "labels": "[]"})
    with pytest.raises(CalibrationError, match="not finite"):
        load_population(str(damaged))
