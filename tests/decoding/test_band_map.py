"""The one matrix that comes closest to rendering."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyriemann")

from calibration.regression.cross_spectra import fit_cross_spectra
from emag_rt.decoding import BandMap, rendering_matrix
from tests.factories import LD, REST, ld_signal, make_bundle


@pytest.fixture(scope="module")
def known():
    """A bundle whose rendering is a matrix (times noise that it cannot know), and the matrix."""
    rng = np.random.default_rng(0)
    bundle = make_bundle(1)
    ld = ld_signal(8000)
    truth = rng.normal(size=(len(REST), len(LD)))
    truth += (1 - truth.sum(axis=1, keepdims=True)) / len(LD)
    rendered = np.hstack([ld, ld @ truth.T])
    measured = rendered + rng.normal(scale=5.0, size=rendered.shape)
    sides = [[x - x[:, : len(LD)].mean(axis=1, keepdims=True)] for x in (measured, rendered)]
    return replace(bundle, cross_spectra=fit_cross_spectra(*sides, 200.0, 45.0)), truth


def test_the_matrix_is_found_and_passes_measured_channels(known):
    bundle, truth = known
    matrix, hd, ld = rendering_matrix(bundle, (4, 40))
    assert (hd, ld) == (LD + REST, LD)
    np.testing.assert_allclose(matrix[: len(LD)], np.eye(len(LD)), atol=1e-5)
    np.testing.assert_allclose(matrix[len(LD) :], truth, atol=1e-3)


def test_a_common_signal_stays_as_it_is(known):
    matrix, _, _ = rendering_matrix(known[0])
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def test_directions_are_white_and_the_best_kept(known):
    band = BandMap.of(known[0], (8, 30))
    filters = band.directions(7)
    np.testing.assert_allclose(filters @ np.ones(len(band.labels)), 0.0, atol=1e-9)
    power = np.diag(filters @ band.measured @ filters.T)
    assert (power > 0.5).all()
    assert (power < 1.0).all()
    assert len(band.directions(19)) == len(LD) - 1, "no lags: the LD mean is no direction"
    kept = np.diag(filters @ band.rendered @ filters.T) / power
    assert (np.diff(kept) > -1e-3).all(), "the best kept come last"
    np.testing.assert_array_equal(band.directions(3), filters[-3:])
