"""The map carries the covariance of an estimate to the truth's; the noise is what is missing."""

import numpy as np
import pytest
from scipy.signal import lfilter, welch

from calibration.regression.output_statistics import MAX_COST, fit_output_statistics
from emag_rt.core.output_statistics import SimulatedNoise

OUT = [1, 2, 4, 5]


def made(n_times=20_000, noise=0.2, seed=0):
    """Truth of four channels and an estimate that lacks uncorrelated, coloured noise."""
    rng = np.random.default_rng(seed)
    estimate = rng.normal(size=(n_times, 4)) @ rng.normal(size=(4, 4))
    missing = lfilter([1.0], [1.0, -0.8], rng.normal(scale=noise, size=(n_times, 4)), axis=0)
    return estimate + missing, estimate, missing


def fitted(truth, estimate, **options):
    return fit_output_statistics([(truth[:, :1], truth)], [estimate], OUT, 6, **options)


def test_the_map_carries_one_covariance_to_the_other():
    truth, estimate, _ = made()
    found = fitted(truth, estimate)
    transport = found.transport[np.ix_(OUT, OUT)]
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


def simulated(found, estimate):
    """What ``simulated`` makes of an estimate, and its noise."""
    noise = SimulatedNoise(found, 1.0, OUT).take(len(estimate))
    return estimate @ found.transport[np.ix_(OUT, OUT)].T + noise, noise


def test_noise_has_what_the_map_cannot_give_at_once_and_in_time():
    """Two channels are rendered perfectly, two not at all."""
    _, estimate, missing = made(noise=1.0)
    estimate[:, 2:], missing[:, :2] = 0.0, 0.0
    truth = estimate + missing
    found = fitted(truth, estimate)
    drawn, noise = simulated(found, estimate)
    for lag in (0, 1, 3):
        pairs = [v[lag:, 2:].T @ v[: len(v) - lag, 2:] / len(v) for v in (truth, drawn)]
        np.testing.assert_allclose(*pairs, atol=0.1 * np.trace(pairs[0]))
    assert np.abs(noise[:, :2]).max() < 0.2 * np.abs(noise[:, 2:]).max()
    np.testing.assert_array_equal(found.mixing[[0, 3]], 0.0)
    wrong = ((truth - drawn) ** 2).sum() / ((truth - estimate) ** 2).sum()
    assert wrong == pytest.approx(found.error_factor("simulated", 1.0), rel=0.05)


def test_the_noise_makes_no_band_louder_than_the_truth():
    """In two channels the map makes slow waves too loud; there is less noise in the others."""
    rng = np.random.default_rng(1)
    truth = lfilter([1.0], [1.0, -0.9], rng.normal(size=(20_000, 4)), axis=0)
    estimate = truth * [1.0, 1.0, 0.0, 0.0]
    quick = lfilter([1.0], [1.0, 0.9], rng.normal(scale=0.7, size=(20_000, 2)), axis=0)
    truth[:, :2] += quick
    found = fitted(truth, estimate)
    _, spectra = welch(np.array([truth, simulated(found, estimate)[0]]), 2.0, axis=1)
    of_truth, of_drawn = spectra[:, :30].sum(axis=(1, 2))
    assert of_drawn == pytest.approx(of_truth, rel=0.1)


def test_a_burst_of_muscle_changes_little():
    truth, estimate, _ = made(noise=1.0)
    calm = fitted(truth, estimate)
    truth[5000:6000] += 30 * np.random.default_rng(2).normal(size=(1000, 4))
    found = fitted(truth, estimate)
    assert np.trace(found.mixing @ found.mixing.T) < 1.1 * np.trace(calm.mixing @ calm.mixing.T)
    np.testing.assert_allclose(found.transport, calm.transport, atol=0.05)


def test_networks_that_explain_half_leave_less_noise():
    truth, estimate, _ = made(noise=1.0)
    whole, half = fitted(truth, estimate), fitted(truth, estimate, left=0.5)
    assert (half.mixing**2).sum() < (whole.mixing**2).sum()
    assert np.trace(half.transport) < np.trace(whole.transport)


def test_a_perfect_estimate_is_left_as_it_is():
    truth, *_ = made()
    found = fitted(truth, truth.copy())
    np.testing.assert_allclose(found.transport, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(found.mixing, 0.0, atol=1e-3)
