"""A matrix in the place of the spatial kernel: the equation, its folding, its limits."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.core.direct import render_direct
from emag_rt.core.folding import fold
from emag_rt.core.forward import ForwardMatrix
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import BundleError, MontageError, SettingsError
from emag_rt.render import RenderPlan, make_renderer
from tests.factories import (
    LD,
    REST,
    engines_for,
    ld_signal,
    make_bundle,
    on_sphere,
    prop,
    random_cuts,
    random_model,
    relative,
)

CASES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "anchor": st.sampled_from(["stream", "window"]),
        "look_ahead": st.sampled_from([0, 3]),
        "coupled": st.booleans(),
        "hidden": st.sampled_from([None, "gelu", "relu"]),
        "n_memory": st.sampled_from([1, 4]),
    }
)


def with_matrix(model, positions, seed=0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(len(positions), model.field.n_points))
    return replace(model, forward=ForwardMatrix(matrix, positions))


@prop
@given(options=CASES, n_cuts=st.integers(0, 10))
def test_engines_agree_in_any_chunks(options, n_cuts):
    positions = on_sphere(np.random.default_rng(options["seed"]), 7)
    model = with_matrix(random_model(**options), positions)
    plan = RenderPlan(model, fold(model, positions), positions)
    ld = ld_signal(90, seed=options["seed"])
    rng = np.random.default_rng(options["seed"])
    silence = np.zeros((model.n_context, model.n_ld))
    place = -model.look_ahead
    wanted = render_direct(model, positions, np.concatenate([silence, ld]), place)
    delayed = np.concatenate([np.zeros((model.look_ahead, model.n_ld)), ld])[: len(ld)]
    wanted += delayed.mean(axis=1, keepdims=True)
    for engine in engines_for(model):
        renderer = make_renderer(engine, plan)
        parts = [renderer.push(ld[cut]).copy() for cut in random_cuts(rng, len(ld), n_cuts)]
        assert relative(np.concatenate(parts), wanted) < 1e-5, engine


def test_direct_is_the_equation_as_loops(rng):
    positions = on_sphere(rng, 3)
    model = with_matrix(random_model(1, anchor="window", hidden="relu", n_memory=1), positions)
    ld = ld_signal(model.n_context + 7)
    found = render_direct(model, positions, ld)
    x = (ld - ld.mean(axis=1, keepdims=True)) / model.scale_uv
    field, hidden = model.field, model.drive.hidden
    expected = np.zeros_like(found)
    for t in range(len(found)):
        newest = t + model.n_context
        past = x[newest - np.arange(hidden.taps.shape[1])]
        h = (hidden.taps @ past).ravel()
        for weight, bias in hidden.layers:
            h = np.maximum(weight @ h + bias, 0)
        for n in range(field.n_points):
            for g in range(field.n_gaussians):
                delta = model.drive.readout[n, g] @ x[newest]
                delta += hidden.gains[g] * hidden.readout[n] @ h
                d = np.array([0, 0, 0, (t % model.n_window) / model.sfreq - field.mu_s[n, g]])
                kernel = np.exp(-0.5 * np.sum((field.cholesky[n, g].T @ d) ** 2))
                expected[t] += (
                    model.forward.matrix[:, n] * kernel * (field.amplitudes[n, g] + delta)
                )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_the_unit_of_the_matrix_does_not_matter(rng):
    """Terms that are left out are small beside the others, not beside 1."""
    positions = on_sphere(rng, 4)
    model = with_matrix(random_model(2), positions)
    tiny = replace(model, forward=ForwardMatrix(1e-15 * model.forward.matrix, positions))
    ld = ld_signal(40)
    ld[:, 1::2] = -ld[:, ::2]  # a mean of exactly 0, which is added back
    found, wanted = (
        make_renderer("direct", RenderPlan(m, fold(m, positions), positions)).push(ld)
        for m in (tiny, model)
    )
    assert relative(1e15 * found.astype(np.float64), wanted) < 1e-5


def test_rows_are_found_by_their_place(rng):
    positions = on_sphere(rng, 6)
    forward = ForwardMatrix(rng.normal(size=(6, 4)), positions)
    np.testing.assert_array_equal(forward.rows(positions[[5, 0, 0]] + 0.001), [5, 0, 0])
    # Two channels may share a template position: all at once keep their order.
    twice = ForwardMatrix(rng.normal(size=(2, 4)), positions[[0, 0]])
    np.testing.assert_array_equal(twice.rows(positions[[0, 0]]), [0, 1])
    with pytest.raises(MontageError, match="got 1 others"):
        forward.rows(np.vstack([positions, positions[:1] + 0.5]))


def test_matrices_that_do_not_fit_are_refused(rng):
    positions = on_sphere(rng, 3)
    with pytest.raises(SettingsError, match="must have shape"):
        ForwardMatrix(np.ones((4, 2)), positions)
    with pytest.raises(SettingsError, match="must be finite"):
        ForwardMatrix(np.full((3, 2), np.nan), positions)
    with pytest.raises(SettingsError, match="columns, one a grid point"):
        replace(random_model(), forward=ForwardMatrix(np.ones((3, 2)), positions))


def test_a_bundle_keeps_the_matrix(tmp_path, rng):
    plain = make_bundle(3)
    positions = plain.manifest.hd_montage.positions_mm
    bundle = make_bundle(3, model=with_matrix(plain.model, positions))
    save_bundle(bundle, tmp_path / "f.emag")
    loaded = load_bundle(tmp_path / "f.emag")
    np.testing.assert_array_equal(loaded.model.forward.matrix, bundle.model.forward.matrix)
    ld = ld_signal(80)
    rendered = {
        engine: Upsampler(loaded, engine=engine, measured="render").push(ld)[0].copy()
        for engine in engines_for(loaded.model)
    }
    assert len(LD + REST) == rendered["direct"].shape[1]
    for engine in rendered.keys() - {"direct"}:
        assert relative(rendered[engine], rendered["direct"]) < 1e-5
    with pytest.raises(MontageError, match="--forward splat"):
        loaded.operator_at(positions + 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("forward.positions_mm"), "must hold 'forward.positions_mm'"),
        (lambda t: t.update({"forward.matrix": t["forward.matrix"][:, 1:].copy()}), "shape"),
        (lambda t: t.update({"forward.positions_mm": np.ones((2, 3))}), "shape"),
    ],
)
def test_damaged_matrices_are_refused(tmp_path, change, message):
    plain = make_bundle(4)
    model = with_matrix(plain.model, plain.manifest.hd_montage.positions_mm)
    save_bundle(make_bundle(4, model=model), tmp_path / "f.emag")
    with zipfile.ZipFile(tmp_path / "f.emag") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tensors = load(members["field.safetensors"])
    change(tensors)
    with zipfile.ZipFile(tmp_path / "g.emag", "w") as archive:
        for name, blob in {**members, "field.safetensors": save(tensors)}.items():
            archive.writestr(name, blob)
    with pytest.raises(BundleError, match=message):
        load_bundle(tmp_path / "g.emag")
