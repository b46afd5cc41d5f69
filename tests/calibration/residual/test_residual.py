import builtins
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.regression.blocks import Segment
from calibration.regression.closed_form import LinearFit, fit_linear
from calibration.regression.profiles import candidate_banks
from calibration.residual.bag import LEAST_S, fit_residual
from calibration.residual.residual_net import ResidualNet
from calibration.residual.task import ResidualSettings
from calibration.residual.unfinished import UnfinishedTraining
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.core.dilated import run_blocks
from emag_rt.errors import CalibrationError, SettingsError

SFREQ = 160.0
QUICK = ResidualSettings(
    n_units=12, n_blocks=3, n_whole=1, dropout=0.0, min_steps=150, max_steps=150, batch_size=4,
    n_times=64, learning_rate=2e-2, weight_decay=1e-3, ema=0.97, n_checks=6,
    one_steps=100,
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


@dataclass(frozen=True)
class Fit:
    segments: list[Segment]
    linear: LinearFit
    net: ResidualNet
    heard: list[float]
    torch_state_kept: bool


def fitted(module: Any, segments: list[Segment]) -> Fit:
    linear, heard, state = linear_fit(segments), [], module.random.get_rng_state()
    net = fit_residual(
        segments, linear, settings=QUICK, progress=lambda part, _: heard.append(part), seed=3
    )
    assert net is not None
    kept = bool(module.equal(state, module.random.get_rng_state()))
    return Fit(segments, linear, net, heard, kept)


@pytest.fixture(scope="module")
def planted(torch: Any) -> Fit:
    """What the networks learn of a session with a non-linearity."""
    return fitted(torch, session(1.5))


@pytest.fixture(scope="module")
def short(torch: Any) -> Fit:
    """The same of a session of little more than the least length."""
    return fitted(torch, session(1.5, n=1700))


def test_planted_non_linearity_is_found(planted: Fit) -> None:
    (x, y), linear, net, heard = session(1.5, seed=1)[0], planted.linear, planted.net, planted.heard
    before = ((y - linear.predict(x)) ** 2).mean(axis=0)
    after = ((y - linear.predict(x) - net.predict(x)) ** 2).mean(axis=0)
    assert after[0] < 0.6 * before[0]
    assert after[1] < 1.02 * before[1]
    assert net.gains[0] > 0.8
    assert min(net.split_ratios) < 0.8
    assert heard[-1] == 1.0
    assert heard == sorted(heard)


def test_memory_is_used(torch: Any) -> None:
    """What depends on the past alone is found, at rates with and without steps between samples."""
    for sfreq in (160.0, 480.0):
        lag, segments = round(7 * sfreq / 160), []
        rng = np.random.default_rng(5)
        for _ in range(3):
            x = rng.standard_normal((round(15 * sfreq), 3))
            y = 0.2 * rng.standard_normal((len(x), 2))
            y[lag:, 0] += 2.0 * np.abs(x[:-lag, 1])
            segments.append((x, y))
        linear = fit_linear(segments[:2], sfreq, banks=candidate_banks(sfreq)[:1], gammas=(1.0,))
        net = fit_residual(segments[:2], linear, settings=QUICK)
        assert net is not None
        x, y = segments[2]
        error = y - linear.predict(x)
        left = ((error - net.predict(x)) ** 2).sum(axis=0) / (error**2).sum(axis=0)
        assert left[0] < 0.7


def test_form_is_one_layer_then_blocks(planted: Fit) -> None:
    segments, net = planted.segments, planted.net
    assert [block.weight.shape for block in net.blocks] == [(1, 12, 24)] * 3  # QUICK: one network
    assert [block.dilation for block in net.blocks] == [1, 2, 4]
    assert [w.shape for w, _ in net.layers] == [(12, 3), (2, 12)]
    assert all(part.dtype == np.float32 for layer in net.layers for part in layer)
    x = segments[0][0][:50]
    h = np.vstack([np.zeros((7, 3)), x]) @ net.layers[0][0].T + net.layers[0][1]
    y = run_blocks(net.blocks, h, "gelu") @ net.layers[1][0].T + net.layers[1][1]
    np.testing.assert_allclose(net.predict(x), y, atol=1e-5)
    # A causal network: what comes later changes nothing.
    np.testing.assert_allclose(net.predict(segments[0][0])[:50], y, atol=1e-5)


def test_one_network_gives_what_the_bag_gives(planted: Fit) -> None:
    (x, y), linear, one = session(1.5, seed=1)[0], planted.linear, planted.net
    bag = fit_residual(planted.segments, linear, settings=replace(QUICK, one_steps=0), seed=3)
    assert bag is not None
    assert len(bag.blocks[0].weight) > 1
    assert len(one.blocks[0].weight) == 1
    assert one.split_ratios == bag.split_ratios
    apart = ((one.predict(x) - bag.predict(x)) ** 2).sum() / (bag.predict(x) ** 2).sum()
    assert 0.0 < apart < 0.05
    missed = y - linear.predict(x)
    assert ((missed - one.predict(x)) ** 2).sum() < 1.02 * ((missed - bag.predict(x)) ** 2).sum()


def test_look_ahead_moves_the_network(torch: Any) -> None:
    """What is known three samples later is found with a look-ahead of three, and not without."""
    rng, found = np.random.default_rng(7), []
    x = rng.standard_normal((5000, 3))
    y = 0.2 * rng.standard_normal((5000, 1))
    y[:-3, 0] += 2.0 * np.abs(x[3:, 0])
    for ahead in (0, 3):
        segments = [(x[:4000], y[:4000])]
        linear = fit_linear(
            segments, SFREQ, ahead, banks=candidate_banks(SFREQ, ahead)[:1], gammas=(1.0,)
        )
        net = fit_residual(segments, linear, settings=QUICK)
        if net is None:
            found.append(1.0)
            continue
        error = y[4000:] - linear.predict(x[4000:])
        found.append(float(((error - net.predict(x[4000:])) ** 2).sum() / (error**2).sum()))
    assert found[0] > 0.97
    assert found[1] < 0.7


def test_interrupted_training_goes_on_to_the_same_numbers(short: Fit, tmp_path: Path) -> None:
    segments, linear, whole = short.segments, short.linear, short.net
    unfinished, steps = UnfinishedTraining(tmp_path / "work", "a"), []

    def interrupt(_share: float, message: str) -> None:
        steps.append(message)
        if "step 101" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_residual(
            segments, linear, settings=QUICK, seed=3, progress=interrupt, unfinished=unfinished
        )
    assert unfinished.path.exists()
    steps.clear()
    resumed = fit_residual(
        segments,
        linear,
        settings=QUICK,
        seed=3,
        progress=lambda _, m: steps.append(m),
        unfinished=unfinished,
    )
    assert "step 101" in steps[0]  # the hundred before it were not done again
    assert resumed is not None
    np.testing.assert_array_equal(whole.layers[1][0], resumed.layers[1][0])
    np.testing.assert_array_equal(whole.blocks[2].mix, resumed.blocks[2].mix)


def test_two_threads_are_interrupted_and_go_on_alike(torch: Any, tmp_path: Path) -> None:
    """With dropout, so that the noise must go on where it was."""
    settings = replace(QUICK, dropout=0.3, min_steps=60, max_steps=60)
    segments = session(1.5, n=1700)
    linear = linear_fit(segments)

    def interrupt(_share: float, message: str) -> None:
        if "step 41" in message:
            raise KeyboardInterrupt

    torch.set_num_threads(2)
    try:
        whole = fit_residual(segments, linear, settings=settings)
        unfinished = UnfinishedTraining(tmp_path / "work", "a")
        with pytest.raises(KeyboardInterrupt):
            fit_residual(
                segments, linear, settings=settings, progress=interrupt, unfinished=unfinished
            )
        resumed = fit_residual(segments, linear, settings=settings, unfinished=unfinished)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert whole is not None
    assert resumed is not None
    np.testing.assert_array_equal(whole.blocks[2].mix, resumed.blocks[2].mix)
    np.testing.assert_array_equal(whole.layers[1][0], resumed.layers[1][0])


def test_work_of_other_threads_is_not_taken_up(
    torch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unfinished = UnfinishedTraining(tmp_path / "work", "a")
    unfinished.save({"steps": 3, "groups": [1, 2]})
    assert unfinished.load("cpu", 1) is None
    assert "2 threads, now there are 1" in caplog.text


def test_a_file_that_cannot_be_written_stops_nothing(
    torch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unfinished = UnfinishedTraining(tmp_path / "missing" / "work", "a")
    unfinished.save({"steps": 3, "groups": []})
    unfinished.save({"steps": 4, "groups": []})
    assert caplog.text.count("going on without") == 1
    assert not unfinished.used


def test_work_of_another_calibration_is_not_taken_up(
    torch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "work"
    UnfinishedTraining(path, "a").save({"steps": 3, "groups": [0]})
    assert UnfinishedTraining(path, "a").load("cpu", 1) == {"steps": 3, "groups": [0]}
    other = UnfinishedTraining(path, "b")
    assert other.load("cpu", 1) is None
    assert "another calibration" in caplog.text
    other.remove()
    assert path.exists()  # not its own
    path.write_bytes(b"torn")
    assert UnfinishedTraining(path, "a").load("cpu", 1) is None
    assert "cannot be read" in caplog.text


def test_work_of_another_version_is_not_taken_up(
    torch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before its layout had a number, the state held torch's own optimiser."""
    unfinished = UnfinishedTraining(tmp_path / "work", "a")
    old = {"steps": 3, "best": 0.0, "groups": [{"networks": {}, "optimizer": {}}]}
    torch.save({"fingerprint": "a", "state": old}, unfinished.path)
    assert unfinished.load("cpu", 1) is None
    assert "written by another version" in caplog.text
    assert not unfinished.used


def test_nothing_is_added_to_a_linear_session(torch: Any) -> None:
    segments = session(0.0)
    linear = linear_fit(segments)
    net = fit_residual(segments, linear, settings=QUICK)
    if net is not None:
        x, y = session(0.0, seed=2)[0]
        error = y - linear.predict(x)
        assert ((error - net.predict(x)) ** 2).sum() < 1.005 * (error**2).sum()


def test_same_seed_gives_the_same_numbers_and_leaves_torch_alone(short: Fit) -> None:
    first, (again, other) = (
        short.net,
        (fit_residual(short.segments, short.linear, settings=QUICK, seed=seed) for seed in (3, 4)),
    )
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.layers[0][0], again.layers[0][0])
    assert not np.array_equal(first.layers[0][0], other.layers[0][0])
    assert short.torch_state_kept


def test_missing_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = session(0.0, n=1700)
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
    segments = session(0.0, n=1700)
    with pytest.raises(CalibrationError, match="device"):
        fit_residual(segments, linear_fit(segments), device="abacus")
    with pytest.raises(CalibrationError, match="segments"):
        fit_residual(segments[:1], linear_fit(segments))
    with pytest.raises(CalibrationError, match="dropout"):
        ResidualSettings(dropout=1.0)
    with pytest.raises(SettingsError, match="networks must be bag without"):
        CalibrationSettings(networks="one", refine=False)


def test_short_sessions_get_no_network() -> None:
    segments = session(1.5, n=round(0.49 * LEAST_S * SFREQ))
    assert fit_residual(segments, linear_fit(segments), settings=QUICK) is None
