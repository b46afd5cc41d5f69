"""Bases agree where the calibration was, and differ between."""

import numpy as np
import pytest

from emag_rt.core.field import GaussianField
from emag_rt.core.grid import lattice
from tools.studies.simulation.point_sets import (
    gaussian_kernel,
    interpolate,
    power_points,
    random_points,
    spline_interpolation,
)


@pytest.fixture(scope="module")
def electrodes(subject):
    return subject.montage.positions_mm


@pytest.fixture(scope="module")
def samples(subject):
    return subject.draw(2000, 4)[0].T


@pytest.mark.parametrize("points", ["lattice", "random", "power", "electrodes"])
def test_enough_points_of_any_kind_give_the_fit_back(electrodes, samples, points):
    centers = {
        "lattice": lattice(7, "sphere"),
        "random": random_points(150, 95.0, 0),
        "power": power_points(60, electrodes, samples, 0),
        "electrodes": electrodes,
    }[points]
    basis = interpolate(gaussian_kernel(centers), electrodes, electrodes, samples)
    np.testing.assert_allclose(basis.known, np.eye(len(electrodes)), atol=1e-6)
    np.testing.assert_allclose(basis.virtual, np.eye(len(electrodes)), atol=1e-3)


def test_too_few_points_cannot(electrodes, samples):
    basis = interpolate(gaussian_kernel(lattice(4)), electrodes, electrodes, samples)
    assert np.trace(basis.known) == pytest.approx(8.0)
    np.testing.assert_allclose(basis.known @ basis.known, basis.known, atol=1e-8)


def test_electrodes_left_out_are_predicted_better_than_by_silence(electrodes, samples):
    known, virtual = np.arange(1, 16, 1), [0]
    truth = samples[virtual] - samples.mean(axis=0)
    relative = samples - samples.mean(axis=0)
    for basis in (
        interpolate(
            gaussian_kernel(lattice(8)), electrodes[known], electrodes[virtual], relative[known]
        ),
        spline_interpolation(electrodes[known], electrodes[virtual]),
    ):
        error = truth - basis.virtual @ relative[known]
        assert (error**2).sum() < 0.6 * (truth**2).sum()


def test_stretched_gaussians_are_those_of_the_field(electrodes):
    centers = lattice(6)[3:20]
    outward = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    along = outward[:, :, None] * outward[:, None]
    precision = (np.eye(3) - along) / 20.0**2 + along / 60.0**2
    cholesky = np.zeros((len(centers), 1, 4, 4))
    cholesky[:, 0, :3, :3] = np.linalg.cholesky(precision)
    cholesky[:, 0, 3, 3] = 1.0
    zeros = np.zeros((len(centers), 1))
    field = GaussianField(centers, zeros, cholesky, zeros)
    expected = field.spatial_kernel(electrodes)[..., 0]
    np.testing.assert_allclose(gaussian_kernel(centers, 3.0)(electrodes, 20.0), expected)


def test_points_follow_power(electrodes):
    samples = np.ones((len(electrodes), 2)) * [1.0, -1.0]
    samples[electrodes[:, 1] < 0] *= 6.0
    points = power_points(80, electrodes, samples, 0)
    np.testing.assert_array_equal(points, power_points(80, electrodes, samples, 0))
    assert (points[:, 1] < 0).mean() > 0.6
