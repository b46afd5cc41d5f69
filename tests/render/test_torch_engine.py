"""The torch engine beyond what all engines share, on the CPU; CUDA itself only where it is."""

import sys
from contextlib import contextmanager

import numpy as np
import pytest

from emag_rt.errors import EngineError
from emag_rt.render import make_renderer
from emag_rt.render.gpu import has_nvidia_device
from tests.factories import ld_signal, random_model, relative
from tests.render.test_engines import plan_for, push_all

torch = pytest.importorskip("torch")
torch_engine = pytest.importorskip("emag_rt.render.torch_engine")
TorchRenderer = torch_engine.TorchRenderer
HAS_CUDA = torch.cuda.is_available()


@pytest.mark.parametrize("hidden", [None, "relu", "dilated"])
@pytest.mark.parametrize(("anchor", "look_ahead"), [("stream", 2), ("window", 0)])
def test_state_is_the_same_by_either_road(hidden, anchor, look_ahead):
    """Single samples and chunks take different roads through the same memory."""
    plan = plan_for(random_model(11, anchor=anchor, look_ahead=look_ahead, hidden=hidden))
    ld = ld_signal(80)
    oracle = push_all(make_renderer("direct", plan), ld)
    cuts = [slice(0, 1), slice(1, 2), slice(2, 19), *(slice(i, i + 1) for i in range(19, 40))]
    renderer = TorchRenderer(plan, device="cpu")
    addresses = _addresses(renderer)
    assert relative(push_all(renderer, ld, [*cuts, slice(40, 80)]), oracle) < 1e-5
    renderer.reset()
    renderer.advance(ld[:1])
    renderer.advance(ld[1:33])
    found = push_all(renderer, ld, [slice(i, i + 1) for i in range(33, 80)])
    assert relative(found, oracle[33:]) < 1e-5
    assert _addresses(renderer) == addresses  # a graph would go on reading the old ones


def _addresses(renderer):
    field = renderer._field
    tensors = [field._centred._rows, field._delay._rows, field._position, renderer._hops[1]._in]
    if field._hidden is not None:
        tensors.append(field._hidden._out._rows)
        if field._hidden._bag is not None:
            tensors.append(field._hidden._bag._rows)
    return [t.data_ptr() for t in tensors]


@pytest.mark.parametrize("anchor", ["stream", "window"])
def test_chunks_of_other_sizes_may_have_their_own_buffers(anchor):
    plan = plan_for(random_model(17, anchor=anchor, hidden="dilated", look_ahead=1))
    ld = ld_signal(90)
    renderer = TorchRenderer(plan, device="cpu", sizes=(1, 12))
    cuts = [slice(0, 12), slice(12, 13), slice(13, 25), slice(25, 30), slice(30, 42), slice(42, 90)]
    oracle = push_all(make_renderer("direct", plan), ld)
    assert relative(push_all(renderer, ld, cuts), oracle) < 1e-5


