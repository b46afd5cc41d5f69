"""Cross-spectra add up to covariances, in every band."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from calibration.regression.cross_spectra import fit_cross_spectra
from emag_rt.core.cross_spectra import N_BINS, n_pairs
from emag_rt.errors import SettingsError

SFREQ = 160.0


def signals(low=1.0, high=40.0, seed=0, n=16_000):
    """Three channels that are mixed, in a band."""
    rng = np.random.default_rng(seed)
    sos = butter(8, (low, high), "bandpass", fs=SFREQ, output="sos")
    return sosfiltfilt(sos, rng.normal(size=(n, 3)) @ rng.normal(size=(3, 3)), axis=0)


def test_bands_add_up_to_the_covariance():
    measured, rendered = signals(), 0.5 * signals(seed=1)
    halves = [[x[:9000], x[9000:]] for x in (measured, rendered)]
    found = fit_cross_spectra(*halves, SFREQ, 45)
    assert found.measured.shape == found.rendered.shape == (N_BINS, n_pairs(3))
    for got, x in zip(found.over(0, 48), (measured, rendered), strict=True):
        np.testing.assert_allclose(got, x.T @ x / len(x), rtol=0.05, atol=0.02 * x.var())
    parts = [found.over(*band)[0] for band in ((0, 8), (8, 11), (11, 30), (30, 48))]
    np.testing.assert_allclose(sum(parts), found.over(0, 48)[0], rtol=1e-6)


def test_a_band_holds_what_lies_in_it():
    slow, fast = signals(4, 7), signals(15, 25, seed=1)
    found = fit_cross_spectra([slow + fast], [fast], SFREQ, 45)
    measured, rendered = found.over(10, 30)
    np.testing.assert_allclose(measured, fast.T @ fast / len(fast), rtol=0.05, atol=0.02)
    np.testing.assert_allclose(rendered, measured, rtol=0.02, atol=0.01)
    assert np.trace(found.over(2, 9)[1]) < 1e-2 * np.trace(found.over(2, 9)[0])


def test_what_networks_explain_belongs_to_the_rendering():
    measured = signals()
    found = fit_cross_spectra([measured], [0 * measured], SFREQ, 45, left=0.25)
    np.testing.assert_allclose(found.rendered, 0.75 * found.measured, rtol=1e-5)


def test_short_stretches_and_wide_front_ends():
    measured = signals(1.0, 75.0)
    found = fit_cross_spectra([measured, measured[:100]], [measured, measured[:100]], SFREQ, 80)
    assert found.width_hz == 4.0
    wanted = measured.T @ measured / len(measured)
    np.testing.assert_allclose(found.over(0, 80)[0], wanted, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("band", [(30, 8), (8, 8), (-1, 8), (8, 49), (float("nan"), 8)])
def test_a_band_must_lie_within(band):
    found = fit_cross_spectra([signals()], [signals()], SFREQ, 45)
    with pytest.raises(SettingsError, match="0 <= low < high <= 48"):
        found.over(*band)
