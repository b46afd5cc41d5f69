"""Bad LD channels: found for every reason, filled by the conditional mean, forgiven in time."""

import numpy as np
import pytest

from emag_rt.frontend import FrontEnd, FrontEndSettings, design_band
from emag_rt.frontend.bad_channels import BadChannelMonitor, BadChannelRules
from emag_rt.frontend.fill import fill_matrix, lagged_fill
from tests.factories import LD, ld_covariance, ld_signal

SFREQ = 200.0
BLOCK = 100
SETTINGS = FrontEndSettings(LD, design_band(0.5, 45.0, SFREQ), SFREQ, ld_covariance())
FAULTS = {
    "nan": lambda x: np.full_like(x, np.nan),
    "infinite": lambda x: np.full_like(x, -np.inf),
    "railed": lambda x: np.full_like(x, 2e6),
    "flat": lambda x: np.full_like(x, x[0]),
    "dead": lambda x: 1e-3 * x + 0.1 * np.sign(np.arange(len(x)) % 100 - 50),
    "wild": lambda x: x + 2000.0 * np.random.default_rng(1).normal(size=len(x)),
}


def run_in_blocks(stage, ld):
    """Bad channels after each block of samples."""
    history = []
    for i in range(0, len(ld), BLOCK):
        stage.process(ld[i : i + BLOCK])
        history.append(set(stage.bad))
    return history


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found_and_forgiven(fault):
    ld = ld_signal(2600)
    first, last = 4 * BLOCK, 10 * BLOCK
    ld[first:last, 3] = FAULTS[fault](ld[first:last, 3])
    history = run_in_blocks(FrontEnd(SETTINGS), ld)
    assert all(bad == set() for bad in history[:4])
    # Wild and dead take two blocks; a channel that dies rings in the high-pass before.
    found = {"wild": 5, "dead": 8}.get(fault, 4)
    assert all(bad == {"Cz"} for bad in history[found:10])
    # Not good again at the first clean block, but in the end.
    assert history[10] == {"Cz"}
    assert history[12] == {"Cz"}
    assert history[-1] == set()
    assert all("Cz" not in bad for bad in history[20:])


