"""The spline's defining properties."""

import numpy as np

from emag_rt.core.spline import spherical_spline
from tests.factories import on_sphere


def test_spline_interpolates_and_keeps_constants(rng):
    points = on_sphere(rng, 24)
    others = on_sphere(rng, 40)
    values = rng.normal(size=24)
    exact = spherical_spline(points, points, smoothing=0.0)
    np.testing.assert_allclose(exact @ values, values, atol=1e-6)
    for smoothing in (0.0, 1e-5, 1e-2):
        matrix = spherical_spline(points, others, smoothing)
        assert matrix.shape == (40, 24)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-7)


def test_spline_reproduces_smooth_maps_and_ignores_radius(rng):
    points, others = on_sphere(rng, 60), on_sphere(rng, 30)
    smooth = points @ [1.0, -2.0, 0.5]
    found = spherical_spline(points, others) @ smooth
    truth = others @ [1.0, -2.0, 0.5]
    assert np.sqrt(((found - truth) ** 2).mean()) < 0.05 * truth.std()
    np.testing.assert_allclose(
        spherical_spline(points, others), spherical_spline(points * 2, others / 3), atol=1e-6
    )


def test_smoothing_shrinks_the_answer_to_noise(rng):
    points = on_sphere(rng, 24)
    noise = rng.normal(size=24)
    rough, smooth = (spherical_spline(points, points, s) @ noise for s in (1e-6, 1e-1))
    assert np.var(smooth) < 0.5 * np.var(rough)
