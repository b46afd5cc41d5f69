"""The folded graph as others see it, and the runtime around it."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from emag_rt.core.folding import fold
from emag_rt.errors import EngineError
from emag_rt.render import RenderPlan, make_renderer, onnx_graph
from emag_rt.render.gpu import has_nvidia_device
from emag_rt.render.onnx_engine import CPU, CUDA, make_session
from emag_rt.render.onnx_graph import build_graph
from tests.factories import ld_signal, make_bundle, on_sphere, random_model, relative

HAS_GPU = has_nvidia_device()


def plan_with(model=None, n_out=6):
    model = model or random_model(4, look_ahead=1)
    positions = on_sphere(np.random.default_rng(0), n_out)
    return RenderPlan(model, fold(model, positions), positions, ((1, 4), (5, 0)))


def graph_of(plan):
    return build_graph(plan.operator, plan.measured)


@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("n_memory", [1, 3])
def test_graph_runs_in_plain_onnxruntime(anchor, look_ahead, n_memory):
    """From its bytes alone, by the contract that the module's docstring states."""
    options = {"anchor": anchor, "look_ahead": look_ahead, "n_memory": n_memory}
    bundle = make_bundle(1, hidden="gelu", **options)
    measured = tuple(bundle.measured_rows(bundle.manifest.hd_montage.labels))
    graph = build_graph(bundle.operator, measured)
    runtime = ort.InferenceSession(graph, providers=[CPU])
    notes = runtime.get_modelmeta().custom_metadata_map
    n_context = int(notes["n_context"])
    assert int(notes["look_ahead"]) == look_ahead
    assert int(notes["n_window"]) == (bundle.model.n_window if anchor == "window" else 1)
    ld = ld_signal(n_context + 30)
    feeds = {"ld": ld.astype(np.float32)}
    if anchor == "window":
        # Row i belongs to row i + n_context - look_ahead, counted from the start.
        feeds["position"] = (np.arange(30) + n_context - look_ahead) % bundle.model.n_window
    (found,) = runtime.run(["hd"], feeds)
    positions = bundle.manifest.hd_montage.positions_mm
    plan = RenderPlan(bundle.model, bundle.operator, positions, measured)
    expected = make_renderer("packed", plan).push(ld)[n_context:]
    assert found.shape == (30, len(bundle.manifest.hd))
    assert relative(found, expected) < 1e-5


@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("hidden", [None, "relu", "gelu", "dilated"])
def test_graph_is_valid_old_and_self_contained(anchor, hidden):
    plan = plan_with(random_model(2, anchor=anchor, hidden=hidden))
    model = onnx.load_from_string(graph_of(plan))
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version <= 17) for o in model.opset_import] == [("", True)]
    assert model.ir_version <= 8
    assert not any(t.external_data for t in model.graph.initializer)
    assert {t.data_type for t in model.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}
    names = [one.name for one in model.graph.input]
    assert names == ["ld"] + ["position"] * (anchor == "window")


def test_a_wrong_graph_is_not_given_out(monkeypatch):
    monkeypatch.setattr(onnx_graph, "OPSET", 5)  # of before Erf and Unsqueeze by tensor
    with pytest.raises(onnx.checker.ValidationError):
        graph_of(plan_with())


def test_graph_bytes_are_deterministic():
    assert graph_of(plan_with()) == graph_of(plan_with())


def test_a_graph_that_protobuf_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_graph, "_MOST_BYTES", 100)
    with pytest.raises(EngineError, match=r"below 2 GiB.*--engine packed"):
        make_renderer("onnx", plan_with())


@pytest.mark.parametrize("graph", [b"no graph at all", b""])
def test_what_onnx_runtime_cannot_load_is_an_engine_error(graph):
    with pytest.raises(EngineError, match="cannot be loaded"):
        make_session(graph, CPU)


def test_a_graph_that_fails_at_its_first_run_is_an_engine_error(monkeypatch):
    """As with CUDA libraries that are looked for only then."""
    run = ort.InferenceSession.run

    def broken(runtime, names, feeds, *rest):
        if "ld" in feeds:
            raise RuntimeError("no cuDNN")
        return run(runtime, names, feeds, *rest)

    monkeypatch.setattr(ort.InferenceSession, "run", broken)
    with pytest.raises(EngineError, match="cannot run: no cuDNN"):
        make_renderer("onnx", plan_with())


@pytest.mark.skipif(HAS_GPU, reason="a GPU is there: it may well start")
def test_require_gpu_fails_loudly_without_one():
    with pytest.raises(EngineError, match=r"CUDAExecutionProvider.*pip install 'emag-rt"):
        make_renderer("onnx", plan_with(), require_gpu=True)
    assert make_renderer("onnx", plan_with()).name == "onnx-cpu"


def test_a_runtime_without_cuda_says_which_to_install(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    with pytest.raises(EngineError, match=rf"{CUDA}, it was built without: pip uninstall"):
        make_renderer("onnx", plan_with(), require_gpu=True)
    assert make_renderer("onnx", plan_with()).name == "onnx-cpu"


BLOCKED = """
import sys
sys.modules[sys.argv.pop(1)] = None  # an import of it fails
from emag_rt.cli.main import main
main()
"""


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
@pytest.mark.parametrize(
    ("options", "extra"), [(["--engine", "onnx"], "onnx"), (["--require-gpu"], "gpu")]
)
@pytest.mark.lsl
def test_serve_says_what_to_install(tmp_path, package, options, extra):
    """At once, in one line; no stream is looked for."""
    from emag_rt.bundle import save_bundle

    save_bundle(make_bundle(1), tmp_path / "s01.emag")
    command = ["serve", "s01.emag", "--source-id", "none", "--scope", "machine", *options]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, package, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EngineError.exit_code
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: engine ")
    assert package in line
    assert f"pip install 'emag-rt[{extra}]'" in line


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
def test_gpu_agrees_where_it_starts():
    plan = plan_with()
    try:
        renderer = make_renderer("onnx", plan, require_gpu=True)
    except EngineError as error:
        pytest.skip(f"a GPU is there, but cannot be used: {error}")
    assert renderer.name == "onnx-cuda"
    ld = ld_signal(50)
    assert relative(renderer.push(ld), make_renderer("direct", plan).push(ld)) < 1e-5
