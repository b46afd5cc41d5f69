from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from emag_rt.core.dilated import DilatedBlock, memory_of, run_blocks
from emag_rt.core.drive import HiddenBranch
from emag_rt.errors import SettingsError
from tests.factories import random_dilated, random_field


def gelu(values):
    return 0.5 * values * (1 + erf(values / np.sqrt(2)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_blocks_are_the_equation(rng):
    """Against loops over samples and networks."""
    branch = random_dilated(rng, random_field(rng), 4)
    blocks = branch.blocks
    n_nets, n_units, _ = blocks[0].weight.shape
    h = rng.normal(size=(memory_of(blocks) + 6, n_nets * n_units))
    levels = {t: h[t].reshape(n_nets, n_units) for t in range(len(h))}
    for block in blocks:
        after = {}
        for t in levels:
            if t - block.dilation not in levels:
                continue
            out = np.empty((n_nets, n_units))
            for k in range(n_nets):
                both = np.concatenate([levels[t - block.dilation][k], levels[t][k]])
                inner = gelu(block.weight[k] @ both + block.bias.reshape(n_nets, -1)[k])
                out[k] = levels[t][k] + block.mix[k] @ inner
                out[k] += block.mix_bias.reshape(n_nets, -1)[k]
            after[t] = out
        levels = after
    assert len(levels) == 6
    expected = np.stack([gelu(levels[t].ravel()) for t in sorted(levels)])
    np.testing.assert_allclose(run_blocks(blocks, h, "gelu"), expected, rtol=1e-12)


def test_a_hidden_unit_sees_its_memory_and_no_more(rng):
    branch = random_dilated(rng, random_field(rng), 4)
    assert branch.n_lags == 3 + 1 + 2 + 5
    x = rng.normal(size=(branch.n_lags, 4))
    before = branch.features(x)
    assert before.shape == (1, 12)
    for row in (0, 3, branch.n_lags - 1):
        moved = x.copy()
        moved[row] += 1.0
        assert np.abs(branch.features(moved) - before).max() > 1e-9
    assert len(branch.features(np.vstack([x[:1] * 9, x]))) == 2
    longer = branch.features(np.vstack([x[:1] * 9, x]))
    np.testing.assert_allclose(longer[1], before[0], rtol=1e-12)


def test_bad_blocks_are_refused(rng):
    branch = random_dilated(rng, random_field(rng), 4)
    block = branch.blocks[0]
    with pytest.raises(SettingsError, match="dilation must be at least 1, got 0"):
        replace(block, dilation=0)
    with pytest.raises(SettingsError, match=r"block mix must have shape \(3, 4, 4\)"):
        replace(block, mix=block.mix[:2])
    with pytest.raises(SettingsError, match="weight must have shape"):
        replace(block, weight=block.weight[0])
    narrow = DilatedBlock(1, np.zeros((1, 4, 8)), np.zeros(4), np.zeros((1, 4, 4)), np.zeros(4))
    with pytest.raises(SettingsError, match="one layer of their width"):
        replace(branch, blocks=(narrow,))
    with pytest.raises(SettingsError, match="one layer of their width"):
        HiddenBranch(
            branch.taps, (*branch.layers, (np.eye(12), np.zeros(12))), "gelu",
            branch.readout, branch.gains, branch.blocks,
        )  # fmt: skip
