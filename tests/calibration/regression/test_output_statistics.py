"""The map carries the covariance of an estimate to the truth's; the noise is what is missing."""

import numpy as np
from scipy.signal import lfilter

from calibration.regression.output_statistics import MAX_COST, fit_output_statistics
from emag_rt.core.output_statistics import SimulatedNoise


def made(n_times=20_000, noise=0.2, seed=0):
    """Truth of four channels and an estimate that lacks uncorrelated, coloured noise."""
    rng = np.random.default_rng(seed)
    estimate = rng.normal(size=(n_times, 4)) @ rng.normal(size=(4, 4))
    missing = lfilter([1.0], [1.0, -0.8], rng.normal(scale=noise, size=(n_times, 4)), axis=0)
    return estimate + missing, estimate, missing


def fitted(truth, estimate, **options):
    return fit_output_statistics([(truth[:, :1], truth)], [estimate], [1, 2, 4, 5], 6, **options)


def test_the_map_carries_one_covariance_to_the_other():
    truth, estimate, _ = made()
    found = fitted(truth, estimate)
    transport = found.transport[np.ix_([1, 2, 4, 5], [1, 2, 4, 5])]
    carried = np.cov((estimate @ transport.T).T)
    np.testing.assert_allclose(carried, np.cov(truth.T), atol=0.03 * np.trace(np.cov(truth.T)))
    np.testing.assert_array_equal(found.transport[[0, 3]], np.eye(6)[[0, 3]])
    error = ((truth - estimate @ transport.T) ** 2).sum() / ((truth - estimate) ** 2).sum()
    assert abs(error - 1 - found.cost) < 0.02


def test_a_direction_that_the_estimate_hardly_has_is_not_blown_up():
    truth, estimate, _ = made()
    estimate[:, 3] *= 1e-4
    found = fitted(truth, estimate)
    assert found.cost <= MAX_COST
    assert np.linalg.norm(found.transport, 2) <= 4.0 + 1e-9


def test_the_noise_has_what_is_missing_at_once_and_in_time():
    truth, estimate, missing = made(noise=1.0)
    found = fitted(truth, estimate)
    noise = SimulatedNoise(found, 1.0, [1, 2, 4, 5]).take(20_000)
    for lag in (0, 1, 3):
        wanted = missing[lag:].T @ missing[: len(missing) - lag] / len(missing)
        drawn = noise[lag:].T @ noise[: len(noise) - lag] / len(noise)
        np.testing.assert_allclose(drawn, wanted, atol=0.25)
    np.testing.assert_array_equal(found.mixing[[0, 3]], 0.0)


def test_networks_that_explain_half_leave_half_of_the_noise():
    truth, estimate, _ = made(noise=1.0)
    whole, half = fitted(truth, estimate), fitted(truth, estimate, left=0.5)
    np.testing.assert_allclose(half.mixing, np.sqrt(0.5) * whole.mixing)
    assert np.trace(half.transport) < np.trace(whole.transport)


def test_a_perfect_estimate_is_left_as_it_is():
    truth, *_ = made()
    found = fitted(truth, truth.copy())
    np.testing.assert_allclose(found.transport, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(found.mixing, 0.0, atol=1e-3)
