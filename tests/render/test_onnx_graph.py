"""The folded graph as others see it, and the session around it."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from emag_rt.bundle.graph import build_graph
from emag_rt.core.folding import fold
from emag_rt.errors import EngineError
from emag_rt.render import RenderPlan, make_renderer
from emag_rt.render.gpu import has_nvidia_device
from tests.factories import ld_signal, make_bundle, on_sphere, random_model, relative

HAS_GPU = has_nvidia_device()


@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("n_memory", [1, 3])
def test_graph_runs_in_plain_onnxruntime(anchor, look_ahead, n_memory):
    """From the bundle's bytes alone, by the contract that its docstring states."""
    options = {"anchor": anchor, "look_ahead": look_ahead, "n_memory": n_memory}
    bundle = make_bundle(1, hidden="gelu", **options)
    session = ort.InferenceSession(bundle.onnx, providers=["CPUExecutionProvider"])
    notes = session.get_modelmeta().custom_metadata_map
    n_context = int(notes["n_context"])
    assert int(notes["look_ahead"]) == look_ahead
    ld = ld_signal(n_context + 30)
    feeds = {"ld": ld.astype(np.float32)}
    if anchor == "window":
        # Row i belongs to row i + n_context - look_ahead, counted from the start.
        feeds["position"] = (np.arange(30) + n_context - look_ahead) % bundle.model.n_window
    (found,) = session.run(["hd"], feeds)
    plan = RenderPlan(
        bundle.model,
        bundle.operator,
        bundle.manifest.hd_montage.positions_mm,
        tuple(bundle.measured_rows(bundle.manifest.hd_montage.labels)),
    )
    expected = make_renderer("packed", plan).push(ld)[n_context:]
    assert found.shape == (30, len(bundle.manifest.hd))
    assert relative(found, expected) < 1e-5


@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("hidden", [None, "relu", "gelu", "dilated"])
def test_graph_is_valid_old_and_self_contained(anchor, hidden):
    graph = make_bundle(2, anchor=anchor, hidden=hidden).onnx
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == graph  # the package would have written the same
    assert [(o.domain, o.version <= 17) for o in model.opset_import] == [("", True)]
    assert model.ir_version <= 8
    assert not any(t.external_data for t in model.graph.initializer)
    assert {t.data_type for t in model.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}


def test_graph_bytes_are_deterministic():
    assert make_bundle(3, hidden="gelu").onnx == make_bundle(3, hidden="gelu").onnx


def plan_with(graph, model=None):
    model = model or random_model(4, look_ahead=1)
    positions = on_sphere(np.random.default_rng(0), 6)
    return RenderPlan(model, fold(model, positions), positions, onnx=graph)


def graph_of(n_out=6, **options):
    positions = on_sphere(np.random.default_rng(0), n_out)
    return build_graph(fold(random_model(4, **options), positions), [])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (b"no graph at all", "cannot be loaded"),
        (b"", "cannot be loaded"),
        (graph_of(n_out=5, look_ahead=1), r"hd \(\*, 6\)"),
        (graph_of(n_ld=5, look_ahead=1), r"ld \(\*, 8\)"),
        (graph_of(look_ahead=1, n_memory=9), "cannot run"),
        (graph_of(look_ahead=1, n_memory=1), "samples of context"),
        (graph_of(look_ahead=1, anchor="window"), "cannot run"),
    ],
    ids=["garbage", "empty", "outputs", "inputs", "longer", "shorter", "window"],
)
def test_wrong_graphs_are_refused(graph, message):
    with pytest.raises(EngineError, match=message):
        make_renderer("onnx", plan_with(graph))
    assert make_renderer("onnx", plan_with(graph_of(look_ahead=1))).name.startswith("onnx-")


def test_graph_that_cannot_run_is_refused():
    """Right names and shapes, but it fails on the first sample."""
    ld = helper.make_tensor_value_info("ld", TensorProto.FLOAT, ["n", 8])
    hd = helper.make_tensor_value_info("hd", TensorProto.FLOAT, ["m", 6])
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [3, 6])
    node = helper.make_node("Reshape", ["ld", "s"], ["hd"])
    graph = helper.make_graph([node], "bad", [ld], [hd], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(EngineError, match="does not belong"):
        make_renderer("onnx", plan_with(model.SerializeToString()))


@pytest.mark.skipif(HAS_GPU, reason="a GPU is there: it may well start")
def test_require_gpu_fails_loudly_without_one():
    with pytest.raises(EngineError, match="CUDAExecutionProvider must start, got CPU"):
        make_renderer("onnx", plan_with(None), require_gpu=True)
    assert make_renderer("onnx", plan_with(None)).name == "onnx-cpu"


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
def test_gpu_agrees_where_it_starts():
    plan = plan_with(None)
    try:
        renderer = make_renderer("onnx", plan, require_gpu=True)
    except EngineError as error:
        pytest.skip(f"a GPU is there, but cannot be used: {error}")
    assert renderer.name == "onnx-cuda"
    ld = ld_signal(50)
    assert relative(renderer.push(ld), make_renderer("direct", plan).push(ld)) < 1e-5