@pytest.mark.parametrize("fault", ["nan", "railed"])
def test_broken_samples_never_come_out(fault):
    """Filled from the first broken sample on, in the same chunk."""
    ld = ld_signal(300)
    clean = FrontEnd(SETTINGS).process(ld)
    ld[130:, 3] = FAULTS[fault](ld[130:, 3])
    found = FrontEnd(SETTINGS).process(ld)
    np.testing.assert_allclose(found[:130], clean[:130], atol=1e-9)  # compiled or not: rounding
    others = [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_allclose(found[:, others], clean[:, others], atol=1e-9)
    bad = np.arange(8) == 3
    expected = clean[130:, others] @ fill_matrix(ld_covariance(), bad).T
    np.testing.assert_allclose(found[130:, [3]], expected, atol=1e-9)
    # The conditional mean knows the channel from its neighbours.
    error = found[130:, 3] - clean[130:, 3]
    assert np.var(error) < 0.5 * np.var(clean[130:, 3])


def test_one_wild_channel_does_not_accuse_the_others():
    ld = ld_signal(1200)
    for column, size in ((2, 800.0), (5, 9000.0)):
        ld[:, column] += size * np.random.default_rng(column).normal(size=1200)
    stage = FrontEnd(SETTINGS)
    stage.process(ld)
    assert stage.bad == ("F8", "T8")


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_single_artefact_block_is_no_bad_channel(n_blocks):
    ld = ld_signal(1200)
    burst = 800.0 * np.sin(2 * np.pi * 20.0 * np.arange(n_blocks * BLOCK - 50) / SFREQ)
    ld[500 : 500 + len(burst), 2] += burst
    history = run_in_blocks(FrontEnd(SETTINGS), ld)
    assert any(history) == (n_blocks > 1)


@pytest.mark.parametrize("seed", range(5))
def test_no_false_alarms_on_clean_signals(seed):
    """Five minutes each, with a common signal and slow offsets on top."""
    rng = np.random.default_rng(seed)
    ld = ld_signal(60_000, seed=seed) + 200.0 * rng.normal(size=(60_000, 1))
    ld += rng.uniform(-5e4, 5e4, 8)
    stage = FrontEnd(SETTINGS)
    for i in range(0, len(ld), 1000):
        stage.process(ld[i : i + 1000])
        assert stage.bad == ()


def test_a_silent_stream_blames_nobody():
    stage = FrontEnd(SETTINGS)
    stage.process(np.full((500, 8), 17.0))
    assert stage.bad == ()


def test_all_channels_lost_gives_finite_numbers():
    ld = ld_signal(600)
    ld[200:400] = np.nan
    stage = FrontEnd(SETTINGS)
    out = [stage.process(ld[i : i + 50]) for i in range(0, 300, 50)]
    assert stage.bad == LD
    assert np.isfinite(np.concatenate(out)).all()
    stage.process(ld[300:])
    stage.process(ld_signal(1000, seed=2))
    assert stage.bad == ()


def test_fill_is_the_gaussian_conditional_mean():
    """Against the precision matrix of a full-rank covariance: E[b | g] = -P_bb^-1 P_bg x_g."""
    rng = np.random.default_rng(3)
    n = 7
    bad = np.isin(np.arange(n), [1, 4])
    # Reference-free part of a covariance, plus a huge common signal: no reference is known.
    root = rng.normal(size=(n, n))
    centre = np.eye(n) - 1.0 / n
    contrasts = centre @ root @ root.T @ centre
    precision = np.linalg.inv(contrasts + 1e7 * np.ones((n, n)))
    expected = -np.linalg.solve(precision[np.ix_(bad, bad)], precision[np.ix_(bad, ~bad)])
    np.testing.assert_allclose(fill_matrix(contrasts, bad), expected, atol=1e-4)


def test_fill_does_not_depend_on_the_reference():
    rng = np.random.default_rng(4)
    n = 6
    root = rng.normal(size=(n, n))
    bad = np.arange(n) == 2
    to_channel = np.eye(n) - np.eye(n)[0]  # another reference: channel 0
    average = np.eye(n) - 1.0 / n
    full = root @ root.T
    fills = [fill_matrix(t @ full @ t.T, bad) for t in (np.eye(n), to_channel, average)]
    np.testing.assert_allclose(fills[1], fills[0], atol=1e-9)
    np.testing.assert_allclose(fills[2], fills[0], atol=1e-9)
    np.testing.assert_allclose(fills[0].sum(axis=1), 1.0)


def test_fill_from_a_single_good_channel():
    bad = np.array([True, False, True])
    np.testing.assert_allclose(fill_matrix(np.eye(3), bad), [[1.0], [1.0]])


def test_the_fill_is_solved_when_the_set_changes_not_per_chunk(monkeypatch):
    calls = []

    def counted(covariance, bad):
        calls.append(bad.copy())
        return lagged_fill(covariance, bad)

    monkeypatch.setattr("emag_rt.frontend.frontend.lagged_fill", counted)
    ld = ld_signal(800)
    ld[100:, 3] = np.nan
    ld[350:, 5] = np.nan
    stage = FrontEnd(SETTINGS)
    for i in range(0, 800, 5):
        stage.process(ld[i : i + 5])
    assert [int(bad.sum()) for bad in calls] == [1, 2]


def test_verdicts_fall_at_the_ends_of_blocks():
    monitor = BadChannelMonitor(ld_covariance(), SFREQ, BadChannelRules())
    assert monitor.n_block == BLOCK
    x = ld_signal(BLOCK)
    x[:, 1] = 0.0
    monitor.add(x[:60], x[:60])
    assert not monitor.judge()
    assert monitor.room == 40
    monitor.add(x[60:], x[60:])
    assert monitor.judge()
    assert monitor.room == BLOCK
    assert monitor.bad.tolist() == [False, True, *[False] * 6]
