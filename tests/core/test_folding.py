"""The fold is exact: packed operators give what the mixture equation gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.core.direct import render_direct
from emag_rt.core.drive import Drive, causal_fir, reference_free, run_hidden, run_layers
from emag_rt.core.field import isotropic_cholesky
from emag_rt.core.folding import fold
from emag_rt.core.grid import lattice
from emag_rt.core.model import FieldModel, GaussianField
from tests.factories import on_sphere, prop, random_model, relative

CASES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "anchor": st.sampled_from(["stream", "window"]),
        "look_ahead": st.sampled_from([0, 1, 3]),
        "coupled": st.booleans(),
        "hidden": st.sampled_from([None, "gelu", "relu", "dilated"]),
        "n_memory": st.sampled_from([1, 2, 5]),
    }
)


def apply_packed(op, ld, first_position=0, dtype=np.float64):
    """The packed operator in a few plain lines, in any precision."""
    x = reference_free(ld)[0].astype(dtype)
    n = len(x) - op.n_context
    place = (first_position + np.arange(n)) % op.n_positions
    z = causal_fir(op.taps.astype(dtype), x[len(x) - n - op.taps.shape[1] + 1 :])
    out = op.bias.astype(dtype)[place]
    out = out + np.einsum("tef,tf->te", op.weights.astype(dtype)[place], z)
    if op.hidden is not None:
        h = op.hidden
        n_rows = n + h.out_taps.shape[1] + h.n_lags - 2
        layers = tuple((w.astype(dtype), b.astype(dtype)) for w, b in h.layers)
        blocks = tuple(block.astype(dtype) for block in h.blocks)
        z = causal_fir(h.taps.astype(dtype), x[len(x) - n_rows :])
        units = run_hidden(layers, blocks, h.activation, z)
        units = causal_fir(h.out_taps.astype(dtype), units)
        out = out + np.einsum("tef,tf->te", h.weights.astype(dtype)[place], units)
    return out


@prop
@given(CASES)
def test_fold_equals_the_equation(options):
    model = random_model(**options)
    rng = np.random.default_rng(options["seed"])
    positions = on_sphere(rng, 6)
    op = fold(model, positions)
    n_times = 11
    longest = max(model.n_context, op.n_context)
    ld = rng.normal(scale=20.0, size=(longest + n_times, model.n_ld))
    wanted = render_direct(model, positions, ld[longest - model.n_context :], first_position=2)
    ours = ld[longest - op.n_context :]
    assert relative(apply_packed(op, ours, 2), wanted) < 1e-9
    assert relative(apply_packed(op, ours, 2, np.float32), wanted) < 1e-5


def test_direct_is_the_equation_as_a_triple_loop(rng):
    """The oracle itself, against loops over samples, lags and Gaussians."""
    model = random_model(3, look_ahead=2, hidden="gelu")
    positions = on_sphere(rng, 3)
    n_context, n_times = model.n_context, 4
    ld = rng.normal(scale=20.0, size=(n_context + n_times, model.n_ld))
    x = (ld - ld.mean(axis=1, keepdims=True)) / model.scale_uv
    drive, hidden = model.drive, model.drive.hidden
    expected = np.zeros((n_times, 3))
    for t in range(n_times):
        for lag in range(model.n_lags):
            newest = n_context + t - lag
            tau = (lag - model.look_ahead) / model.sfreq
            past = x[newest - np.arange(drive.taps.shape[1])]
            delta = drive.readout @ (drive.taps @ past).ravel()
            if tau >= 0:
                # Its encoder has used up the look-ahead: newest sample, not the one rendered.
                past = x[newest + model.look_ahead - np.arange(hidden.taps.shape[1])]
                h = (hidden.taps @ past).ravel()
                for weight, bias in hidden.layers:
                    z = weight @ h + bias
                    h = run_layers(((np.eye(len(z)), np.zeros(len(z))),), "gelu", z[None])[0]
                delta = delta + (hidden.readout @ h)[:, None] * hidden.gains
            amplitude = model.field.amplitudes + delta
            expected[t] += (model.field.kernel(positions, tau) * amplitude).sum(axis=(1, 2))
    np.testing.assert_allclose(render_direct(model, positions, ld), expected, rtol=1e-10)


def test_window_positions_repeat(rng):
    model = random_model(5, anchor="window")
    positions = on_sphere(rng, 3)
    ld = np.tile(rng.normal(size=(1, model.n_ld)), (model.n_context + 2 * model.n_window, 1))
    out = render_direct(model, positions, ld)
    np.testing.assert_allclose(out[: model.n_window], out[model.n_window :], rtol=1e-12)
    assert np.ptp(out[: model.n_window], axis=0).min() > 0.02
    shifted = render_direct(model, positions, ld, first_position=2)
    np.testing.assert_allclose(shifted[:3], out[2:5], rtol=1e-12)


def test_virtual_electrodes_fold_from_the_same_field(rng):
    """Any positions can be rendered, and each row depends on its own position alone."""
    model = random_model(6, hidden="gelu")
    positions = on_sphere(rng, 30)
    ld = rng.normal(size=(model.n_context + 5, model.n_ld))
    everything = render_direct(model, positions, ld)
    few = fold(model, positions[[4, 17]])
    assert (
        relative(apply_packed(few, ld[model.n_context - few.n_context :]), everything[:, [4, 17]])
        < 1e-9
    )
    near = fold(model, positions[[4]] + 0.01)
    step = apply_packed(near, ld[model.n_context - near.n_context :]) - everything[:, [4]]
    assert 0 < np.abs(step).max() < 1e-2 * np.abs(everything[:, 4]).max()


def test_blocks_of_points_change_nothing(rng, monkeypatch):
    positions = on_sphere(rng, 4)
    for coupled in (True, False):
        model = random_model(7, coupled=coupled)
        whole = fold(model, positions)
        with monkeypatch.context() as patch:
            patch.setattr("emag_rt.core.folding._BLOCK_BYTES", 3000.0)
            parts = fold(model, positions)
        ld = rng.normal(size=(whole.n_context + 3, model.n_ld))
        assert relative(apply_packed(parts, ld), apply_packed(whole, ld)) < 1e-12


def test_a_separable_field_has_the_rank_of_its_profiles(rng):
    model = random_model(8, coupled=False, n_memory=1)
    op = fold(model, on_sphere(rng, 9))
    assert len(op.taps) == model.field.n_gaussians
    assert op.taps.shape[1] <= model.n_lags


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_a_field_without_drive_keeps_the_look_ahead_in_its_context(rng, look_ahead):
    """The LD mean of the sample rendered is needed even where nothing else of it is."""
    points = lattice(3)
    shape = (len(points), 1)
    field = GaussianField(
        points, np.zeros(shape), isotropic_cholesky(len(points), 30.0, 0.01), np.ones(shape)
    )
    drive = Drive(np.ones((1, 1)), np.zeros((*shape, 4)))
    model = FieldModel(field, drive, np.ones(4), 200.0, "stream", 6, look_ahead)
    op = fold(model, on_sphere(rng, 5))
    assert op.n_context == look_ahead
    ld = rng.normal(size=(model.n_context + 2, 4))
    found = apply_packed(op, ld[model.n_context - look_ahead :])
    np.testing.assert_allclose(found, render_direct(model, on_sphere_again(), ld), rtol=1e-9)


def on_sphere_again():
    return on_sphere(np.random.default_rng(1234), 5)


def test_common_signals_change_nothing(rng):
    model = random_model(9, hidden="gelu")
    positions = on_sphere(rng, 4)
    ld = rng.normal(size=(model.n_context + 6, model.n_ld))
    common = rng.normal(scale=100.0, size=(len(ld), 1))
    assert (
        relative(render_direct(model, positions, ld + common), render_direct(model, positions, ld))
        < 1e-10
    )
