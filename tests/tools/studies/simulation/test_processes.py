"""The covariances that the floor rests on are those of the signals drawn."""

import numpy as np
import pytest

from emag_rt.errors import SettingsError
from emag_rt.frontend import CausalFilter, design_band
from emag_rt.synthetic.generators import lowpass_poles, resonators
from tools.studies.simulation.processes import Component, bump_filter
from tools.studies.simulation.subject import BAND_HZ, make_subject

SFREQ = 128.0
SOS = design_band(*BAND_HZ, SFREQ)


def sampled(component, n_lags, seconds=1500):
    """Lagged covariances of a long draw behind the front end."""
    v = component.sample(int(seconds * SFREQ), SFREQ, np.random.default_rng(3))
    v = CausalFilter(SOS, v.shape[1]).process(v)[int(10 * SFREQ) :]
    n = len(v) - n_lags
    return np.array([v[n_lags:].T @ v[n_lags - lag : len(v) - lag] for lag in range(n_lags)]) / n


@pytest.mark.parametrize("kind", ["gaussian", "bursts"])
def test_covariances_of_spreading_processes_are_exact(kind):
    rng = np.random.default_rng(0)
    poles = resonators(np.array([10.0, 22.0]), np.array([2.0, 4.0]), SFREQ)
    component = Component("x", *poles, rng.standard_normal((3, 2, 2)), kind)
    exact = component.covariances(12, SFREQ, SOS)
    assert np.abs(sampled(component, 12) - exact).max() < 0.1 * np.abs(exact).max()
    # The delays make it matter which channel is earlier.
    assert np.abs(exact - exact.swapaxes(1, 2)).max() > 0.3 * np.abs(exact).max()


def test_covariances_of_pulses_are_exact():
    component = Component("blinks", *bump_filter(SFREQ), np.full((1, 1, 1), 100.0), "pulses")
    exact = component.covariances(30, SFREQ, SOS)[:, 0, 0]
    assert np.abs(sampled(component, 30)[:, 0, 0] - exact).max() < 0.1 * exact[0]
    # A single bump is 100 µV high before the front end.
    drawn = component.sample(int(60 * SFREQ), SFREQ, np.random.default_rng(1))
    assert 60 < drawn.max() < 300


def test_processes_have_unit_variance():
    slow = lowpass_poles(np.array([1.0]), SFREQ)
    component = Component("slow", *slow, np.ones((1, 1, 1)))
    drawn = component.sample(int(2000 * SFREQ), SFREQ, np.random.default_rng(2))
    assert drawn.var() == pytest.approx(1.0, rel=0.1)


def test_a_seed_is_a_recording():
    subject = make_subject(3, channels=16)
    first, truth = subject.draw(300, 5)
    again, _ = make_subject(3, channels=16).draw(300, 5)
    other, _ = subject.draw(300, 6)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1.0
    assert np.abs(first - truth).max() > 1.0


def test_only_noise_tells_measured_from_wanted():
    subject = make_subject(0, channels=16, gaussian=True, sensor_uv=2.0)
    measured, wanted = (subject.covariances(1, SOS, wanted_only=w)[0] for w in (False, True))
    difference = measured - wanted
    assert np.abs(difference - np.diag(np.diag(difference))).max() < 1e-9
    # White noise of 2 µV keeps the pass band's share of its power (0.7); slow drift adds what of
    # its 36 µV² lies above 0.5 Hz.
    assert 0.6 * 4.0 < np.diag(difference).mean() < 0.8 * 4.0 + 0.1 * 36.0


@pytest.mark.parametrize("wrong", [{"sfreq": 64.0}, {"sensor_uv": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        make_subject(0, channels=16, **wrong)
