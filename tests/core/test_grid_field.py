"""Grids and the Gaussian field against the equation written in another way."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from emag_rt.core.field import GaussianField, isotropic_cholesky
from emag_rt.core.grid import lattice, resolution_for, scalp_points
from emag_rt.errors import SettingsError
from tests.factories import on_sphere, random_field


def test_lattices_of_the_paper():
    cube, sphere = lattice(20, "cube"), lattice(20, "sphere")
    assert len(cube) == 8000
    assert len(sphere) == 3544
    assert cube.min() == -90.0
    assert cube.max() == 90.0
    assert np.linalg.norm(sphere, axis=1).max() <= 90.0
    assert len(np.unique(cube, axis=0)) == 8000


def test_surface_lattice_lies_on_the_sphere_and_is_even():
    surface = lattice(12, "surface")
    np.testing.assert_allclose(np.linalg.norm(surface, axis=1), 90.0)
    distance = cdist(surface, surface) + 1e9 * np.eye(len(surface))
    nearest = distance.min(axis=1)
    assert nearest.max() < 2.5 * nearest.min()
    np.testing.assert_allclose(surface.mean(axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize(("resolution", "support"), [(1, "cube"), (65, "cube"), (8, "shell")])
def test_lattice_refuses(resolution, support):
    with pytest.raises(SettingsError, match="must be"):
        lattice(resolution, support)


@pytest.mark.parametrize("n_electrodes", [4, 64, 256])
def test_resolution_gives_enough_points_but_not_more(n_electrodes):
    resolution = resolution_for(n_electrodes, 3.0)
    assert len(lattice(resolution)) >= 3 * n_electrodes
    assert resolution == 8 or len(lattice(resolution - 1)) < 3 * n_electrodes


def explicit_kernel(field, positions, tau):
    """exp(-1/2 d^T P d), one Gaussian and electrode at a time."""
    out = np.empty((len(positions), field.n_points, field.n_gaussians))
    for e, position in enumerate(positions):
        for n in range(field.n_points):
            for g in range(field.n_gaussians):
                d = np.append(position - field.centers_mm[n], tau - field.mu_s[n, g])
                out[e, n, g] = np.exp(-0.5 * d @ field.precisions[n, g] @ d)
    return out


@pytest.mark.parametrize("tau", [-0.02, 0.0, 0.015])
def test_kernel_is_the_equation(rng, tau):
    field, positions = random_field(rng, resolution=3), on_sphere(rng, 5)
    expected = explicit_kernel(field, positions, tau)
    np.testing.assert_allclose(field.kernel(positions, tau), expected, rtol=1e-12)
    assert expected.max() > 0.01


def test_precisions_are_symmetric_and_definite(rng):
    precisions = random_field(rng).precisions
    np.testing.assert_array_equal(precisions, np.swapaxes(precisions, -1, -2))
    assert np.linalg.eigvalsh(precisions).min() > 0


def test_only_separable_fields_share_profiles(rng):
    assert random_field(rng, coupled=True).shared_profiles() is None
    field, positions = random_field(rng, coupled=False), on_sphere(rng, 5)
    mu_s, rate = field.shared_profiles()
    tau = 0.012
    profile = np.exp(-0.5 * ((tau - mu_s) * rate) ** 2)
    separable = field.spatial_kernel(positions) * profile
    np.testing.assert_allclose(field.kernel(positions, tau), separable, rtol=1e-12)


def test_isotropic_factor_has_the_widths_asked_for():
    factor = isotropic_cholesky(2, 20.0, [0.01, 0.02])
    field = GaussianField(np.zeros((2, 3)), np.zeros((2, 2)), factor, np.ones((2, 2)))
    one_sd = np.exp(-0.5)
    away = np.array([[0.0, 20.0, 0.0]])
    np.testing.assert_allclose(field.kernel(away, 0.0), one_sd)
    np.testing.assert_allclose(field.kernel(0 * away, 0.02)[0, :, 1], one_sd)
    np.testing.assert_allclose(field.kernel(0 * away, 0.02)[0, :, 0], np.exp(-2.0))
    np.testing.assert_array_equal(isotropic_cholesky(2, 20.0, 0.01, 3)[:, 0], factor[:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mu_s": np.zeros((2, 3))}, "shape"),
        ({"amplitudes": np.array([[np.nan], [1.0]])}, "amplitudes must be finite"),
        ({"cholesky": np.ones((2, 1, 4, 4))}, "lower-triangular"),
    ],
)
def test_field_refuses(change, message):
    good = {
        "centers_mm": np.zeros((2, 3)),
        "mu_s": np.zeros((2, 1)),
        "cholesky": isotropic_cholesky(2, 20.0, 0.01),
        "amplitudes": np.zeros((2, 1)),
    }
    GaussianField(**good)
    with pytest.raises(SettingsError, match=message):
        GaussianField(**{**good, **change})


def test_points_are_spread_evenly_over_the_upper_half():
    points = scalp_points(2000, 95.0)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 95.0)
    assert (points[:, 2] > 0).all()
    gaps = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(gaps, np.inf)
    nearest = gaps.min(axis=1)
    assert nearest.min() > 0.75 * nearest.mean()
    assert np.abs(points.mean(axis=0)[:2]).max() < 0.5
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        scalp_points(0, 95.0)
