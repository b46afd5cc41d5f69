"""Labels and montages: one electrode has many spellings, one sphere, one place."""

import numpy as np
import pytest

from emag_rt.core.labels import canonical, match_labels, require_unique
from emag_rt.core.montage import Montage, fit_sphere, spread_choice
from emag_rt.errors import MontageError
from tests.factories import on_sphere


@pytest.mark.parametrize(
    ("spelling", "same_as"),
    [
        ("T3", "T7"),
        ("t4", "T8"),
        ("T5", "P7"),
        ("T6", "p8"),
        ("Fc5.", "FC5"),
        ("Fp1..", "fp1"),
        (" EEG Cz ", "CZ"),
        ("EEG T3-REF", "T7"),
        ("EEG_Oz-LE", "oz"),
        ("C3-A2", "C3"),
    ],
)
def test_spellings_of_one_electrode(spelling, same_as):
    assert canonical(spelling) == canonical(same_as)


@pytest.mark.parametrize(
    ("one", "other"), [("T7", "P7"), ("Fp1", "Fp2"), ("F3", "FC3"), ("1", "2")]
)
def test_different_electrodes_stay_apart(one, other):
    assert canonical(one) != canonical(other)


def test_match_follows_the_order_wanted_and_skips_extras():
    assert match_labels(["cz", "T7"], ["AUX", "T3", "CZ."], "amp") == [2, 1]


def test_match_names_what_is_missing_and_what_is_there():
    with pytest.raises(MontageError, match=r"amp: .*missing Oz; it has Cz, Pz"):
        match_labels(["Cz", "Oz"], ["Cz", "Pz"], "amp")


def test_match_refuses_two_channels_for_one_label():
    with pytest.raises(MontageError, match=r"'T7' must match one channel, got 'T3', 't7'"):
        match_labels(["T7"], ["T3", "t7"], "amp")


def test_unique_labels():
    require_unique(["T7", "T8"], "amp")
    with pytest.raises(MontageError, match="'T8' and 'T4'"):
        require_unique(["T7", "T8", "T4"], "amp")


def test_montage_checks_shapes_values_and_names():
    points = np.eye(3) * 95.0
    montage = Montage(("A", "B", "C"), points)
    assert len(montage) == 3
    assert montage.index(["c", "A"]) == [2, 0]
    np.testing.assert_array_equal(montage.select([2, 0]).positions_mm, points[[2, 0]])
    with pytest.raises(MontageError, match=r"\(2, 3\)"):
        Montage(("A", "B"), points)
    with pytest.raises(MontageError, match="B"):
        Montage(("A", "B", "C"), np.where(np.eye(3)[1][:, None], np.nan, points))
    with pytest.raises(MontageError, match="unique"):
        Montage(("T3", "T7", "C"), points)


def test_sphere_fit_is_exact(rng):
    centre, radius = np.array([3.0, -7.0, 41.0]), 88.5
    points = centre + radius * on_sphere(rng, 12) / 95.0
    found_centre, found_radius = fit_sphere(points)
    np.testing.assert_allclose(found_centre, centre, atol=1e-9)
    assert found_radius == pytest.approx(radius, abs=1e-9)


@pytest.mark.parametrize(
    "points",
    [
        np.eye(3) * 95.0,
        np.column_stack([np.random.default_rng(0).normal(size=(20, 2)) * 80, np.zeros(20)]),
        on_sphere(np.random.default_rng(0), 20) / 1000.0,
        on_sphere(np.random.default_rng(0), 20) * 1000.0,
    ],
    ids=["three points", "a plane", "metres", "micrometres"],
)
def test_sphere_fit_refuses_what_is_no_head(points):
    with pytest.raises(MontageError, match=r"positions|electrodes"):
        fit_sphere(points)


def test_spread_choice_covers_better_than_chance(rng):
    points = on_sphere(rng, 60)
    unit = points / 95.0
    angle = np.arccos(np.clip(unit @ unit.T, -1, 1))

    def cover(rows):
        return angle[:, rows].min(axis=1).mean()

    chosen = spread_choice(points, 8)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 8
    others = [cover(rng.choice(60, 8, replace=False)) for _ in range(200)]
    assert cover(chosen) < min(others)
    assert spread_choice(points, 8) == chosen
    assert spread_choice(points, 60) == list(range(60))


@pytest.mark.parametrize("count", [0, 5])
def test_spread_choice_refuses_impossible_counts(count, rng):
    with pytest.raises(MontageError, match="from 1 to the 4"):
        spread_choice(on_sphere(rng, 4), count)
