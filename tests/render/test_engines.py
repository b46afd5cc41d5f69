"""Engines agree: direct is the equation, the others must give its numbers in any chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.core.folding import fold
from emag_rt.errors import EngineError
from emag_rt.render import ENGINES, RenderPlan, factory, make_renderer
from tests.factories import (
    engines_for,
    ld_signal,
    native_takes,
    on_sphere,
    prop,
    random_cuts,
    random_model,
    relative,
)

OPTIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "anchor": st.sampled_from(["stream", "window"]),
        "look_ahead": st.sampled_from([0, 3]),
        "coupled": st.booleans(),
        "hidden": st.sampled_from([None, "gelu", "relu", "dilated"]),
        "n_memory": st.sampled_from([1, 4]),
    }
)
GRID = [
    {"anchor": anchor, "look_ahead": look_ahead, "hidden": hidden, "n_memory": n_memory}
    for anchor in ("stream", "window")
    for look_ahead in (0, 3)
    for hidden in (None, "gelu", "dilated")
    for n_memory in (1, 4)
]


def plan_for(model, seed=0, n_out=7, measured=((1, 4), (5, 0))):
    positions = on_sphere(np.random.default_rng(seed), n_out)
    return RenderPlan(model, fold(model, positions), positions, tuple(measured))


def start(engine, plan):
    """A renderer; skips what ``native`` says it leaves to ``packed``, and where it is absent."""
    if engine == "native" and not native_takes(plan.model):
        with pytest.raises(EngineError, match="--engine packed"):
            make_renderer(engine, plan)
        pytest.skip("left to packed")
    return make_renderer(engine, plan)


def push_all(renderer, ld, cuts=None):
    cuts = [slice(None)] if cuts is None else cuts
    return np.concatenate([renderer.push(ld[cut]).copy() for cut in cuts])


@prop
@given(options=OPTIONS, n_cuts=st.integers(0, 10))
def test_engines_agree_in_any_chunks(options, n_cuts):
    plan = plan_for(random_model(**options))
    rng = np.random.default_rng(options["seed"])
    ld = ld_signal(90, seed=options["seed"])
    oracle = push_all(make_renderer("direct", plan), ld)
    assert oracle.dtype == np.float32
    for engine in engines_for(plan.model):
        found = push_all(make_renderer(engine, plan), ld, random_cuts(rng, 90, n_cuts))
        assert found.dtype == np.float32
        assert found.shape == (90, 7)
        assert relative(found, oracle) < 1e-5, engine


@pytest.mark.parametrize("options", GRID, ids=str)
def test_sample_by_sample_equals_whole(options):
    plan = plan_for(random_model(3, **options))
    ld = ld_signal(40)
    oracle = push_all(make_renderer("direct", plan), ld)
    for engine in engines_for(plan.model):
        one_by_one = [slice(i, i + 1) for i in range(40)]
        found = push_all(make_renderer(engine, plan), ld, one_by_one)
        assert relative(found, oracle) < 1e-5, engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("look_ahead", [0, 3])
def test_measured_rows_are_the_input_delayed(engine, look_ahead):
    plan = plan_for(random_model(4, look_ahead=look_ahead))
    ld = ld_signal(50)
    found = push_all(start(engine, plan), ld)
    delayed = np.vstack([np.zeros((look_ahead, 8)), ld])[:50].astype(np.float32)
    np.testing.assert_array_equal(found[:, 1], delayed[:, 4])
    np.testing.assert_array_equal(found[:, 5], delayed[:, 0])
    unmeasured = plan_for(random_model(4, look_ahead=look_ahead), measured=())
    rendered = push_all(start(engine, unmeasured), ld)
    others = [0, 2, 3, 4, 6]
    np.testing.assert_allclose(rendered[:, others], found[:, others], rtol=1e-6, atol=1e-5)
    assert np.abs(rendered[:, 1] - found[:, 1]).max() > 1.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("anchor", "hidden"), [("stream", "gelu"), ("stream", "dilated"), ("window", "gelu")]
)
def test_common_signal_passes_through(engine, anchor, hidden):
    """The reference of the input is that of the output."""
    plan = plan_for(random_model(5, anchor=anchor, hidden=hidden))
    ld = ld_signal(30)
    common = 40.0 * np.random.default_rng(1).normal(size=(30, 1))
    plain = push_all(start(engine, plan), ld)
    shifted = push_all(start(engine, plan), ld + common)
    np.testing.assert_allclose(shifted - plain, np.tile(common, (1, 7)), atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("hidden", ["gelu", "dilated"])
def test_advance_keeps_the_state_in_step(engine, anchor, look_ahead, hidden):
    model = random_model(6, anchor=anchor, look_ahead=look_ahead, hidden=hidden)
    plan = plan_for(model)
    ld = ld_signal(60)
    whole = push_all(start(engine, plan), ld)
    renderer = start(engine, plan)
    renderer.push(ld[:20])
    renderer.advance(ld[20:33])
    np.testing.assert_allclose(renderer.push(ld[33:]), whole[33:], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("anchor", "hidden"), [("window", "relu"), ("stream", "dilated")])
def test_reset_starts_anew_and_empty_chunks_are_harmless(engine, anchor, hidden):
    plan = plan_for(random_model(7, anchor=anchor, hidden=hidden, look_ahead=2))
    ld = ld_signal(40)
    renderer = start(engine, plan)
    first = renderer.push(ld).copy()
    empty = renderer.push(ld[:0])
    assert empty.shape == (0, 7)
    assert empty.dtype == np.float32
    renderer.reset()
    np.testing.assert_array_equal(renderer.push(ld), first)


@pytest.mark.parametrize("engine", ["packed", "onnx", "torch"])
def test_long_recordings_are_rendered_in_blocks(engine, monkeypatch):
    plan = plan_for(random_model(8, hidden="gelu"))
    ld = ld_signal(500)
    whole = push_all(make_renderer(engine, plan), ld)
    module = "packed" if engine == "packed" else f"{engine}_engine"
    monkeypatch.setattr(f"emag_rt.render.{module}._BLOCK", 64)
    assert relative(push_all(make_renderer(engine, plan), ld), whole) < 1e-6


def test_unknown_engines_are_refused():
    plan = plan_for(random_model())
    for require_gpu in (False, True):
        with pytest.raises(EngineError, match=r"one of auto, .*direct, got 'abacus'"):
            make_renderer("abacus", plan, require_gpu)
    for engine in ("native", "packed", "direct"):
        with pytest.raises(EngineError, match="--require-gpu needs --engine onnx, torch or auto"):
            make_renderer(engine, plan, require_gpu=True)


def test_auto_takes_the_engine_that_is_quickest_here(monkeypatch):
    plan = plan_for(random_model(8, hidden="dilated"))
    ld = ld_signal(40)
    wanted = push_all(make_renderer("packed", plan), ld)
    names = ["packed", *(["native"] if native_takes(plan.model) else [])]
    for favoured in names:
        with monkeypatch.context() as patch:
            patch.setattr(factory, "_seconds_a_sample", lambda r, _, f=favoured: r.name != f)
            assert make_renderer("auto", plan).name == favoured
    found = make_renderer("auto", plan)
    assert found.name in (*names, "onnx-cuda", "torch-cuda")
    assert relative(push_all(found, ld), wanted) < 1e-5  # timing left no trace


def test_auto_goes_on_without_engines_that_cannot_start(monkeypatch, caplog):
    def broken(*_):
        raise EngineError("no runtime")

    monkeypatch.setattr("emag_rt.render.factory.why_not_on_gpu", lambda _engine: "")
    monkeypatch.setattr("emag_rt.render.onnx_engine.OnnxRenderer", broken)
    monkeypatch.setattr("emag_rt.render.torch_engine.TorchRenderer", broken)
    monkeypatch.setattr("emag_rt.native.NativeField", broken)
    with caplog.at_level("INFO"):
        assert make_renderer("auto", plan_for(random_model(8))).name == "packed"
    assert caplog.text.count("no runtime") == 3
