"""The floor is a floor, and it is reached."""

from itertools import pairwise

import numpy as np
import pytest

from emag_rt.errors import SettingsError
from tools.studies.simulation.methods import calibrate, draw_test, linear_methods, served
from tools.studies.simulation.wiener import apply

N_LAGS = 60


@pytest.fixture(scope="module")
def fitted(subject, rows):
    data, _ = subject.draw(int(60 * subject.sfreq), 10)
    return calibrate(subject, data, rows[0])


@pytest.fixture(scope="module")
def signal(subject, rows):
    return draw_test(subject, 400.0, 11, *rows)


def test_exact_errors_are_those_of_a_long_draw(problem, fitted, signal):
    methods = {**linear_methods(fitted), "optimal": problem[0].optimal(N_LAGS)}
    for weights in methods.values():
        estimate = apply(weights, signal.x)
        assert signal.nmse(estimate) == pytest.approx(problem[0].nmse(weights), rel=0.06)
        assert signal.nmse(estimate, True) == pytest.approx(problem[1].nmse(weights), rel=0.06)


def test_no_linear_method_is_below_the_floor(problem, fitted, signal):
    best = problem[0].optimal(N_LAGS)
    floor, sampled = problem[0].nmse(best), signal.nmse(apply(best, signal.x))
    for name, weights in linear_methods(fitted).items():
        assert problem[0].nmse(weights) > floor, name
        assert signal.nmse(apply(weights, signal.x)) > 0.995 * sampled, name


def test_moving_the_optimal_filter_anywhere_makes_it_worse(problem):
    rng = np.random.default_rng(0)
    best = problem[0].optimal(8)
    for _ in range(5):
        moved = best + 0.05 * rng.standard_normal(best.shape)
        assert problem[0].nmse(moved) > problem[0].nmse(best)


def test_more_lags_lower_the_floor_until_it_saturates(problem):
    floors = [problem[0].nmse(problem[0].optimal(n)) for n in (1, 4, 16, 60, 120)]
    assert all(a > b for a, b in pairwise(floors))
    assert floors[-2] / floors[-1] < 1.002 < floors[0] / floors[-1]


def test_more_calibration_comes_nearer_to_the_floor(subject, rows, problem, fitted):
    data, _ = subject.draw(int(15 * subject.sfreq), 10)
    short = linear_methods(calibrate(subject, data, rows[0]))["field"]
    long = linear_methods(fitted)["field"]
    assert problem[0].nmse(short) > problem[0].nmse(long)


def test_what_is_served_is_the_filter_that_is_scored(subject, fitted, signal):
    weights = linear_methods(fitted)["field"]
    rendered = served(fitted, subject, signal)[signal.skip :]
    expected = (apply(weights, signal.x) + fitted.field.linear.bias)[signal.skip :]
    assert np.abs(rendered - expected).max() < 1e-3 * np.abs(expected).max()


def test_the_same_filter_is_best_for_noisy_and_clean_outputs(problem):
    noisy, clean = (p.optimal(10) for p in problem)
    np.testing.assert_allclose(noisy, clean, atol=1e-6)
    assert problem[1].nmse(clean) < problem[0].nmse(noisy)


def test_weights_with_too_many_lags_are_refused(problem):
    n_ld = problem[0].n_ld
    with pytest.raises(SettingsError, match="at most 160 lags, got 161"):
        problem[0].nmse(np.zeros((161, n_ld, len(problem[0].yy))))
