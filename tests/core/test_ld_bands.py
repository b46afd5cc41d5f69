"""Covariances of LD channels in bands of frequency."""

import numpy as np
import pytest

from emag_rt.core.drive import reference_free
from emag_rt.core.ld_bands import band_covariances, band_edges, mean_bands, of_unit_power, slowed
from tests.factories import ld_signal

SFREQ = 200.0


def test_bands_are_those_that_the_front_end_lets_through():
    assert band_edges((0.5, 45.0), SFREQ).tolist() == [1, 4, 8, 13, 20, 30]
    assert band_edges((4.0, 25.0), SFREQ).tolist() == [4, 8, 13, 20]
    assert band_edges((0.5, 45.0), 40.0).tolist() == [1, 4, 8, 13]
    assert len(band_edges((31.0, 45.0), SFREQ)) == 0


@pytest.mark.parametrize(("hz", "band"), [(2.0, 0), (6.0, 1), (10.0, 2), (16.0, 3), (25.0, 4)])
def test_power_is_found_in_its_band_and_whatever_the_reference(hz, band):
    times = np.arange(400) / SFREQ
    wave = 3.0 * np.sin(2 * np.pi * hz * times)
    block = np.outer(wave, [1.0, -1.0, 0.0]) + 50.0 * np.cos(times)[:, None]
    found = band_covariances(reference_free(block)[0], band_edges((0.5, 45.0), SFREQ), SFREQ)
    assert found.shape == (5, 3, 3)
    power = np.trace(found, axis1=1, axis2=2)
    assert power[band] == pytest.approx(9.0, rel=0.01)
    assert power.sum() == pytest.approx(9.0, rel=0.01)
    wanted = 4.5 * np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(found[band], wanted, atol=0.05)


def test_a_mean_counts_each_block_alike_however_loud():
    quiet = ld_signal(400)
    edges = band_edges((0.5, 45.0), SFREQ)
    other = quiet[:, ::-1]
    found = mean_bands([quiet, 1000.0 * other, quiet[:399]], edges, SFREQ)
    centred = [reference_free(x)[0] for x in (quiet, other)]
    shapes = [of_unit_power(band_covariances(x, edges, SFREQ)) for x in centred]
    np.testing.assert_allclose(found.covariances, np.mean(shapes, axis=0))
    np.testing.assert_allclose(np.trace(found.covariances, axis1=1, axis2=2), 1.0)
    assert found.n_blocks == 2


def test_where_nothing_can_be_told_there_is_nothing():
    edges = band_edges((0.5, 45.0), SFREQ)
    assert mean_bands([np.zeros((400, 8))], edges, SFREQ) is None
    assert mean_bands([ld_signal(399)], edges, SFREQ) is None
    assert mean_bands([ld_signal(400)], edges[:1], SFREQ) is None
    assert of_unit_power(np.full((5, 8, 8), np.nan)) is None


@pytest.mark.parametrize(("sfreq", "slower"), [(128.0, 128.0), (250.0, 250.0), (1000.0, 200.0)])
def test_high_rates_are_slowed_and_tell_the_same(sfreq, slower):
    times = np.arange(round(20.3 * sfreq)) / sfreq
    waves = np.sin(2 * np.pi * np.outer(times, [2.0, 6.0, 10.0, 16.0, 25.0]))
    signal = waves @ np.random.default_rng(0).normal(size=(5, 6))
    assert slowed(signal, sfreq)[1] == slower
    found = mean_bands([signal], band_edges((0.5, 45.0), sfreq), sfreq)
    assert found.n_blocks == 10
    known = mean_bands([signal[:: round(sfreq / 125)]], found.edges_hz, sfreq / round(sfreq / 125))
    np.testing.assert_allclose(found.covariances, known.covariances, atol=0.01)
