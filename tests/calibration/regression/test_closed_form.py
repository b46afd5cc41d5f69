import numpy as np
import pytest

from calibration.baselines.ridge import fit_ridge
from calibration.regression.blocks import Segment
from calibration.regression.closed_form import fit_linear
from calibration.regression.profiles import apply_taps, candidate_banks, taps
from emag_rt.errors import CalibrationError

SFREQ = 160.0


def colored(rng: np.random.Generator, n: int, n_channels: int) -> np.ndarray:
    white = rng.standard_normal((n + 50, n_channels))
    smooth = sum(0.9**k * white[50 - k : n + 50 - k] for k in range(30))
    return np.asarray(smooth / np.std(smooth) + 0.3 * white[50:])


def session(seed: int, n: int, noise: float, n_look_ahead: int = 0) -> list[Segment]:
    mix = np.random.default_rng(99).standard_normal((2, 3, 4))
    rng = np.random.default_rng(seed)
    kernel = taps(np.array([0.0, 0.06]), np.array([1e-4, 0.012]), SFREQ, n_look_ahead, 40)
    segments = []
    for _ in range(2):
        x = colored(rng, n, 3)
        z = apply_taps(x, kernel, n_look_ahead)
        y = np.einsum("tgi,gio->to", z, mix) + 2.0
        segments.append((x, y + noise * rng.standard_normal(y.shape)))
    return segments


def nmse(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(((y - predicted) ** 2).sum() / (y**2).sum())


def test_known_filter_is_recovered() -> None:
    fit = fit_linear(session(0, 3000, 0.2), SFREQ)
    x, y = session(1, 1000, 0.0)[0]
    assert nmse(y, fit.predict(x)) < 1e-3
    np.testing.assert_allclose(fit.bias, 2.0, atol=0.1)


def test_never_clearly_worse_than_lagged_ridge_and_better_on_long_memory() -> None:
    segments, (x, y) = session(2, 800, 6.0), session(3, 4000, 0.0)[0]
    fit, ridge = fit_linear(segments, SFREQ), fit_ridge(segments, 16)
    assert nmse(y, fit.predict(x)) < nmse(y, ridge.predict(x))
    assert fit.cv_nmse.mean() <= 1.01 * ridge.cv_nmse.mean()


def test_reported_error_is_that_of_the_held_out_predictions() -> None:
    segments = session(4, 3000, 1.0)
    fit = fit_linear(segments, SFREQ)
    predicted = np.concatenate(fit.predict_held_out(segments))
    y = np.concatenate([target for _, target in segments])
    seen = ((y - predicted) ** 2).sum(axis=0) / (y**2).sum(axis=0)
    np.testing.assert_allclose(seen, fit.cv_nmse, rtol=0.1)


def test_fold_fits_do_not_see_their_fold() -> None:
    segments = session(5, 1500, 1.0)
    fit = fit_linear(segments, SFREQ, gammas=(2.0,))
    block = fit.blocks[2]
    x, y = segments[block.segment]
    spoiled = y.copy()
    spoiled[block.start : block.stop] *= 1.01
    other = fit_linear([(x, spoiled), *segments[1:]], SFREQ, gammas=(2.0,))
    assert fit.lam == other.lam
    np.testing.assert_allclose(fit.split_weights[2], other.split_weights[2], atol=1e-9)
    assert not np.allclose(fit.weights, other.weights, atol=1e-9)


def test_average_of_banks_is_one_linear_fit() -> None:
    segments = session(6, 1500, 3.0)
    fit = fit_linear(segments, SFREQ)
    x = segments[0][0]
    z = apply_taps(x, fit.kernel)
    by_hand = sum(z[:, g] @ fit.weights[g] for g in range(len(fit.centers_s))) + fit.bias
    np.testing.assert_allclose(fit.predict(x), by_hand, atol=1e-9)
    np.testing.assert_allclose(fit.predict(2 * x) - fit.bias, 2 * (fit.predict(x) - fit.bias))


def test_single_bank_of_delays_at_gamma_zero_is_ridge() -> None:
    segments = session(7, 1000, 1.0)
    bank = candidate_banks(SFREQ)[0]
    fit = fit_linear(segments, SFREQ, banks=[bank], gammas=(0.0,))
    ridge = fit_ridge(segments, 16)
    x = segments[0][0]
    assert fit.lam == (ridge.lam,)
    np.testing.assert_allclose(fit.predict(x), ridge.predict(x), atol=1e-6)


def test_look_ahead_helps_where_the_future_tells() -> None:
    segments = [(x, np.roll(x, -3, axis=0) @ np.ones((3, 1))) for x, _ in session(8, 1500, 0.0)]
    assert fit_linear(segments, SFREQ, 3).cv_nmse[0] < 0.1 * fit_linear(segments, SFREQ).cv_nmse[0]


def test_bad_segments_are_refused() -> None:
    with pytest.raises(CalibrationError, match="segments"):
        fit_linear([], SFREQ)
