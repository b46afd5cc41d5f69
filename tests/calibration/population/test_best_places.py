"""A count without HD: the electrodes from which other people are rendered best."""

import numpy as np

from calibration.population.best_places import best_places
from calibration.population.estimate import NOISE, Places, expected_errors, make_timing
from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
from calibration.population.people import load_population
from emag_rt.core.montage import Montage, spread_choice


def expected(population, hd, rows):
    """Error left on all electrodes, over people."""
    rest = [i for i in range(len(hd)) if i not in rows]
    places = Places(population, hd.positions_mm[list(rows)], hd.positions_mm[rest])
    found = expected_errors(places, make_timing(population, 160.0), NOISE, {})
    return found.error.sum(axis=1).mean()


def test_they_leave_less_error_than_electrodes_spread_evenly():
    adult = load_population()
    hd = adult.places.select(range(0, len(adult.places), 3))
    rows = best_places(6, hd, adult)
    assert len(set(rows)) == 6
    spread = spread_choice(hd.positions_mm, 6)
    assert expected(adult, hd, rows) < 0.9 * expected(adult, hd, spread)


def test_of_many_near_one_place_the_nearest_is_worn(population):
    places = population.places.positions_mm
    moved = places + np.array([0.0, 6.0, 0.0])
    labels = (*(f"far{i}" for i in range(len(places))), *population.places.labels)
    rows = best_places(5, Montage(labels, np.concatenate([moved, places])), population)
    assert min(rows) >= len(places)


def test_far_from_the_populations_places_they_are_spread(population):
    places = Montage(("A", "B", "C", "D"), -2.0 * population.places.positions_mm[:4])
    assert best_places(2, places, population) == tuple(spread_choice(places.positions_mm, 2))


def test_the_bundle_says_which_to_wear(population):
    made = calibrate_without_hd(NoHdSettings(4, "cap", 160.0), (), population)
    rows = best_places(4, made.hd, population)
    assert made.ld.labels == tuple(made.hd.labels[i] for i in rows)
    assert any("wear them" in note for note in made.notes)
