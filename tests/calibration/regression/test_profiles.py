import numpy as np
import pytest

from calibration.regression.profiles import (
    apply_taps,
    candidate_banks,
    n_lags_of,
    spacing_s,
    taps,
)
from emag_rt.errors import CalibrationError


@pytest.mark.parametrize("sfreq", [128.0, 160.0, 500.0, 2048.0])
@pytest.mark.parametrize("n_look_ahead", [0, 4])
def test_banks_hold_an_exact_present_sample(sfreq: float, n_look_ahead: int) -> None:
    for bank in candidate_banks(sfreq, n_look_ahead):
        n_lags = n_lags_of(bank, sfreq, n_look_ahead)
        kernel = taps(bank.centers_s, bank.widths_s, sfreq, n_look_ahead, n_lags)
        present = kernel[np.flatnonzero(bank.centers_s == 0.0)[0]]
        expected = np.zeros(n_lags)
        expected[n_look_ahead] = 1.0
        np.testing.assert_array_equal(present, expected)
        assert (kernel.sum(axis=1) > 0.3).all()
        assert (np.diff(bank.centers_s) > 0).all()


def test_lags_bank_is_a_stack_of_delays() -> None:
    bank = candidate_banks(128.0)[0]
    np.testing.assert_array_equal(taps(bank.centers_s, bank.widths_s, 128.0, 0, 16), np.eye(16))


def test_look_ahead_mirrors_the_lags() -> None:
    bank = candidate_banks(160.0, 3)[0]
    np.testing.assert_allclose(bank.centers_s * 160, np.arange(-3, 16))
    kernel = taps(bank.centers_s, bank.widths_s, 160.0, 3, 19)
    np.testing.assert_array_equal(kernel, np.eye(19))


def test_memory_is_kept_in_seconds_above_160_hz() -> None:
    assert spacing_s(128.0) == 1 / 128
    assert spacing_s(2048.0) == 1 / 160
    low, high = candidate_banks(160.0)[1], candidate_banks(2048.0)[1]
    np.testing.assert_allclose(low.centers_s, high.centers_s)
    np.testing.assert_allclose(low.widths_s[1:], high.widths_s[1:])


def test_profiles_follow_the_equation() -> None:
    kernel = taps(np.array([0.02]), np.array([0.01]), 200.0, 2, 10)
    tau = (np.arange(10) - 2) / 200.0
    np.testing.assert_allclose(kernel[0], np.exp(-0.5 * ((tau - 0.02) / 0.01) ** 2))


@pytest.mark.parametrize("n_look_ahead", [0, 3])
def test_application_equals_the_sum_over_lags(n_look_ahead: int) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((60, 3)), rng.standard_normal((4, 9))
    expected = np.zeros((60, 4, 3))
    for t in range(60):
        for lag in range(9):
            source = t - (lag - n_look_ahead)
            if 0 <= source < 60:
                expected[t] += kernel[:, lag, None] * x[source]
    np.testing.assert_allclose(apply_taps(x, kernel, n_look_ahead), expected, atol=1e-12)
    part = apply_taps(x, kernel, n_look_ahead, 17, 31)
    np.testing.assert_allclose(part, expected[17:31], atol=1e-12)
    assert part.shape == (14, 4, 3)


def test_application_is_causal() -> None:
    rng = np.random.default_rng(1)
    x, bank = rng.standard_normal((300, 2)), candidate_banks(160.0)[1]
    kernel = taps(bank.centers_s, bank.widths_s, 160.0, 0, n_lags_of(bank, 160.0))
    changed = x.copy()
    changed[200:] += 100.0
    before, after = apply_taps(x, kernel), apply_taps(changed, kernel)
    np.testing.assert_allclose(before[:200], after[:200], atol=1e-9)


@pytest.mark.parametrize(("sfreq", "ahead"), [(0.0, 0), (float("nan"), 0), (160.0, -1)])
def test_bad_arguments_are_refused(sfreq: float, ahead: int) -> None:
    with pytest.raises(CalibrationError):
        candidate_banks(sfreq, ahead)
