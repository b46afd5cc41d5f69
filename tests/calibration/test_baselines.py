import numpy as np
import pytest

from calibration.regression.blocks import Segment, guarded_start, make_blocks
from calibration.regression.gram_matrices import (
    LAMBDAS,
    Gram,
    RidgePath,
    accumulate,
    cross_validate,
    fit_ridge,
    lagged,
)
from emag_rt.errors import CalibrationError


def make_session(seed: int = 0, n: int = 1500, noise: float = 0.5) -> list[Segment]:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((3, 4, 2))
    segments = []
    for _ in range(2):
        x = rng.standard_normal((n, 4)).cumsum(axis=0) * 0.1 + rng.standard_normal((n, 4))
        y = sum(np.roll(x, lag, axis=0) @ mix[lag] for lag in range(3)) + 3.0
        segments.append((x, y + noise * rng.standard_normal((n, 2))))
    return segments


def test_cv_from_grams_equals_cv_from_data() -> None:
    segments = make_session(n=700)
    blocks = make_blocks([len(x) for x, _ in segments])
    penalty, guard = np.linspace(1.0, 3.0, 12), 5

    def features(x: np.ndarray, start: int, stop: int) -> np.ndarray:
        return lagged(x, start, stop, 3, 0)

    grams = accumulate(segments, blocks, features, guard)
    fast = cross_validate(grams, penalty)

    slow = np.zeros_like(fast)
    stacked = [features(x, 0, len(x)) for x, _ in segments]
    for split in range(5):
        parts: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {True: [], False: []}
        for b in blocks:
            rows = slice(guarded_start(b, guard), b.stop)
            parts[b.split == split].append((stacked[b.segment][rows], segments[b.segment][1][rows]))
        z, y = (np.concatenate(a) for a in zip(*parts[False], strict=True))
        z_held, y_held = (np.concatenate(a) for a in zip(*parts[True], strict=True))
        zc, yc = z - z.mean(axis=0), y - y.mean(axis=0)
        cov = zc.T @ zc / len(z)
        unit = np.mean(np.diag(cov) / penalty)
        for i, lam in enumerate(LAMBDAS):
            w = np.linalg.solve(cov + lam * unit * np.diag(penalty), zc.T @ yc / len(z))
            error = y_held - y.mean(axis=0) - (z_held - z.mean(axis=0)) @ w
            slow[i] += (error**2).sum(axis=0)
    np.testing.assert_allclose(fast, slow, rtol=1e-6)


def test_grams_add_up_to_the_whole_session() -> None:
    segments = make_session(n=500)
    blocks = make_blocks([500, 500])
    grams = accumulate(segments, blocks, lambda x, a, b: x[a:b], guard=7)
    x, y = (np.concatenate(a) for a in zip(*segments, strict=True))
    whole = Gram.of(x, y)
    np.testing.assert_allclose(grams.total.zz, whole.zz)
    assert grams.total.n == 1000
    assert sum(gram.n for gram in grams.splits) < 1000


def test_bias_is_not_penalised() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    path = RidgePath(Gram.of(x, np.full((500, 1), 7.0)), np.ones(2))
    weights = path.weights(np.array([1.0]))
    np.testing.assert_allclose(path.bias(weights), 7.0)


def test_lagged_ridge_finds_the_filter_and_beats_one_lag() -> None:
    segments, (test_x, test_y) = make_session(), make_session(noise=0.0)[0]
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
    (x, y), *_ = make_session()
    twins = np.column_stack([x, x[:, :2], np.zeros(len(x))])
    fit = fit_ridge([(twins, y)], 3)
    assert np.isfinite(fit.weights).all()
    assert np.abs(fit.weights).max() < 100


def test_bad_lags_are_refused() -> None:
    with pytest.raises(CalibrationError, match="n_lags"):
        fit_ridge(make_session(n=500), 0)
