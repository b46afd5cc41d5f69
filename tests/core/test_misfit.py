"""Whether LD channels predict each other as they did: on channels whose truth is known."""

import numpy as np
import pytest
from scipy.signal import lfilter

from emag_rt.core.ld_bands import band_edges, mean_bands
from emag_rt.core.misfit import misfit

SFREQ = 128.0
EDGES = band_edges((0.5, 45.0), SFREQ)
EVERY = np.arange(12)


def head(seed):
    """How 30 sources reach 12 channels, each the more the nearer."""
    rng = np.random.default_rng(seed)
    places, sources = rng.uniform(0, 10, (12, 2)), rng.uniform(0, 10, (30, 2))
    distance = np.linalg.norm(places[:, None] - sources, axis=2)
    return np.exp(-0.5 * (distance / 2.5) ** 2) * rng.choice([-1.0, 1.0], 30)


def recording(mixing, seed, seconds=60, powers=1.0):
    """Coloured sources, mixed, with a little noise."""
    rng = np.random.default_rng(seed)
    sources = lfilter([1.0], [1.0, -0.8], rng.normal(size=(round(seconds * SFREQ), 30)), axis=0)
    signal = (powers * sources) @ mixing.T
    return signal + 0.1 * signal.std() * rng.normal(size=signal.shape)


def bands_of(signal):
    return mean_bands([signal], EDGES, SFREQ)


def compared(signal, channels=EVERY, mixing=0):
    now = bands_of(signal)
    old = bands_of(recording(head(mixing), 1, 120))
    return misfit(old, now.covariances, now.n_blocks, channels)


def test_the_same_head_fits_also_louder_and_in_another_state():
    same = compared(recording(head(0), 2))
    assert same.fits
    assert abs(same.excess) < same.limit / 4, "what is left by chance is taken off"
    assert compared(1e3 * recording(head(0), 2)).excess == pytest.approx(same.excess)
    powers = np.random.default_rng(5).uniform(0.8, 1.25, 30)
    assert compared(recording(head(0), 2, powers=powers)).fits


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_another_head_does_not(seed):
    found = compared(recording(head(seed), 2))
    assert found.excess > 3 * found.limit
    assert not found.fits


@pytest.mark.parametrize("pair", [(0, 1), (2, 9), (5, 11)])
def test_two_that_are_exchanged_are_named(pair):
    order = EVERY.copy()
    order[list(pair)] = pair[::-1]
    found = compared(recording(head(0), 2)[:, order])
    assert found.exchanged == pair
    assert not found.fits


def test_a_single_bad_channel_is_no_misfit():
    signal = recording(head(0), 2)
    signal[:, 4] += 3.0 * signal.std() * np.random.default_rng(0).normal(size=len(signal))
    assert compared(signal).fits


def test_channels_that_are_not_looked_at_change_nothing():
    signal = recording(head(0), 2)
    wrong = signal.copy()
    wrong[:, [3, 7, 8]] = recording(head(4), 6)[:, [3, 7, 8]]
    assert not compared(wrong).fits
    good = np.setdiff1d(EVERY, [3, 7, 8])
    assert compared(wrong, good).excess == pytest.approx(compared(signal, good).excess, abs=0.02)
    order = good.copy()
    order[[2, 5]] = order[[5, 2]]
    signal[:, good] = signal[:, order]
    assert compared(signal, good).exchanged == (good[2], good[5])