def test_what_was_returned_is_the_callers_own():
    plan = plan_for(random_model(12))
    renderer = TorchRenderer(plan, device="cpu")
    first = renderer.push(ld_signal(1))
    kept = first.copy()
    renderer.push(ld_signal(1, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_a_large_common_signal_costs_no_digits():
    plan = plan_for(random_model(13, hidden="dilated"))
    ld = ld_signal(30)
    shifted = push_all(TorchRenderer(plan, device="cpu"), ld + 1e5) - np.float32(1e5)
    plain = push_all(TorchRenderer(plan, device="cpu"), ld)
    assert np.abs(shifted - plain).max() < 0.02  # what float32 keeps beside 1e5


def test_names_and_refusals(monkeypatch):
    plan = plan_for(random_model(14))
    assert TorchRenderer(plan, device="cpu").name == "torch-cpu"
    with pytest.raises(EngineError, match="'cuda' or 'cpu', got 'tpu'"):
        TorchRenderer(plan, device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for options in ({"require_gpu": True}, {"device": "cuda"}):
        with pytest.raises(EngineError, match=r"must run on CUDA, but torch .*driver"):
            TorchRenderer(plan, **options)
    with pytest.raises(EngineError, match="must run on CUDA"):
        make_renderer("torch", plan, require_gpu=True)
    assert make_renderer("torch", plan).name == "torch-cpu"


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match=r"pip install 'emag-rt\[calibrate\]', or a CUDA build"):
        make_renderer("torch", plan_for(random_model(14)))


def test_a_device_that_lists_but_cannot_compute_is_not_used(monkeypatch):
    """As with a card too old for the build: seen by making a product on it."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def broken(*_args, **_kwargs):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(torch, "ones", broken)
    assert TorchRenderer(plan_for(random_model(14))).name == "torch-cpu"
    with pytest.raises(EngineError, match="but a product fails: no kernel image"):
        TorchRenderer(plan_for(random_model(14)), require_gpu=True)


def test_the_hosts_choice_of_precision_is_put_back():
    matmul = torch.backends.cuda.matmul
    name, loose = (
        ("fp32_precision", "tf32") if hasattr(matmul, "fp32_precision") else ("allow_tf32", True)
    )
    before = getattr(matmul, name)
    setattr(matmul, name, loose)
    try:
        with torch_engine._exact(torch):
            assert getattr(matmul, name) != loose
            assert torch.is_inference_mode_enabled()
        assert getattr(matmul, name) == loose
    finally:
        setattr(matmul, name, before)


class _FakeCuda:
    """The calls that capturing makes, in order, run at once on the CPU."""

    def __init__(self, fails=False):
        self.calls, self._fails, self._work = [], fails, None

    def Stream(self):
        self.calls.append("Stream")
        return self

    def current_stream(self):
        return self

    def wait_stream(self, _other):
        self.calls.append("wait")

    def synchronize(self):
        self.calls.append("synchronize")

    @contextmanager
    def stream(self, _side):
        yield

    def CUDAGraph(self):
        if self._fails:
            raise RuntimeError("not permitted when stream is capturing")
        return self

    @contextmanager
    def graph(self, _graph):
        self.calls.append("capture")
        yield

    def replay(self):
        self.calls.append("replay")


def test_capture_warms_up_on_a_side_stream_first():
    """Says nothing of CUDA: only that these names exist and come in this order."""
    fake, work = _FakeCuda(), []
    replay = torch_engine._captured(fake, lambda: work.append(len(fake.calls)))
    assert fake.calls == ["Stream", "wait", "wait", "synchronize", "capture"]
    assert work == [2, 2, 2, 5]  # warm-up between the waits, once more in the capture
    replay()
    assert fake.calls[-1] == "replay"
    for name in ("Stream", "current_stream", "stream", "CUDAGraph", "graph", "synchronize"):
        assert hasattr(torch.cuda, name)


def test_a_graph_that_cannot_be_captured_is_said_and_done_without(caplog):
    plan = plan_for(random_model(15, hidden="dilated"))
    ld = ld_signal(20)
    renderer = TorchRenderer(plan, device="cpu")
    fake = _FakeCuda(fails=True)
    renderer._hops[1]._on_cuda(fake)
    assert "no CUDA graph" in caplog.text
    renderer.reset()
    found = push_all(renderer, ld, [slice(i, i + 1) for i in range(20)])
    assert relative(found, push_all(make_renderer("direct", plan), ld)) < 1e-5
    assert fake.calls.count("synchronize") == 21  # after the warm-up, and after every sample


@pytest.mark.skipif(not HAS_CUDA, reason="needs CUDA")
@pytest.mark.parametrize("hidden", [None, "gelu", "dilated"])
@pytest.mark.parametrize("anchor", ["stream", "window"])
def test_cuda_graph_agrees_with_the_equation(anchor, hidden, caplog):
    plan = plan_for(random_model(16, anchor=anchor, hidden=hidden, look_ahead=3))
    ld = ld_signal(120)
    renderer = make_renderer("torch", plan, require_gpu=True)
    assert renderer.name == "torch-cuda"
    assert "no CUDA graph" not in caplog.text
    cuts = [*(slice(i, i + 1) for i in range(40)), slice(40, 77)]
    cuts += [slice(i, i + 1) for i in range(77, 120)]
    oracle = push_all(make_renderer("direct", plan), ld)
    assert relative(push_all(renderer, ld, cuts), oracle) < 1e-5
    renderer.reset()
    assert relative(push_all(renderer, ld, cuts), oracle) < 1e-5


@pytest.mark.skipif(has_nvidia_device(), reason="a GPU is there")
def test_require_gpu_says_why_there_is_none():
    with pytest.raises(EngineError, match="must run on CUDA, but torch"):
        make_renderer("torch", plan_for(random_model(14)), require_gpu=True)
