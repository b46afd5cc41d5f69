"""Long filters on several levels: the same filter, on far fewer lags."""

import numpy as np
import pytest

from calibration.regression.profiles import candidate_banks, n_lags_of, taps
from emag_rt.core.drive import causal_fir
from emag_rt.core.lag_levels import lag_levels


def bank_taps(sfreq):
    """Taps as calibration makes them, all banks."""
    banks = candidate_banks(sfreq)
    n_lags = max(n_lags_of(bank, sfreq) for bank in banks)
    return np.concatenate([taps(b.centers_s, b.widths_s, sfreq, 0, n_lags) for b in banks])


def rendered(levels, x, n_times):
    """Filter as the compiled code does: smooth the stream, then look at few lags of it."""
    streams = [x]
    for level in range(1, levels.n_levels):
        smoothed = np.zeros_like(x)
        for i, weight in enumerate(levels.smooth):
            shift = i << (level - 1)
            smoothed[shift:] += weight * streams[-1][: len(x) - shift]
        streams.append(smoothed)
    out = 0.0
    for part in levels.segments:
        for k in range(part.taps.shape[1]):
            back = part.first + k * part.stride
            stop = len(x) - back
            out = out + streams[part.level][stop - n_times : stop] * part.taps[:, k]
    return out


@pytest.mark.parametrize("sfreq", [500.0, 2000.0, 8000.0])
def test_same_filter_on_fewer_lags(sfreq):
    bank = bank_taps(sfreq)
    levels = lag_levels(bank)
    n_lags = bank.shape[1]
    assert levels.n_lags < 0.6 * n_lags
    if sfreq == 8000.0:
        assert levels.n_lags < n_lags / 10
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * n_lags + 300, 1))
    exact = causal_fir(bank, x[-(n_lags - 1 + 200) :])
    found = rendered(levels, x, 200)
    assert np.linalg.norm(found - exact) < 1e-6 * np.linalg.norm(exact)
    assert levels.segments[0].first == levels.segments[0].level == 0
    assert all(part.first >= 1 for part in levels.segments[1:])
    assert all(part.deepest < n_lags for part in levels.segments)


def test_what_is_not_smooth_or_short_stays_dense():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(3, 400)), bank_taps(160.0)[:, :80], np.zeros((2, 300))):
        levels = lag_levels(values)
        assert levels.n_levels == 1
        np.testing.assert_array_equal(levels.segments[0].taps, values)


def test_rows_of_no_importance_need_not_be_followed():
    smooth = np.exp(-0.5 * ((np.arange(600) - 300) / 40.0) ** 2)
    values = np.stack([smooth, np.random.default_rng(0).normal(size=600)])
    assert lag_levels(values).n_levels == 1
    assert lag_levels(values, np.array([1.0, 0.0])).n_lags < 300


def test_long_filters_are_left_dense_where_solving_would_take_much_memory(monkeypatch):
    bank = np.exp(-np.arange(2000) / 400.0)[None] * np.ones((2, 1))
    assert len(lag_levels(bank).segments) > 1
    monkeypatch.setattr("emag_rt.core.lag_levels._LARGEST", 1000)
    (only,) = lag_levels(bank).segments
    assert only.taps.shape == bank.shape
