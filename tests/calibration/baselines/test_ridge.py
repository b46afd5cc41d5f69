import numpy as np
import pytest

from calibration.baselines.ridge import fit_ridge
from emag_rt.errors import CalibrationError
from tests.factories import filtered_noise


def test_lagged_ridge_finds_the_filter_and_beats_one_lag() -> None:
    segments, (test_x, test_y) = filtered_noise(), filtered_noise(noise=0.0)[0]
    deep, flat = fit_ridge(segments, 16), fit_ridge(segments, 1)
    errors = [np.mean((m.predict(test_x) - test_y)[16:] ** 2) for m in (deep, flat)]
    assert errors[0] < 0.01
    assert errors[1] > 10 * errors[0]
    assert deep.weights.shape == (16, 4, 2)
    assert (deep.cv_nmse < flat.cv_nmse).all()


def test_look_ahead_reaches_the_future() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2000, 2))
    segments = [(x, np.roll(x, -2, axis=0))]
    assert (fit_ridge(segments, 4, 2).cv_nmse < 0.01).all()
    assert (fit_ridge(segments, 4, 1).cv_nmse > 0.9).all()


def test_rank_deficient_and_constant_inputs_are_harmless() -> None:
    (x, y), *_ = filtered_noise()
    twins = np.column_stack([x, x[:, :2], np.zeros(len(x))])
    fit = fit_ridge([(twins, y)], 3)
    assert np.isfinite(fit.weights).all()
    assert np.abs(fit.weights).max() < 100


def test_bad_lags_are_refused() -> None:
    with pytest.raises(CalibrationError, match="n_lags"):
        fit_ridge(filtered_noise(n=500), 0)
