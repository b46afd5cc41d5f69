import numpy as np

from calibration.regression.blocks import guarded_start, make_blocks
from calibration.regression.gram_matrices import (
    LAMBDAS,
    Gram,
    RidgePath,
    accumulate,
    cross_validate,
    lagged,
)
from tests.factories import filtered_noise


def test_cv_from_grams_equals_cv_from_data() -> None:
    segments = filtered_noise(n=700)
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
    segments = filtered_noise(n=500)
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
