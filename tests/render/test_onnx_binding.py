"""Bound tensors, exercised on the CPU; on CUDA the same code runs with another device name."""

import numpy as np
import onnxruntime as ort
import pytest

from emag_rt.errors import EngineError
from emag_rt.render import make_renderer, onnx_engine
from emag_rt.render.onnx_binding import BoundSample
from emag_rt.render.onnx_engine import CPU, CUDA, OnnxRenderer, make_session
from emag_rt.render.onnx_graph import build_graph
from tests.factories import ld_signal, random_model, relative
from tests.render.test_engines import plan_for, push_all


@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("hidden", [None, "dilated"])
def test_bound_samples_agree_with_the_equation(anchor, look_ahead, hidden):
    plan = plan_for(random_model(21, anchor=anchor, look_ahead=look_ahead, hidden=hidden))
    ld = ld_signal(60)
    cuts = [*(slice(i, i + 1) for i in range(20)), slice(20, 33)]
    cuts += [slice(i, i + 1) for i in range(33, 60)]
    renderer = OnnxRenderer(plan, bound=True)
    assert renderer._bound is not None
    oracle = push_all(make_renderer("direct", plan), ld)
    assert relative(push_all(renderer, ld, cuts), oracle) < 1e-5


def test_the_plain_cpu_path_binds_nothing():
    assert OnnxRenderer(plan_for(random_model(21)))._bound is None


def test_what_was_returned_is_the_callers_own():
    renderer = OnnxRenderer(plan_for(random_model(22)), bound=True)
    first = renderer.push(ld_signal(1))
    kept = first.copy()
    renderer.push(ld_signal(1, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_inputs_that_a_replay_would_not_see_are_found_out(monkeypatch):
    """A graph that repeats its first answer, as with inputs bound on the CPU."""
    plan = plan_for(random_model(23))
    session = make_session(build_graph(plan.operator, plan.measured), CPU)
    bound = BoundSample(session, plan.operator, "cpu")
    bound.check(session, plan.operator)
    stale = bound.run({"ld": np.ones((plan.operator.n_context + 1, 8), dtype=np.float32)})
    monkeypatch.setattr(bound, "run", lambda _feeds: stale)
    with pytest.raises(EngineError, match="gave another answer"):
        bound.check(session, plan.operator)


def test_on_cuda_each_step_back_is_said_aloud(monkeypatch, caplog):
    """Graph, then bound without one, then plain runs; a CPU session stands in for CUDA's."""
    made, plain_session = [], make_session

    def on_cpu(graph, provider, captured=False):
        made.append((provider, captured))
        return plain_session(graph, CPU)

    monkeypatch.setattr(onnx_engine, "make_session", on_cpu)
    plan = plan_for(random_model(24))
    # No tensor can be made on "cuda" here: both ways of binding fail.
    if CUDA in ort.get_available_providers() and onnx_engine.has_nvidia_device():
        pytest.skip("a GPU is there: binding may well work")
    renderer = OnnxRenderer(plan, require_gpu=True)
    assert made == [(CUDA, False), (CUDA, True)]
    assert renderer._bound is None
    assert "must do without a CUDA graph" in caplog.text
    assert "must do without tensors bound on the GPU" in caplog.text
    ld = ld_signal(20)
    one_by_one = [slice(i, i + 1) for i in range(20)]
    oracle = push_all(make_renderer("direct", plan), ld)
    assert relative(push_all(renderer, ld, one_by_one), oracle) < 1e-5
