"""The conditional estimate: right where the truth is known, the same at every rate."""

import numpy as np
import pytest

from calibration.population.estimate import (
    Places,
    at_lags,
    carry,
    conditional_weights,
    expected_errors,
    make_timing,
    moments,
)
from calibration.population.statistics import lagged_covariances
from emag_rt.core.drive import causal_fir, reference_free
from emag_rt.core.montage import spread_choice
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import CalibrationError


@pytest.fixture
def places(population):
    positions = population.places.positions_mm
    rows = spread_choice(positions, 8)
    rest = [i for i in range(len(positions)) if i not in rows]
    return Places(population, positions[rows], positions[rest]), rows, rest


def test_at_the_populations_own_rate_it_is_regression_on_lags(population, places, recordings):
    """Against moments that are counted out on signals."""
    electrodes, rows, rest = places
    data = recordings["P2"].data_uv - recordings["P2"].data_uv.mean(axis=1, keepdims=True)
    covariances = lagged_covariances([data], population.n_lags)
    timing = make_timing(population, population.sfreq)
    found = moments(electrodes, timing, covariances)
    centred, mean = reference_free(data[:, rows])
    y = (data[:, rest] - mean)[15:]
    z = causal_fir(np.eye(16), centred)
    np.testing.assert_allclose(found.yy, (y**2).mean(axis=0), rtol=0.02)
    counted = (y.T @ z / len(y)).reshape(found.yz.shape)
    np.testing.assert_allclose(found.yz, counted, atol=0.02 * abs(counted).max())
    inner = (z.T @ z / len(z)).reshape(found.zz.shape)
    np.testing.assert_allclose(found.zz, inner, atol=0.02 * abs(inner).max())
    weights = conditional_weights(found)
    error = y - z @ weights.reshape(len(rest), -1).T
    np.testing.assert_allclose(found.error(weights), (error**2).mean(axis=0), rtol=0.05, atol=0.1)


def test_nothing_errs_less_than_the_conditional_estimate(population, places):
    electrodes, *_ = places
    known = moments(electrodes, make_timing(population, 160.0), population.mean(), 0.01)
    weights = conditional_weights(known)
    least = known.error(weights).sum()
    rng = np.random.default_rng(0)
    for _ in range(5):
        moved = weights + 0.01 * rng.normal(size=weights.shape)
        assert known.error(moved).sum() > least


def test_a_common_signal_on_ld_changes_nothing(population, places):
    electrodes, *_ = places
    known = moments(electrodes, make_timing(population, 160.0), population.mean(), 0.01)
    assert abs(conditional_weights(known).sum(axis=2)).max() < 1e-6


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 250.0, 1000.0])
def test_every_rate_is_as_good(population, places, sfreq):
    electrodes, *_ = places
    spline = {"spline": spherical_spline(electrodes.ld_mm, electrodes.hd_mm)}
    own = expected_errors(electrodes, make_timing(population, 160.0), 0.01, spline)
    other = expected_errors(electrodes, make_timing(population, sfreq), 0.01, spline)
    np.testing.assert_allclose(other.nmse(), own.nmse(), rtol=0.05)
    np.testing.assert_allclose(other.nmse("spline"), own.nmse("spline"), rtol=1e-6)


def test_waiting_does_not_harm(population, places):
    electrodes, *_ = places
    now = expected_errors(electrodes, make_timing(population, 160.0), 0.01, {})
    later = expected_errors(electrodes, make_timing(population, 160.0, 4), 0.01, {})
    assert np.median(later.nmse()) < 1.02 * np.median(now.nmse())
    with pytest.raises(CalibrationError, match="--look-ahead-s must be at most"):
        make_timing(population, 160.0, 80)


def test_lags_between_lags_and_of_both_signs(population):
    mean = population.mean()
    found = at_lags(mean, population.sfreq, np.array([0.0, 2.0, -2.0]) / population.sfreq)
    np.testing.assert_allclose(found[0], mean[0], atol=1e-12)
    np.testing.assert_allclose(found[1], mean[2], atol=1e-12)
    np.testing.assert_allclose(found[2], mean[2].T, atol=1e-12)


def test_a_place_of_the_population_is_known_as_it_is(population):
    positions = population.places.positions_mm
    np.testing.assert_array_equal(carry(positions, positions[[4]])[0], np.eye(len(positions))[4])
    between = carry(positions, positions[:2].mean(axis=0)[None])
    assert between.sum() == pytest.approx(1.0, abs=1e-6)
    assert (between**2).sum() < 0.95
