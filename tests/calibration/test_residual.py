import builtins
from typing import Any

import numpy as np
import pytest

from calibration.closed_form import LinearFit, fit_linear
from calibration.folds import Segment
from calibration.profiles import candidate_banks
from calibration.residual import ResidualSettings, fit_residual
from emag_rt.errors import CalibrationError

SFREQ = 160.0
QUICK = ResidualSettings(
    n_hidden=24, n_per_fold=1, dropout=0.1, min_steps=250, max_steps=250, batch_size=128,
    learning_rate=5e-3, weight_decay=1e-3, ema=0.98, check_every=25,
)  # fmt: skip


def session(planted: float, n: int = 2500, seed: int = 0) -> list[Segment]:
    rng = np.random.default_rng(seed)
    segments = []
    for _ in range(2):
        x = rng.standard_normal((n, 3))
        y = x @ np.array([[1.0, 0.5], [0.2, -1.0], [0.0, 0.3]])
        y[:, 0] += planted * np.abs(x[:, 0] + x[:, 1])
        segments.append((x, y + 0.3 * rng.standard_normal((n, 2))))
    return segments


def linear_fit(segments: list[Segment]) -> LinearFit:
    return fit_linear(segments, SFREQ, banks=candidate_banks(SFREQ)[:1], gammas=(1.0,))


@pytest.fixture(scope="module")
def torch() -> Any:
    module = pytest.importorskip("torch")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


def test_planted_non_linearity_is_found(torch: Any) -> None:
    segments, (x, y) = session(1.5), session(1.5, seed=1)[0]
    linear = linear_fit(segments)
    heard: list[float] = []
    net = fit_residual(
        segments, linear, settings=QUICK, progress=lambda part, _: heard.append(part)
    )
    assert net is not None
    before = ((y - linear.predict(x)) ** 2).mean(axis=0)
    after = ((y - linear.predict(x) - net.predict(x)) ** 2).mean(axis=0)
    assert after[0] < 0.6 * before[0]
    assert after[1] < 1.02 * before[1]
    assert net.gains[0] > 0.8
    assert min(net.fold_ratios) < 0.8
    assert heard[-1] == 1.0
    assert heard == sorted(heard)


def test_form_is_taps_then_two_gelu_layers(torch: Any) -> None:
    segments = session(1.5)
    net = fit_residual(segments, linear_fit(segments), settings=QUICK)
    assert net is not None
    width = QUICK.n_hidden * len(net.kept_folds)
    shapes = [weight.shape for weight, _ in net.layers]
    blocks = (len(net.kept_folds), QUICK.n_hidden, QUICK.n_hidden)
    assert shapes == [(width, 12 * 3), blocks, (2, width)]
    assert all(part.dtype == np.float32 for layer in net.layers for part in layer)
    x, lags = segments[0][0][:400], net.kernel.shape[1]
    padded = np.vstack([np.zeros((lags - 1, 3)), x])
    windows = np.lib.stride_tricks.sliding_window_view(padded, lags, axis=0)[:, :, ::-1]
    z = np.einsum("til,rl->tri", windows, net.kernel).reshape(len(x), -1)
    h = torch.from_numpy(z)
    for weight, bias in net.layers[:-1]:
        whole = torch.from_numpy(weight).double()
        whole = torch.block_diag(*whole) if weight.ndim == 3 else whole
        h = torch.nn.functional.gelu(h @ whole.T + torch.tensor(bias))
    y = h.numpy() @ net.layers[-1][0].T + net.layers[-1][1]
    np.testing.assert_allclose(net.predict(x), y, atol=1e-5)


def test_nothing_is_added_to_a_linear_session(torch: Any) -> None:
    segments = session(0.0)
    linear = linear_fit(segments)
    net = fit_residual(segments, linear, settings=QUICK)
    if net is not None:
        x, y = session(0.0, seed=2)[0]
        error = y - linear.predict(x)
        assert ((error - net.predict(x)) ** 2).sum() < 1.005 * (error**2).sum()


def test_same_seed_gives_the_same_numbers_and_leaves_torch_alone(torch: Any) -> None:
    segments = session(1.5, n=1200)
    linear, state = linear_fit(segments), torch.random.get_rng_state()
    first, again, other = (
        fit_residual(segments, linear, settings=QUICK, seed=seed) for seed in (3, 3, 4)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.layers[0][0], again.layers[0][0])
    assert not np.array_equal(first.layers[0][0], other.layers[0][0])
    assert torch.equal(state, torch.random.get_rng_state())


def test_missing_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = session(0.0, n=600)
    linear = linear_fit(segments)
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(CalibrationError, match=r"emag-rt\[calibrate\]"):
        fit_residual(segments, linear)


def test_bad_arguments_are_refused(torch: Any) -> None:
    segments = session(0.0, n=600)
    with pytest.raises(CalibrationError, match="device"):
        fit_residual(segments, linear_fit(segments), device="abacus")
    with pytest.raises(CalibrationError, match="segments"):
        fit_residual(segments[:1], linear_fit(segments))
    with pytest.raises(CalibrationError, match="dropout"):
        ResidualSettings(dropout=1.0)
