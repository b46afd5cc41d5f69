"""Every option of the paper's model trains, and folds to what the equation gives."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from calibration.paper.baseline import fit_paper_like
from calibration.paper.paper_field import field_model
from calibration.paper.paper_fit import choose_points
from calibration.paper.paper_model import PaperModel
from calibration.paper.training import fit_paper
from calibration.regression.blocks import make_blocks
from calibration.settings.paper_options import PaperOptions
from emag_rt.core.direct import render_direct
from emag_rt.core.drive import reference_free, run_layers
from emag_rt.core.folding import fold, fold_readout
from emag_rt.core.forward import ForwardMatrix
from emag_rt.core.grid import lattice
from emag_rt.errors import CalibrationError, MontageError
from emag_rt.render import RenderPlan, make_renderer
from tests.factories import engines_for, on_sphere, random_cuts, relative

SFREQ, N_WINDOW, N_LD, N_OUT = 40.0, 8, 5, 7
SCALE_UV = np.linspace(5.0, 15.0, N_LD)
POSITIONS = on_sphere(np.random.default_rng(1), N_OUT)
QUICK = PaperOptions(
    grid_resolution=4, epochs=4, learning_rate=1e-2, batch=32, time_chunk=3, patience=4
)
N_LATTICE = len(lattice(4))
OPTIONS = {
    "full 4-D": {},
    "off-diagonals none": {"off_diagonals": "none"},
    "off-diagonals spatial": {"off_diagonals": "spatial_only"},
    "off-diagonals space-time": {"off_diagonals": "spacetime_only"},
    "spatial 3-D": {"covariance": "spatial_3d_only"},
    "spatial 3-D, diagonal": {"covariance": "spatial_3d_only", "off_diagonals": "none"},
    "diagonal": {"covariance": "diagonal_4d"},
    "isotropic": {"covariance": "isotropic"},
    "centres learned": {"learn_centers": True},
    "centres learned, isotropic": {"learn_centers": True, "covariance": "isotropic"},
    "global scalar": {"conditioning": "global_scalar"},
    "no conditioning": {"conditioning": "none"},
    "linear": {"forward": "linear"},
    "linear, rank 2": {"forward": "linear", "forward_rank": 2},
    "linear, flat in time": {"forward": "linear", "covariance": "spatial_3d_only"},
    "linear, no conditioning": {"forward": "linear", "conditioning": "none"},
    "lead field": {"forward": "lead_field", "lead_field": "given apart"},
    "half of the points": {"point_share": 0.5},
    "lead field, half of the points": {
        "forward": "lead_field",
        "lead_field": "given apart",
        "point_share": 0.5,
    },
    "one Gaussian a point": {"n_gaussians": 1},
    "cube": {"grid_support": "cube"},
    "surface": {"grid_support": "surface"},
}


def signals(n, seed=0):
    """LD in µV, features, and targets in µV that hang on them, with an offset, not linearly."""
    rng = np.random.default_rng(seed)
    ld = 10.0 * rng.normal(size=(n, N_LD))
    x = reference_free(ld)[0] / SCALE_UV
    mixing = np.random.default_rng(99).normal(size=(N_LD, N_OUT))
    y = 8.0 * np.tanh(x @ mixing) + np.linspace(-6.0, 6.0, N_OUT) + rng.normal(size=(n, N_OUT))
    return ld, x, y


SEGMENTS = [signals(500, seed)[1:] for seed in (1, 2)]


@pytest.fixture(scope="module", params=list(OPTIONS))
def case(request):
    """One option, trained; and the field of it."""
    options = replace(QUICK, **OPTIONS[request.param])
    n_points = len(lattice(options.grid_resolution, options.grid_support))
    given = None
    if options.forward == "lead_field":
        given = np.random.default_rng(5).normal(size=(N_OUT, n_points))
    fit = fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, options, lead_field=given, seed=3)
    forward = None if fit.forward is None else ForwardMatrix(fit.forward, POSITIONS)
    return options, fit, field_model(fit, SCALE_UV, forward)


def test_the_loss_falls(case):
    _, fit, _ = case
    assert fit.epochs > 0
    assert fit.history[fit.epochs] == min(fit.history) < 0.97 * fit.history[0]
    assert fit.cv_nmse.shape == (N_OUT,)


def test_the_field_folds_exactly_in_any_chunks(case):
    _, _, model = case
    ld = signals(60, seed=4)[0]
    plan = RenderPlan(model, fold(model, POSITIONS), POSITIONS)
    oracle = render_direct(model, POSITIONS, ld) + ld.mean(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    for engine in engines_for(model):
        renderer = make_renderer(engine, plan)
        found = [renderer.push(ld[cut]).copy() for cut in random_cuts(rng, len(ld), 6)]
        assert relative(np.concatenate(found), oracle) < 1e-5, engine


def test_the_field_is_as_good_as_validation_said(case):
    options, fit, model = case
    assert model.anchor == "window"
    assert model.n_window == N_WINDOW
    assert model.field.n_gaussians == options.n_gaussians
    assert model.field.n_points == len(fit.points)
    assert fit.points.max() < len(lattice(4, options.grid_support))
    ld, _, y = signals(400, seed=6)
    error = y - render_direct(model, POSITIONS, ld)
    nmse = (error**2).sum() / (y**2).sum()
    # It has seen the fold held out as well, so it may be better.
    assert nmse < min(0.97, 1.2 * fit.history[fit.epochs])


@pytest.mark.parametrize("name", OPTIONS)
def test_torch_and_the_exported_field_are_one_model(name):
    """Every parameter away from its start: what torch folds is what the equation folds."""
    options = replace(QUICK, **OPTIONS[name])
    centers = lattice(4, options.grid_support)
    rng = np.random.default_rng(2)
    given = rng.normal(size=(N_OUT, len(centers))) if options.forward == "lead_field" else None
    network = PaperModel(centers, POSITIONS, N_LD, SFREQ, options, given, rng, "cpu")
    for parameter in network.parameters.values():
        parameter.data += 0.02 * network.tensor(rng.normal(size=tuple(parameter.shape)))
    field, hidden = network.export(scale_uv=7.0)
    forward = network.forward_matrix()
    if forward is not None:
        forward = ForwardMatrix(forward.detach().double().numpy(), POSITIONS)
    places = np.array([0, 3, 7])
    matrix, base = network.folded(places)
    wanted = fold_readout(field, POSITIONS, places / SFREQ, field.amplitudes[..., None], forward)
    assert relative(7.0 * base.detach().numpy(), wanted[..., 0]) < 1e-4
    assert (matrix is None) == (hidden is None) == (options.conditioning == "none")
    if hidden is not None:
        readout = hidden.readout[:, None] * hidden.gains[None, :, None]
        wanted = fold_readout(field, POSITIONS, places / SFREQ, readout, forward)
        assert relative(7.0 * matrix.detach().numpy(), wanted) < 1e-4
        x = signals(20)[1]
        units = network.hidden(network.tensor(x)).detach().numpy()
        assert relative(units, run_layers(hidden.layers, hidden.activation, x)) < 1e-5


def test_only_what_the_option_frees_has_moved(case):
    options, fit, model = case
    factor, start = model.field.cholesky, lattice(4, options.grid_support)[fit.points]
    below = np.abs(factor[..., (1, 2, 2, 3, 3, 3), (0, 0, 1, 0, 1, 2)]).max(axis=(0, 1)) > 0
    free = {
        "all": [1] * 6,
        "none": [0] * 6,
        "spatial_only": [1, 1, 1, 0, 0, 0],
        "spacetime_only": [0, 0, 0, 1, 1, 1],
    }[options.learned_off_diagonals]
    assert list(below) == [bool(f) for f in free]
    diagonal = factor[..., [0, 1, 2], [0, 1, 2]]
    assert (np.ptp(diagonal, axis=-1).max() > 1e-6) == (
        options.covariance != "isotropic" and options.forward == "splat"
    )
    assert (factor[..., 3, 3] == 0).all() == (options.covariance == "spatial_3d_only")
    assert np.allclose(model.field.centers_mm, start) != options.learn_centers
    assert (fit.hidden is None) == (options.conditioning == "none")
    if options.conditioning == "global_scalar":
        assert np.ptp(fit.hidden.readout, axis=0).max() == 0
    if options.forward_rank:
        assert np.linalg.matrix_rank(fit.forward, tol=1e-4) == options.forward_rank


def test_flat_in_time_means_the_same_everywhere_in_the_window():
    options = replace(QUICK, covariance="spatial_3d_only", epochs=1)
    fit = fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, options)
    model = field_model(fit, SCALE_UV)
    ld = np.tile(signals(1)[0], (N_WINDOW, 1))
    assert np.ptp(render_direct(model, POSITIONS, ld), axis=0).max() < 1e-9


def test_a_field_with_a_matrix_renders_no_other_electrodes():
    fit = fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, replace(QUICK, forward="linear"))
    model = field_model(fit, SCALE_UV, ForwardMatrix(fit.forward, POSITIONS))
    with pytest.raises(MontageError, match="must be electrodes of the fit"):
        fold(model, POSITIONS + 1.0)
    with pytest.raises(MontageError, match="--forward splat"):
        render_direct(model, POSITIONS[:1] + 1.0, signals(10)[0])
    few = render_direct(model, POSITIONS[[4, 2]], signals(10)[0])
    np.testing.assert_allclose(few, render_direct(model, POSITIONS, signals(10)[0])[:, [4, 2]])


def test_baseline_predicts_held_out_segments_as_the_field_renders_them():
    blocks = make_blocks([len(x) for x, _ in SEGMENTS])
    options = replace(QUICK, epochs=12, patience=12)
    seen = []
    baseline = fit_paper_like(
        SEGMENTS,
        POSITIONS,
        SFREQ,
        options,
        window_s=N_WINDOW / SFREQ,
        blocks=blocks,
        progress=lambda share, what: seen.append(share),
    )
    ld, x, y = signals(300, seed=7)
    predicted = baseline.predict(x)
    assert predicted.shape == y.shape
    np.testing.assert_allclose(
        predicted,
        render_direct(field_model(baseline.fit, SCALE_UV), POSITIONS, ld),
        atol=1e-8 * np.abs(y).max(),
    )
    nmse = ((predicted - y) ** 2).sum() / (y**2).sum()
    assert nmse < 0.5
    assert nmse == pytest.approx(baseline.cv_nmse.mean(), rel=0.35)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_the_seed_decides_everything():
    def field(seed):
        options = replace(QUICK, point_share=0.5, epochs=1)
        return fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, options, seed=seed).field

    np.testing.assert_array_equal(field(1).cholesky, field(1).cholesky)
    assert not np.array_equal(field(1).centers_mm, field(2).centers_mm)
    kept = choose_points(replace(QUICK, point_share=0.5), 1)
    assert len(kept) == round(0.5 * N_LATTICE)
    assert len(set(kept.tolist())) == len(kept)


def test_initial_values_are_the_papers():
    fit = fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, replace(QUICK, learning_rate=1e-8))
    diagonal = np.diagonal(fit.field.cholesky, axis1=-2, axis2=-1)
    np.testing.assert_allclose(diagonal[..., :3], 1 / 15.0, rtol=1e-4)
    np.testing.assert_allclose(diagonal[..., 3], 10.0, rtol=1e-4)
    assert 0 <= fit.field.mu_s.min() < 0.1
    assert 0.4 < fit.field.mu_s.max() <= 0.5
    assert np.abs(np.tril(fit.field.cholesky, k=-1)).max() < 1e-5
    assert [weight.shape for weight, _ in fit.hidden.layers] == [(64, N_LD), (32, 64), (64, 32)]


def test_training_stops_when_the_blocks_held_out_stop_gaining():
    """Targets of noise alone: there is nothing to learn, and patience ends it."""
    rng = np.random.default_rng(0)
    noise = [(x, rng.normal(size=(len(x), N_OUT))) for x, _ in SEGMENTS]
    options = replace(QUICK, epochs=60, patience=3)
    fit = fit_paper(noise, POSITIONS, SFREQ, N_WINDOW, options)
    assert len(fit.history) - 1 == fit.epochs + 3 < 60
    assert fit.converged
    cut_short = fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, replace(QUICK, epochs=2))
    assert not cut_short.converged


def test_arguments_that_do_not_fit_are_refused(monkeypatch):
    with pytest.raises(CalibrationError, match=r"positions_mm must have shape \(7, 3\)"):
        fit_paper(SEGMENTS, POSITIONS[:3], SFREQ, N_WINDOW, QUICK)
    with pytest.raises(CalibrationError, match="n_window must be"):
        fit_paper(SEGMENTS, POSITIONS, SFREQ, 1, QUICK)
    given = replace(QUICK, forward="lead_field", lead_field="apart")
    with pytest.raises(CalibrationError, match="lead_field must have shape"):
        fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, given)
    monkeypatch.setattr("calibration.paper.training.find_spec", lambda name: None)
    with pytest.raises(CalibrationError, match=r"emag-rt\[calibrate\]"):
        fit_paper(SEGMENTS, POSITIONS, SFREQ, N_WINDOW, QUICK)


def test_a_response_locked_to_the_event_is_learnt():
    """Epochs as long as a window are not shifted in training: what recurs at a place is found."""
    rng = np.random.default_rng(11)
    positions, n, sfreq = on_sphere(rng, 6), 40, 100.0
    bump = np.exp(-0.5 * ((np.arange(n) / sfreq - 0.2) / 0.05) ** 2)
    response = bump[:, None] * (positions @ rng.normal(size=3) / 95.0)

    def epochs(count):
        return [
            (rng.normal(size=(n, 3)), response + 0.1 * response.std() * rng.normal(size=(n, 6)))
            for _ in range(count)
        ]

    options = PaperOptions(grid_resolution=4, epochs=60, learning_rate=2e-2)
    fitted = fit_paper_like(epochs(40), positions, sfreq, options, window_s=n / sfreq)
    left = sum(((y - fitted.predict(x)) ** 2).sum() for x, y in epochs(5))
    assert left < 0.35 * sum((y**2).sum() for _, y in epochs(5))
