"""Scores by hand, and at their ends."""

import numpy as np
import pytest

from emag_rt.core.scores import band_nmse, band_psd_error, nmse, nmse_per_channel, pcc, snr_db


def test_scores_by_hand():
    truth = np.array([[3.0, 1.0], [-3.0, 1.0]])
    estimate = np.array([[2.0, 1.0], [-3.0, 3.0]])
    assert nmse(truth, estimate) == pytest.approx(5 / 20)
    np.testing.assert_allclose(nmse_per_channel(truth, estimate), [1 / 18, 4 / 2])
    assert snr_db(truth, estimate) == pytest.approx(10 * np.log10(4))
    assert pcc(truth, estimate) == pytest.approx(np.corrcoef(truth.ravel(), estimate.ravel())[0, 1])


def test_scores_at_their_ends(rng):
    y = rng.normal(size=(50, 3))
    assert nmse(y, y) == 0.0
    assert nmse(y, 0 * y) == pytest.approx(1.0)
    assert snr_db(y, y) == float("inf")
    assert pcc(y, 5 * y + 2) == pytest.approx(1.0)
    assert pcc(y, -y) == pytest.approx(-1.0)
    assert np.isnan(nmse(0 * y, y))
    assert np.isnan(pcc(y, 0 * y))
    y[:, 1] = 0
    assert np.isnan(nmse_per_channel(y, y + 1)).tolist() == [False, True, False]


def test_band_scores_tell_the_bands_apart(rng):
    sfreq, n = 200.0, 4000
    t = np.arange(n) / sfreq
    alpha = np.sin(2 * np.pi * 10 * t)[:, None] * [1.0, -2.0]
    beta = np.sin(2 * np.pi * 20 * t)[:, None] * [1.0, 1.0]
    scores = band_nmse(alpha + beta, alpha + 0.5 * beta, sfreq)
    assert scores["alpha"] == pytest.approx(0.0, abs=1e-3)
    assert scores["beta"] == pytest.approx(0.25, rel=1e-3)
    assert "gamma" not in band_nmse(alpha, alpha, 50.0)


def test_band_power_error_is_blind_to_phase_and_sees_lost_power(rng):
    t = np.arange(4000) / 200.0
    truth = np.column_stack([np.sin(2 * np.pi * 10 * t), 2 * np.sin(2 * np.pi * 20 * t)])
    shifted = np.roll(truth, 5, axis=0)
    assert band_nmse(truth, shifted, 200.0)["alpha"] > 0.5
    assert band_psd_error(truth, shifted, 200.0)["alpha"] < 0.01
    halved = truth * [1.0, 0.5]
    assert band_psd_error(truth, halved, 200.0)["beta"] == pytest.approx(0.75, abs=1e-6)
    assert band_psd_error(truth, halved, 200.0)["alpha"] < 0.01
    assert band_psd_error(truth, np.zeros_like(truth), 200.0)["beta"] == pytest.approx(1.0)
    assert set(band_psd_error(truth, halved, 50.0)) == {"delta", "theta", "alpha", "beta"}
