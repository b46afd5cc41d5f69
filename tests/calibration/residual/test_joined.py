"""Own networks and those of other people, weighed on blocks held out and put side by side."""

import numpy as np
import pytest

from calibration.regression.blocks import held_out_rows, make_blocks
from calibration.residual.gains import output_gains, shares_beside
from calibration.residual.joined import can_join, join, those_beside
from calibration.residual.residual_net import ResidualNet
from calibration.residual.task import ALL_SPLITS, Task, TrainedNetwork
from emag_rt.core.dilated import DilatedBlock

N_LD, N_OUT = 3, 5


def network(seed, n_nets, n_units, *, n_taps, n_lags, activation="gelu", dilations=(1, 2, 4)):
    rng = np.random.default_rng(seed)
    width, biased = n_nets * n_units, activation == "gelu"

    def bias(n):
        return rng.normal(size=n) if biased else np.zeros(n)

    def block(dilation):
        shape = (n_nets, n_units, n_units)
        weight = rng.normal(scale=0.3, size=(n_nets, n_units, 2 * n_units))
        return DilatedBlock(
            dilation, weight, bias(width), rng.normal(scale=0.3, size=shape), bias(width)
        )

    layers = tuple(
        (rng.normal(size=shape).astype(np.float32), bias(shape[0]).astype(np.float32))
        for shape in ((width, n_taps * N_LD), (N_OUT, width))
    )
    return ResidualNet(
        rng.normal(size=(n_taps, n_lags)), layers, tuple(map(block, dilations)), 0,
        np.ones(N_OUT), (0.9,), activation,
    )  # fmt: skip


@pytest.mark.parametrize("n_nets", [1, 3, 4])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_joined_they_give_what_both_give(n_nets, activation):
    own = network(0, n_nets, 4, n_taps=1, n_lags=1)
    others = network(1, 1, 8, n_taps=3, n_lags=6, activation=activation)
    x = np.random.default_rng(2).normal(size=(200, N_LD))
    assert can_join(others, n_units=4, n_blocks=3, step=1)
    both = join(own, others, 0.4)
    assert both.activation == "gelu"
    assert both.blocks[0].mix.shape == (1 + -(-n_nets // 2), 8, 8)
    expected = own.predict(x) + 0.4 * others.predict(x)
    assert np.abs(both.predict(x) - expected).max() < 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(4, 3, 2), (4, 2, 1), (3, 3, 1)])
def test_networks_of_another_make_are_not_joined(size):
    n_units, n_blocks, step = size
    others = network(1, 1, 8, n_taps=1, n_lags=1)
    assert not can_join(others, n_units, n_blocks, step)


def test_those_that_saw_everything_go_beside_and_the_room_is_filled():
    def trained(split, weights):
        return TrainedNetwork(split, {"w": np.zeros(1)} if weights else None, None)

    nets = [trained(0, False), *(trained(k, True) for k in (1, 2, *[ALL_SPLITS] * 3))]
    others = network(1, 1, 8, n_taps=1, n_lags=1)
    beside = those_beside(nets, others, n_units=4)
    assert [net.split for net in beside] == [ALL_SPLITS] * 3 + [1]
    assert [net.split for net in those_beside(nets[:3], others, 4)] == [1, 2]


def task_of(target, sfreq):
    n = len(target)
    blocks = make_blocks([n])
    splits = range(1 + max(block.split for block in blocks))
    held = tuple(np.flatnonzero(held_out_rows([n], blocks, k)) for k in splits)
    scale = target.std(axis=0)
    return Task(
        np.zeros((n, 1), np.float32), (target / scale).astype(np.float32),
        np.ones(n, np.float32), np.ones(1), scale, (n,), blocks,
        tuple(np.ones(n, bool) for _ in splits), held, 1,
    )  # fmt: skip


def weighed(own, others, target, sfreq=160.0):
    task = task_of(target, sfreq)
    nets = [TrainedNetwork(k, {}, (own / task.r_scale)[rows]) for k, rows in enumerate(task.held)]
    gains, _ = output_gains(task, nets, 1.0, sfreq)
    assert gains.any()
    return gains, shares_beside(task, nets, gains, others, 1.0, sfreq)


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(3)
    return [rng.normal(size=(160 * 60, N_OUT)) for _ in range(3)]


def test_each_counts_as_far_as_it_tells(parts):
    first, second, noise = parts
    _, shares = weighed(first, second, first + 0.5 * second + noise)
    assert 0.95 < shares.own <= 1.0
    assert shares.others == pytest.approx(0.5, abs=0.05)
    left = [1.0 / (1.0 + 0.25 + 1.0)] * len(shares.ratios)
    np.testing.assert_allclose(shares.ratios, left, rtol=0.1)


def test_what_both_tell_counts_once(parts):
    first, _, noise = parts
    gains, shares = weighed(first + 0.5 * noise, first - 0.5 * noise, first)
    assert shares.own * gains.mean() == pytest.approx(0.5, abs=0.1)
    assert shares.others == pytest.approx(0.5, abs=0.1)


def test_what_tells_nothing_is_left_out(parts):
    first, second, noise = parts
    assert weighed(first, second, first + noise)[1] is None
    assert weighed(first, -first, first + noise)[1] is None


def test_a_split_without_a_network_has_what_the_other_people_leave(parts):
    first, second, noise = parts
    task = task_of(first + second + noise, 160.0)
    nets = [TrainedNetwork(k, {}, (first / task.r_scale)[rows]) for k, rows in enumerate(task.held)]
    nets[1] = TrainedNetwork(1, None, None)
    shares = shares_beside(task, nets, np.ones(N_OUT), second, 1.0, 160.0)
    assert shares.ratios[0] == pytest.approx(1 / 3, rel=0.1)
    assert shares.ratios[1] == pytest.approx(2 / 3, rel=0.1)
