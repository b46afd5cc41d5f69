"""Sources of a session, found again from covariances that they made."""

import numpy as np
import pytest

from calibration.regression.sources import (
    all_edges,
    find_sources,
    follow_powers,
    hd_bands,
    joint_diagonaliser,
    ld_model,
)
from emag_rt.core.ld_bands import HdBands
from tests.factories import ld_signal

EDGES = all_edges((0.5, 45.0), 200.0)


def made_up(n=8, n_parts=4, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n, n))
    powers = rng.uniform(0.5, 8.0, (n_parts, len(EDGES) - 1, n))
    return mixing, powers, HdBands(EDGES, (mixing * powers[..., None, :]) @ mixing.T)


def test_bands_cover_what_the_front_end_lets_through():
    assert EDGES.tolist() == [0.5, 4, 8, 13, 20, 30, 45]
    assert all_edges((4.5, 12.0), 200.0).tolist() == [4.5, 8, 12]
    assert all_edges((0.5, 200.0), 1000.0).tolist() == [0.5, 4, 8, 13, 20, 30, 45, 90]
    assert all_edges((0.5, 45.0), 64.0)[-1] == pytest.approx(28.8)


def test_one_matrix_makes_all_diagonal():
    mixing, _, bands = made_up()
    matrices = bands.covariances.reshape(-1, 8, 8)
    found = joint_diagonaliser(matrices)
    diagonal = found @ matrices @ found.T
    off = diagonal - diagonal * np.eye(8)
    assert np.abs(off).max() < 1e-3 * np.abs(diagonal).max()
    largest = np.abs(found @ mixing)
    largest /= largest.max(axis=1, keepdims=True)
    assert sorted(largest.argmax(axis=1)) == list(range(8)), "each row is one source"
    assert (np.sort(largest, axis=1)[:, -2] < 0.05).all()


def test_sources_make_the_session_again():
    _, _, bands = made_up()
    sources = find_sources(bands)
    again = (sources.mixing * sources.powers[:, None]) @ sources.mixing.T
    mean = bands.covariances.mean(axis=0)
    np.testing.assert_allclose(again, mean, atol=0.02 * np.abs(mean).max())


def test_powers_are_followed_as_far_as_the_pull_lets_them():
    mixing, powers, _ = made_up()
    session = powers.mean(axis=0)
    now = session.copy()
    now[2] *= np.linspace(1.0, 6.0, 8)
    covariances = ld_model(mixing, now)
    np.testing.assert_allclose(follow_powers(mixing, session, covariances, 0.0), now, rtol=0.05)
    np.testing.assert_allclose(follow_powers(mixing, session, covariances, 1.0), session)
    half = follow_powers(mixing, session, covariances, 0.3)
    assert session[2, -1] * 1.3 < half[2, -1] < now[2, -1]
    np.testing.assert_allclose(half[[0, 1, 3]], session[[0, 1, 3]], rtol=0.05)


def test_a_session_is_kept_in_parts_without_its_bad_channels():
    found = hd_bands([ld_signal(3000), ld_signal(1000, seed=1)], [2], (0.5, 45.0), 200.0)
    assert found.covariances.shape == (4, 6, 8, 8)
    power = np.diagonal(found.covariances, axis1=2, axis2=3)
    assert (power[..., 2] == 0).all()
    assert (np.delete(power, 2, axis=2) > 0).all()
    assert not found.covariances[..., 2].any()
    assert hd_bands([ld_signal(399)], [], (0.5, 45.0), 200.0) is None
