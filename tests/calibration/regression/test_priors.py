import numpy as np
import pytest
from scipy.signal import lfilter

from calibration.baselines.ridge import fit_ridge
from calibration.regression.blocks import Segment, make_blocks
from calibration.regression.closed_form import LinearFit, fit_linear
from calibration.regression.gram_matrices import accumulate, lagged
from calibration.regression.priors import (
    PriorGrams,
    SpatialPrior,
    Strength,
    autocorrelation,
    choose_strength,
    reversed_grams,
    spatial_prior,
)
from calibration.regression.profiles import Bank
from emag_rt.errors import CalibrationError

SFREQ = 128.0
N_LD = 12


def scalp(rng: np.random.Generator, n: int) -> np.ndarray:
    points = rng.standard_normal((n, 3))
    points[:, 2] = np.abs(points[:, 2])
    return np.asarray(90.0 * points / np.linalg.norm(points, axis=1, keepdims=True))


POSITIONS = scalp(np.random.default_rng(5), 28)


def head(seed: int, seconds: float) -> tuple[list[Segment], np.ndarray]:
    """Sources spread over the head, with much the same rhythm, mixed without delay."""
    rng = np.random.default_rng(seed)
    sources = scalp(np.random.default_rng(6), 400)
    spread = np.exp(-0.5 * ((POSITIONS[:, None] - sources) ** 2).sum(axis=-1) / 20.0**2)
    n = round(seconds * SFREQ)
    white = rng.standard_normal((n + 200, len(sources)))
    angles = np.random.default_rng(7).uniform(0.3, 0.4, len(sources))
    rhythms = [
        lfilter([1.0], [1.0, -1.7 * np.cos(angle), 0.72], white[:, k])
        for k, angle in enumerate(angles)
    ]
    s = np.column_stack(rhythms)[200:]
    s /= s.std(axis=0)
    y = 10 * s @ spread.T + 2 * rng.standard_normal((n, len(POSITIONS)))
    y -= y[:, :N_LD].mean(axis=1, keepdims=True)
    scale = y[:, :N_LD].std(axis=0)
    return [(y[:, :N_LD] / scale, y[:, N_LD:])], scale


def prior_of(scale: np.ndarray) -> SpatialPrior:
    return spatial_prior(POSITIONS[:N_LD], POSITIONS[N_LD:], scale)


def error(fit, scale: np.ndarray) -> float:  # type: ignore[no-untyped-def]
    (((x, y),), own) = head(100, 30)
    return float(((fit.predict(x * own / scale) - y) ** 2).sum() / (y**2).sum())


@pytest.fixture(scope="module")
def short() -> tuple[list[Segment], np.ndarray]:
    return head(1, 9)


@pytest.fixture(scope="module")
def plain(short) -> LinearFit:
    return fit_linear(short[0], SFREQ)


@pytest.fixture(scope="module")
def believing(short) -> LinearFit:
    return fit_linear(short[0], SFREQ, prior=prior_of(short[1]))


def test_beliefs_help_a_short_session(short, plain, believing) -> None:
    segments, scale = short
    assert believing.prior.template > 0
    assert believing.cv_nmse.sum() < plain.cv_nmse.sum()
    assert error(believing, scale) < 0.995 * error(plain, scale)
    assert error(believing, scale) < 0.90 * error(fit_ridge(segments, 16), scale)


def test_a_false_template_is_not_believed(short, plain, believing) -> None:
    segments, scale = short
    elsewhere = np.random.default_rng(0).permutation(POSITIONS)
    false = spatial_prior(elsewhere[:N_LD], elsewhere[N_LD:], scale)
    fit = fit_linear(segments, SFREQ, prior=false)
    assert fit.prior.template < believing.prior.template
    assert fit.cv_nmse @ _power(segments) <= plain.cv_nmse @ _power(segments) * (1 + 1e-9)


def _power(segments: list[Segment]) -> np.ndarray:
    return np.asarray(sum((y**2).sum(axis=0) for _, y in segments))


def test_plenty_of_data_needs_next_to_no_belief() -> None:
    segments, scale = head(2, 100)
    fit, plain = fit_linear(segments, SFREQ, prior=prior_of(scale)), fit_linear(segments, SFREQ)
    assert fit.prior.template <= 0.02
    x = segments[0][0]
    difference = fit.predict(x) - plain.predict(x)
    assert (difference**2).sum() < 0.01 * (plain.predict(x) ** 2).sum()


