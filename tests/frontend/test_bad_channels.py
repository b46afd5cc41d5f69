"""Bad LD channels: found for every reason, filled by the conditional mean, forgiven in time."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import sosfreqz

from emag_rt.errors import SettingsError
from emag_rt.frontend import FrontEnd, FrontEndSettings, design_band
from emag_rt.frontend.bad_channels import BadChannelMonitor
from emag_rt.frontend.fill import fill_matrix, lagged_fill
from emag_rt.frontend.rules import BadChannelRules
from tests.factories import LD, ld_covariance, ld_signal

SFREQ = 200.0
BLOCK = 100
RULES = BadChannelRules()
SETTINGS = FrontEndSettings(LD, design_band(0.5, 45.0, SFREQ), SFREQ, ld_covariance())
FAULTS = {
    "nan": lambda x: np.full_like(x, np.nan),
    "infinite": lambda x: np.full_like(x, -np.inf),
    "railed": lambda x: np.full_like(x, 2e6),
    "flat": lambda x: np.full_like(x, x[0]),
    "dead": lambda x: 1e-3 * x + 0.1 * np.sign(np.arange(len(x)) % 100 - 50),
    "wild": lambda x: x + 400.0 * np.random.default_rng(1).normal(size=len(x)),
    "1e30": lambda x: np.full_like(x, 1e30),
    "flooded, 50 Hz": lambda x: x + 150.0 * np.sin(2 * np.pi * 50.0 * np.arange(len(x)) / SFREQ),
    "flooded, 60 Hz": lambda x: x + 300.0 * np.sin(2 * np.pi * 60.0 * np.arange(len(x)) / SFREQ),
    "clipped": lambda x: np.clip(
        x + 3000.0 * np.sin(2 * np.pi * 10.0 * np.arange(len(x)) / SFREQ), -700.0, 700.0
    ),
    "jumping": lambda x: x + np.repeat(np.arange(len(x) // 60 + 1) % 2, 60)[: len(x)] * 3e5,
}
REASONS = {
    "nan": "no number, or railed",
    "infinite": "no number, or railed",
    "railed": "no number, or railed",
    "1e30": "no number, or railed",
    "flat": "flat",
    "dead": "dead",
    "wild": "at odds with the others",
    "flooded, 50 Hz": "line noise",
    "flooded, 60 Hz": "line noise",
    "clipped": "clipped",
    "jumping": "jumped",
}
TWO_BLOCKS = ("wild", "clipped", "flooded, 50 Hz", "flooded, 60 Hz")


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
    stage = FrontEnd(SETTINGS)
    history = run_in_blocks(stage, ld[:last])
    assert stage.reasons == {"Cz": REASONS[fault]}
    history += run_in_blocks(stage, ld[last:])
    assert stage.reasons == {}
    assert all(bad == set() for bad in history[:4])
    # Wild and dead take two blocks; a channel that dies rings in the high-pass before.
    found = {"dead": 8}.get(fault, 5 if fault in TWO_BLOCKS else 4)
    assert all(bad == {"Cz"} for bad in history[found:10])
    # Not good again at the first clean block, but in the end.
    assert history[10] == {"Cz"}
    assert history[12] == {"Cz"}
    assert history[-1] == set()
    assert all("Cz" not in bad for bad in history[20:])


def test_a_channel_bad_every_other_second_stays_bad():
    ld = ld_signal(4000)
    for start in range(400, 3000, 400):
        ld[start : start + 200, 3] = np.nan
    history = run_in_blocks(FrontEnd(SETTINGS), ld)
    assert all(bad == {"Cz"} for bad in history[4:30])
    assert history[-1] == set()


@pytest.mark.parametrize(
    ("sfreq", "hz"), [(128.0, 50.0), (160.0, 50.0), (160.0, 60.0), (512.0, 50.0), (512.0, 60.0)]
)
def test_mains_in_one_channel_are_found_at_any_rate(sfreq, hz):
    """In the pass band and outside of it; not by rms, which stays well below wild."""
    n = round(4 * sfreq)
    ld = ld_signal(n)
    settings = FrontEndSettings(LD, design_band(0.5, 45.0, sfreq), sfreq, ld_covariance())
    wave = np.sin(2 * np.pi * hz * np.arange(n) / sfreq)
    gain = np.abs(sosfreqz(settings.sos, [hz], fs=sfreq)[1][0])
    error_uv = 1 / np.sqrt(
        np.diag(BadChannelMonitor(ld_covariance(), sfreq, RULES)._precision(np.ones(8, dtype=bool)))
    )
    for times, found in ((1.0, ()), (2.5, ("Cz",))):
        stage = FrontEnd(settings)
        flooded = ld.copy()
        flooded[:, 3] += times * error_uv[3] * np.sqrt(2.0) / gain * wave
        stage.process(flooded)
        assert stage.bad == found


def test_mains_in_every_channel_blame_nobody():
    ld = ld_signal(2000)
    times = np.arange(2000) / SFREQ
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, 8)
    ld += 60.0 * np.sin(2 * np.pi * 50.0 * times[:, None] + phases)
    stage = FrontEnd(SETTINGS)
    stage.process(ld)
    assert stage.bad == ()


def test_channels_in_each_others_place_are_found_and_forgiven():
    ld = ld_signal(14_000)
    ld[:, [1, 5]] = ld[:, [5, 1]]
    ld[6000:, [1, 5]] = ld[6000:, [5, 1]]
    stage = FrontEnd(SETTINGS)
    history = run_in_blocks(stage, ld[:6000])
    assert stage.reasons == {"F7": "swapped", "T8": "swapped"}
    assert all(bad in (set(), {"F7", "T8"}) for bad in history)
    assert sum(map(bool, history)) >= 60 - RULES.swap_blocks - 1
    assert run_in_blocks(stage, ld[6000:])[-1] == set()


def test_three_channels_in_a_ring_are_found():
    ld = ld_signal(12_000)
    ld[:, [1, 4, 7]] = ld[:, [4, 7, 1]]
    stage = FrontEnd(SETTINGS)
    stage.process(ld)
    assert stage.bad == ("F7", "T7", "O2")


def test_twins_cannot_be_told_apart_and_are_left_alone():
    ld = ld_signal(8000)
    mix = np.eye(8)
    mix[4] = mix[5] = (mix[4] + mix[5]) / 2
    rng = np.random.default_rng(0)
    ld = ld @ mix.T + rng.normal(size=(8000, 8))
    centred = ld - ld.mean(axis=1, keepdims=True)
    ld[:, [4, 5]] = ld[:, [5, 4]]
    stage = FrontEnd(replace(SETTINGS, covariance=centred.T @ centred / 8000))
    stage.process(ld)
    assert stage.bad == ()


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


def test_a_silent_stream_with_one_lost_channel_blames_that_one():
    ld = ld_signal(900)
    ld[:, 2] = np.nan
    ld[400:] = np.where(np.isnan(ld[400:]), np.nan, 17.0)
    stage = FrontEnd(SETTINGS)
    stage.process(ld)
    assert stage.bad == ("F8",)


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


def test_lagged_fill_is_regression_on_the_good_channels_and_their_past():
    """Against least squares on the very samples that the covariances are of."""
    rng = np.random.default_rng(5)
    n, n_lags, n_times = 6, 4, 20_000
    bad = np.isin(np.arange(n), [0, 3])
    x = rng.normal(size=(n_times, n))
    x[1:, 3] += x[:-1, 1] - 0.5 * x[:-1, 2]
    x[2:, 0] += 0.8 * x[:-2, 4]
    x -= x.mean(axis=1, keepdims=True)
    lagged = np.array([x[k:].T @ x[: n_times - k] for k in range(n_lags)]) / n_times
    fill = lagged_fill(lagged, bad)
    assert fill.shape == (n_lags, 2, 4)
    np.testing.assert_allclose(fill.sum(axis=2), np.outer([1, 0, 0, 0], [1, 1]), atol=1e-9)
    mean = x[:, ~bad].mean(axis=1, keepdims=True)
    good, lost = x[:, ~bad] - mean, x[:, bad] - mean
    past = np.hstack([good[n_lags - 1 - k : n_times - k] for k in range(n_lags)])
    weights, *_ = np.linalg.lstsq(past, lost[n_lags - 1 :], rcond=None)
    found = np.hstack([f @ (np.eye(4) - 0.25) for f in fill])
    np.testing.assert_allclose(past @ found.T, past @ weights, atol=0.02)
    present = np.linalg.lstsq(good, lost, rcond=None)[0]
    assert np.var(lost[n_lags - 1 :] - past @ found.T) < 0.7 * np.var(lost - good @ present)


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


def test_a_rail_must_be_a_number():
    for rail in (np.inf, np.nan, 0.0):
        with pytest.raises(SettingsError, match="rail_uv must be positive and finite"):
            BadChannelRules(rail_uv=rail)


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


def test_whoever_watches_is_told_of_each_block_and_of_what_has_a_fault_of_its_own():
    told = []
    monitor = BadChannelMonitor(ld_covariance(), SFREQ, RULES)
    monitor.on_block = lambda *block: told.append([np.copy(part) for part in block])
    signal = ld_signal(6 * BLOCK)
    signal[:, 2] = 7.0
    signal[:, 4] = FAULTS["wild"](signal[:, 4])
    for start in range(0, len(signal), BLOCK):
        monitor.add(signal[start : start + BLOCK], signal[start : start + BLOCK])
        monitor.judge()
    assert monitor.reasons[[2, 4]].tolist() == ["flat", "at odds with the others"]
    numbers, blocks, usable = zip(*told, strict=True)
    assert [int(number) for number in numbers] == list(range(6))
    np.testing.assert_array_equal(np.concatenate(blocks), signal)
    assert [np.flatnonzero(~good).tolist() for good in usable] == [[2]] * 6
