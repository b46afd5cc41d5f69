"""Shares of heads by how well LD channels foretell one another."""

import numpy as np
import pytest

from calibration.population.estimate import LATE_NOISE, NOISE, Places
from calibration.population.shares import (
    EDGE_HZ,
    _LeftOut,
    band_operators,
    fitted_shares,
    in_bands,
    stacked,
)
from emag_rt.core.montage import spread_choice

RATE = 160.0


@pytest.fixture(scope="module")
def ld_mm(population):
    positions = population.places.positions_mm
    return positions[list(spread_choice(positions, 8))]


@pytest.fixture(scope="module")
def seen(population, ld_mm):
    carry = Places(population, ld_mm, ld_mm[:0]).carry
    return carry @ population.covariances @ carry.T


def tone(hz, n_lags=20):
    return np.cos(2.0 * np.pi * hz / RATE * np.arange(n_lags))[:, None, None]


def test_bands_sum_to_the_whole(seen):
    split = in_bands(band_operators(seen.shape[1], RATE), seen)
    assert split.shape == (2, *seen.shape)
    np.testing.assert_allclose(split.sum(axis=0), seen, atol=1e-12)


@pytest.mark.parametrize(("hz", "band"), [(0.25 * EDGE_HZ, 0), (3.0 * EDGE_HZ, 1)])
def test_a_tone_is_in_its_band(hz, band):
    split = in_bands(band_operators(20, RATE), tone(hz))
    assert split[band, 0, 0, 0] > 0.85
    assert abs(split[1 - band, 0, 0, 0]) < 0.15


def test_lags_of_either_sign_are_taken_from_their_own_side():
    """A channel that follows another: the covariance at a negative lag is the other's."""
    lagged = np.zeros((20, 2, 2))
    lagged[3, 1, 0] = 1.0
    low = in_bands(band_operators(20, RATE), lagged)[0]
    assert low[0, 0, 1] == pytest.approx(low[0, 1, 0])
    assert low[1, 1, 0] > low[1, 0, 1] > 0.0


def test_stacked_is_the_covariance_of_samples_in_a_row():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4000, 3)) @ rng.standard_normal((3, 3))
    x[1:] += 0.7 * x[:-1, ::-1]
    n_lags, n_times = 3, len(x)
    lagged = np.array([x[n_lags:].T @ x[n_lags - g : n_times - g] for g in range(n_lags)])
    rows = np.concatenate([x[n_lags - g : n_times - g] for g in range(n_lags)], axis=1)
    np.testing.assert_allclose(stacked(lagged), rows.T @ rows, rtol=0.02, atol=40.0)


def test_the_slope_is_that_of_the_error(seen):
    left_out = _LeftOut.of(seen[0])
    lagged = seen[1:].mean(axis=0)[: left_out.n_lags]
    step = 1e-6 * np.random.default_rng(0).standard_normal(lagged.shape)
    step[0] += step[0].T
    found = left_out.log_error(lagged + step)[0] - left_out.log_error(lagged - step)[0]
    assert found == pytest.approx(
        2.0 * float((left_out.log_error(lagged)[1] * step).sum()), rel=1e-4
    )


def test_the_error_is_that_of_each_channel_from_the_others(seen):
    """Against the same, channel by channel, with all lags of the others written out."""
    own, expected = seen[0], seen[1:].mean(axis=0)
    left_out = _LeftOut.of(own)
    n_lags, n = left_out.n_lags, own.shape[1]
    logs = []
    for i in range(n):
        others = np.arange(n) != i
        less_mean = np.eye(n) - others / (n - 1)
        relative = [less_mean @ x[:n_lags] @ less_mean.T for x in (own, expected)]
        (truth, cross), (model, known) = (
            (stacked(x[:, others][:, :, others]), x[:, i, others].ravel()) for x in relative
        )
        power = np.trace(relative[1][0][np.ix_(others, others)]) / (n - 1)
        centre = np.eye(n - 1) - 1.0 / (n - 1)
        noise = np.full(n_lags, NOISE + LATE_NOISE)
        noise[0] = NOISE
        model = model + power * np.kron(np.diag(noise), centre)
        weights = known @ np.linalg.pinv(model, rcond=1e-10, hermitian=True)
        alone = relative[0][0, i, i]
        error = alone - 2.0 * weights @ cross + weights @ truth @ weights
        logs.append(np.log(error / alone + 0.01))
    assert left_out.log_error(expected[:n_lags])[0] == pytest.approx(np.mean(logs), abs=1e-6)


def test_who_foretells_the_channels_best_counts_for_more(population, seen):
    split = in_bands(band_operators(seen.shape[1], RATE), seen)
    before = np.full(population.n_people, 1.0 / population.n_people)
    for person, own in enumerate(seen):
        shares = fitted_shares(split, 625.0 * own, before)
        assert shares.shape == (2, population.n_people)
        assert (shares.sum(axis=0).argmax()) == person
        assert (shares > 0.0).all()


def test_the_unit_does_not_matter(population, seen):
    split = in_bands(band_operators(seen.shape[1], RATE), seen)
    before = np.full(population.n_people, 1.0 / population.n_people)
    one, other = (fitted_shares(split, unit * seen[0], before) for unit in (1.0, 1e4))
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_a_band_that_is_louder_gets_more(population, seen):
    split = in_bands(band_operators(seen.shape[1], RATE), seen)
    before = np.full(population.n_people, 1.0 / population.n_people)
    own = seen.mean(axis=0)
    slow = in_bands(band_operators(seen.shape[1], RATE), own)[0]
    plain, louder = (fitted_shares(split, x, before).sum(axis=1) for x in (own, own + 3.0 * slow))
    assert louder[0] / louder[1] > plain[0] / plain[1]


def test_bridged_channels_are_no_reason_to_believe_anything(population, seen):
    onto = np.eye(seen.shape[-1])
    onto[1] = onto[0]
    onto -= onto.mean(axis=0)
    bridged = onto @ seen[0] @ onto.T
    split = in_bands(band_operators(seen.shape[1], RATE), seen)
    before = np.full(population.n_people, 1.0 / population.n_people)
    shares = fitted_shares(split, bridged, before)
    assert np.isfinite(shares).all()
    assert shares.sum(axis=0).max() < 0.9 * shares.sum()


@pytest.mark.parametrize("n", [4, 60])
def test_few_and_many_channels(n):
    rng = np.random.default_rng(n)
    heads = []
    for _ in range(3):
        mix = rng.standard_normal((n, n)) / np.sqrt(n)
        now = mix @ mix.T
        heads.append(now * (0.8 ** np.arange(20))[:, None, None])
    centre = np.eye(n) - 1.0 / n
    seen = centre @ np.array(heads) @ centre
    split = in_bands(band_operators(20, RATE), seen)
    shares = fitted_shares(split, seen[2], np.full(3, 1.0 / 3.0)).sum(axis=0)
    assert shares.argmax() == 2
