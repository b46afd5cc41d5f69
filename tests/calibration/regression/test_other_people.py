"""The closed form of a short session, leaning on people whose covariance is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.signal import lfilter

from calibration.regression.closed_form import fit_linear
from calibration.regression.other_people import MAX_SESSION_S, PeopleCovariance, alike
from calibration.regression.priors import spatial_prior
from calibration.regression.profiles import apply_taps, n_lags_of, taps

SFREQ = 40.0
N_LD, N_OUT = 6, 6
POSITIONS = np.random.default_rng(3).standard_normal((N_LD + N_OUT, 3))


def head(seed: int, seconds: float):
    """Twelve channels of four slow sources, and noise of their own; inputs and targets."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal((4, N_LD + N_OUT))
    white = rng.standard_normal((round(seconds * SFREQ), 4))
    y = lfilter([1.0], [1.0, -0.6], white, axis=0) @ mixing + rng.standard_normal(
        (len(white), N_LD + N_OUT)
    )
    y -= y[:, :N_LD].mean(axis=1, keepdims=True)
    return [(y[:, :N_LD], y[:, N_LD:])]


@dataclass
class Measured:
    """People like a long session of somebody."""

    segments: list
    turned: bool = False
    name: str = "measured"
    n_people: int = 1

    def __call__(self, bank, n_look_ahead):
        kernel = taps(bank.centers_s, bank.widths_s, SFREQ, 0, n_lags_of(bank, SFREQ, n_look_ahead))
        ((x, y),) = self.segments
        if self.turned:
            y = -y
        z = apply_taps(x, kernel, 0, 0, len(x))[:, :16]
        ld_ld = np.einsum("tgc,thd->gchd", z, z, optimize=True) / len(x)
        return PeopleCovariance(
            np.arange(16), ld_ld, np.einsum("tgc,te->gce", z, y, optimize=True) / len(x)
        )


def fit(segments, people=None):
    prior = spatial_prior(POSITIONS[:N_LD], POSITIONS[N_LD:], np.ones(N_LD))
    return fit_linear(segments, SFREQ, gammas=(1.0,), prior=prior, people=people)


def error(fitted) -> float:
    ((x, y),) = head(77, 60)
    return float(((fitted.predict(x) - y) ** 2).sum() / (y**2).sum())


@pytest.fixture(scope="module")
def population():
    return head(50, 120)


def test_a_short_session_gains_from_people_who_are_alike(population):
    session = head(1, 9)
    alone, leaning = fit(session), fit(session, Measured(population))
    assert leaning.prior.people_s > 0
    assert error(leaning) < 0.98 * error(alone)


def test_people_who_are_not_alike_do_no_harm(population):
    session = head(1, 9)
    alone, leaning = fit(session), fit(session, Measured(population, turned=True))
    assert leaning.prior.people_s == 0
    np.testing.assert_array_equal(leaning.weights, alone.weights)


def test_a_long_session_asks_nobody():
    def nobody(bank, n_look_ahead):
        raise AssertionError("asked")

    fitted = fit(head(2, MAX_SESSION_S + 1), nobody)
    assert fitted.prior.people_s == 0


def test_profiles_that_people_do_not_know_are_told_nothing_of():
    ld_ld = np.eye(6).reshape(3, 2, 3, 2)
    some = PeopleCovariance(np.array([0, 1, 3]), ld_ld, np.ones((3, 2, 5)))
    among = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    zz, zy = some.on_all(among, now=0)
    np.testing.assert_allclose(zz, np.eye(8) / 2, err_msg="in units of the present power, 2")
    np.testing.assert_allclose(zy.reshape(4, 2, 5)[[0, 1, 3]], 0.5)
    assert not zy.reshape(4, 2, 5)[2].any()


def test_what_counts_as_alike_shrinks_with_the_session():
    assert alike(10.0) == pytest.approx(1.05)
    assert alike(100.0) == pytest.approx(1.005)
