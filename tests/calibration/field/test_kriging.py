"""What is said between electrodes, and how it becomes Gaussians."""

import numpy as np
import pytest

from calibration.field.kriging import Guide, covariance, fit_kriging, local_scale
from calibration.field.placement import NARROW, choose_gaussians, make_field, spatial_kernel
from emag_rt.core.folding import fold_readout
from emag_rt.core.grid import lattice
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import CalibrationError


def cap(rng, n):
    """Evenly jittered electrodes on the upper head, mm."""
    step = np.arange(n) + 0.5
    z = 1.0 - 1.3 * step / n
    angle = np.pi * (1 + 5**0.5) * step + rng.normal(scale=0.05, size=n)
    ring = np.sqrt(1 - z**2)
    return 95.0 * np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])


def signals(rng, positions, length_mm, noise=0.0, n_times=600):
    """A smooth random process, with a scale that grows to the front, and own noise."""
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    smooth = np.linalg.cholesky(
        np.exp(-0.5 * (distance / length_mm) ** 2) + 1e-9 * np.eye(len(distance))
    )
    scale = 10.0 * np.exp(positions[:, 1] / 95.0)
    clean = rng.normal(size=(n_times, len(positions))) @ smooth.T
    return (clean + noise * rng.normal(size=clean.shape)) * scale


def test_left_out_errors_are_those_of_leaving_out():
    """The closed form, electrode by electrode, against refitting without it."""
    rng = np.random.default_rng(0)
    positions = cap(rng, 20)
    truth = signals(rng, positions, 60.0, noise=0.2)
    rendered = 0.8 * truth + rng.normal(size=truth.shape)
    found = fit_kriging(positions, Guide.of(truth, rendered, 16))
    p = found.parameters
    scale = local_scale(positions, positions, found.scale_uv)
    noise = np.exp(np.where(np.arange(20) < 16, p[4], p[5]))
    for e in (0, 7, 15):
        rest = np.delete(np.arange(20), e)
        known = covariance(p, positions[rest], positions[rest]) + np.diag(noise[rest])
        weights = np.linalg.solve(known, covariance(p, positions[rest], positions[[e]]))[:, 0]
        predicted = (rendered[:, rest] / scale[rest]) @ weights * scale[e]
        error = ((truth[:, e] - predicted) ** 2).sum() / (truth[:, e] ** 2).sum()
        assert found.left_out_nmse[e] == pytest.approx(error, rel=1e-6)


def test_smooth_and_rough_signals_get_their_lengths_and_noise():
    rng = np.random.default_rng(1)
    positions = cap(rng, 60)
    fits = {
        key: fit_kriging(positions, Guide.of(y, y, 60))
        for key, y in {
            "smooth": signals(rng, positions, 70.0),
            "rough": signals(rng, positions, 25.0),
            "noisy": signals(rng, positions, 70.0, noise=0.7),
        }.items()
    }
    assert fits["smooth"].left_out_pooled < 0.02 < fits["rough"].left_out_pooled
    assert fits["noisy"].parameters[4] > fits["smooth"].parameters[4] + 2
    assert fits["smooth"].parameters[0] > fits["rough"].parameters[0] + 0.5


def test_better_than_a_spline_where_nobody_wore_an_electrode():
    rng = np.random.default_rng(2)
    everywhere = cap(rng, 80)
    left = np.arange(3, 80, 8)
    known = np.setdiff1d(np.arange(80), left)
    train, test = (signals(rng, everywhere, 35.0, noise=0.4) for _ in range(2))
    guide = Guide.of(train[:, known], train[:, known], len(known))
    start = choose_gaussians(lattice(8), everywhere[known], guide)
    matrix = spatial_kernel(start.centers_mm, everywhere[left], start.widths_mm) @ start.solver
    ours = ((test[:, known] @ matrix.T - test[:, left]) ** 2).sum()
    spline = spherical_spline(everywhere[known], everywhere[left])
    theirs = ((test[:, known] @ spline.T - test[:, left]) ** 2).sum()
    assert ours < 0.9 * theirs
    ideal = test[:, known] @ start.kriging.weights(everywhere[left]).T
    assert ours < 1.1 * ((ideal - test[:, left]) ** 2).sum(), "Gaussians follow kriging"
    assert start.misfit < 0.05


@pytest.mark.parametrize("resolution", [7, 9])
def test_exact_at_the_electrodes_through_the_field(resolution):
    """Whatever the fit says at electrodes it knows, noise of their own included, comes back."""
    rng = np.random.default_rng(3)
    positions = cap(rng, 40)
    y = signals(rng, positions, 50.0, noise=0.5)
    start = choose_gaussians(lattice(resolution), positions, Guide.of(y, y, 32))
    weights = rng.normal(size=(40, 2, 5))
    readout = np.einsum("ne,egf->ngf", start.solver, weights)
    mu_s, widths_s = np.array([0.0, 1.0]), np.array([1e-3, 1e-3])
    field = make_field(start, mu_s, widths_s, np.zeros((len(start.centers_mm), 2)))
    assert field.shared_profiles() is not None
    folded = fold_readout(field, positions, mu_s, readout)
    np.testing.assert_allclose(folded, weights.swapaxes(0, 1), atol=1e-9)
    # A narrow Gaussian reaches no other electrode, and does not change the map between them.
    narrow = start.widths_mm[-1]
    gap = np.linalg.norm(positions[:, None] - positions, axis=-1)
    np.fill_diagonal(gap, np.inf)
    assert narrow == pytest.approx(NARROW * np.median(gap.min(axis=1)))


def test_what_cannot_be_put_into_gaussians():
    rng = np.random.default_rng(4)
    positions = cap(rng, 60)
    y = signals(rng, positions, 50.0, n_times=80)
    with pytest.raises(CalibrationError, match="grid-resolution"):
        choose_gaussians(lattice(2), positions, Guide.of(y, y, 60))
    positions[1] = positions[0]
    with pytest.raises(CalibrationError, match="apart"):
        choose_gaussians(lattice(8), positions, Guide.of(y, y, 60))