def test_given_banks_believe_nothing(short) -> None:
    segments, scale = short
    bank = Bank("now", np.zeros(1), np.full(1, 0.1 / SFREQ))
    with_prior = fit_linear(segments, SFREQ, banks=[bank], prior=prior_of(scale))
    without = fit_linear(segments, SFREQ, banks=[bank])
    np.testing.assert_array_equal(with_prior.weights, without.weights)


def test_believed_fold_fits_do_not_see_their_fold(short) -> None:
    segments, scale = short
    fit = fit_linear(segments, SFREQ, gammas=(2.0,), prior=prior_of(scale))
    assert fit.prior != Strength()
    block = fit.blocks[2]
    x, y = segments[0]
    spoiled = y.copy()
    spoiled[block.start : block.stop] *= 1.001
    other = fit_linear([(x, spoiled)], SFREQ, gammas=(2.0,), prior=prior_of(scale))
    assert (fit.lam, fit.prior) == (other.lam, other.prior)
    np.testing.assert_allclose(fit.split_weights[2], other.split_weights[2], atol=1e-9)
    assert not np.allclose(fit.weights, other.weights, atol=1e-9)


def exact_lags(segments: list[Segment], n_lags: int, n_ld: int) -> PriorGrams:
    blocks = make_blocks([len(x) for x, _ in segments])

    def features(x: np.ndarray, start: int, stop: int) -> np.ndarray:
        return lagged(x, start, stop, n_lags, 0)

    grams = accumulate(segments, blocks, features, n_lags)
    backwards = reversed_grams(segments, blocks, features, n_lags)
    n_out = segments[0][1].shape[1]
    prior = SpatialPrior(np.eye(n_ld), np.ones((n_ld, n_out)))
    correlation = autocorrelation(segments, n_lags)
    return PriorGrams(grams, backwards, prior, np.eye(n_lags), 0, 0, correlation, SFREQ)


def covariance(gram) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    centred = gram.centered(gram.z / gram.n, gram.y / gram.n)
    return centred.zz / gram.n, centred.zy / gram.n


def test_reversal_makes_lagged_covariances_symmetric() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((6000, 2))
    x[:, 1] = np.roll(x[:, 0], 1) + 0.1 * x[:, 1]  # channel 1 follows channel 0
    believed = exact_lags([(x, x)], 3, 2)
    for weight, skewed in ((0.0, True), (1.0, False)):
        zz, zy = covariance(believed.blended(np.arange(3), Strength(0.0, weight))[-1])
        lag_one = zz[:2, 2:4]
        assert bool(np.abs(lag_one - lag_one.T).max() > 0.9) is skewed
        if not skewed:
            np.testing.assert_allclose(zy[2:4], lag_one.T, atol=0.05)


def test_template_alone_predicts_from_the_present_only() -> None:
    rng = np.random.default_rng(4)
    x = np.convolve(rng.standard_normal(3000), 0.8 ** np.arange(20), "same")[:, None]
    segments = [(np.column_stack([x, np.roll(x, 400)]), rng.standard_normal((3000, 1)))]
    believed = exact_lags(segments, 4, 2)
    zz, zy = covariance(believed.blended(np.arange(4), Strength(1.0, 0.0))[-1])
    weights = np.linalg.solve(zz, zy)
    np.testing.assert_allclose(weights[:2], 1.0, atol=1e-6)
    np.testing.assert_allclose(weights[2:], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.trace(zz[:2, :2]), segments[0][0].var(axis=0).sum(), rtol=1e-6)


def test_climb_stops_at_the_best_and_respects_what_is_allowed() -> None:
    def bowl(s: Strength) -> float:
        return 1.0 + (s.template - 0.1) ** 2 + (s.reversal - 0.5) ** 2

    assert choose_strength(bowl, reversal=True) == Strength(0.1, 0.5)
    assert choose_strength(bowl, reversal=False) == Strength(0.1, 0.0)
    assert choose_strength(lambda s: 1.0 + s.template + s.reversal, reversal=True) == Strength()


def test_bad_positions_are_refused() -> None:
    with pytest.raises(CalibrationError, match="positions"):
        spatial_prior(np.zeros((2, 3)), POSITIONS, np.ones(2))
    with pytest.raises(CalibrationError, match="scale"):
        spatial_prior(POSITIONS[:2], POSITIONS[2:], np.ones(3))
