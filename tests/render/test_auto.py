"""What ``auto`` tries, takes and says; engines are fakes where a GPU would be needed."""

import subprocess
import sys

import numpy as np
import pytest

from emag_rt.errors import EngineError
from emag_rt.render import factory, make_renderer
from emag_rt.render.gpu import has_nvidia_device, why_not_on_gpu
from tests.factories import random_model
from tests.render.test_engines import plan_for

ONNX = "emag_rt.render.onnx_engine.OnnxRenderer"
NATIVE = "emag_rt.native.NativeField"
TORCH = "emag_rt.render.torch_engine.TorchRenderer"


class Fake:
    """An engine that can say how long it takes."""

    def __init__(self, name, seconds):
        self.name, self.seconds, self.resets = name, seconds, 0

    def push(self, ld):
        return np.zeros((len(ld), 7), dtype=np.float32)

    def reset(self):
        self.resets += 1


@pytest.fixture
def plan():
    return plan_for(random_model(8))


@pytest.fixture
def fakes(monkeypatch):
    """Put fakes in the place of the engines; an exception is raised when one starts."""

    def put(onnx, torch, device=True):
        def starter(answer):
            def start(_plan, require_gpu=False):
                if isinstance(answer, Exception):
                    raise answer
                return answer

            return start

        pytest.importorskip("torch")
        monkeypatch.setattr(NATIVE, starter(EngineError("no compiler was here")))
        monkeypatch.setattr(ONNX, starter(onnx))
        monkeypatch.setattr(TORCH, starter(torch))
        reason = "" if device else "no NVIDIA device is here"
        monkeypatch.setattr(factory, "why_not_on_gpu", lambda _engine: reason)
        timed = lambda renderer, _n_ld: getattr(renderer, "seconds", 1.0)  # noqa: E731
        monkeypatch.setattr(factory, "_seconds_a_sample", timed)

    return put


@pytest.mark.parametrize(
    ("onnx", "torch", "device", "wanted"),
    [
        (0.5, 0.2, True, "torch-cuda"),
        (0.1, 0.2, True, "onnx-cuda"),
        (3.0, 2.0, True, "packed"),
        (0.1, 0.1, False, "packed"),
    ],
)
def test_the_quickest_that_starts_is_taken(plan, fakes, onnx, torch, device, wanted):
    fakes(Fake("onnx-cuda", onnx), Fake("torch-cuda", torch), device)
    assert make_renderer("auto", plan).name == wanted


def test_require_gpu_takes_the_quickest_on_a_gpu(plan, fakes):
    fakes(Fake("onnx-cuda", 4.0), Fake("torch-cuda", 3.0))
    assert make_renderer("auto", plan, require_gpu=True).name == "torch-cuda"
    fakes(EngineError("no curand"), Fake("torch-cuda", 3.0))
    assert make_renderer("auto", plan, require_gpu=True).name == "torch-cuda"


@pytest.mark.parametrize(
    ("torch", "device", "why"),
    [
        (EngineError("no driver"), True, "torch: no driver"),
        (RuntimeError("out of memory"), True, "torch: out of memory"),
        (Fake("torch-cuda", 1.0), False, "torch: no NVIDIA device is here"),
    ],
)
def test_require_gpu_lists_why_each_engine_failed(plan, fakes, torch, device, why):
    fakes(EngineError("no curand"), torch, device)
    onnx = "no curand" if device else "no NVIDIA device is here"
    message = rf"--require-gpu: no engine runs on a GPU\. onnx: {onnx}; {why}"
    with pytest.raises(EngineError, match=message):
        make_renderer("auto", plan, require_gpu=True)
    assert make_renderer("auto", plan).name == "packed"


def test_timing_leaves_no_trace(plan):
    fake = Fake("fake", 0.0)
    assert factory._seconds_a_sample(fake, 8) >= 0.0
    assert fake.resets == 1


@pytest.mark.skipif(has_nvidia_device(), reason="a GPU is there: they are worth a try")
def test_auto_imports_neither_torch_nor_onnx_without_a_device():
    code = """
import sys
from emag_rt.render import make_renderer
from tests.factories import random_model
from tests.render.test_engines import plan_for
make_renderer("auto", plan_for(random_model(8)))
try:
    make_renderer("auto", plan_for(random_model(8)), require_gpu=True)
except Exception as error:
    print(error)
assert not {"torch", "onnx", "onnxruntime"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "onnx: " in done.stdout
    assert "torch: " in done.stdout


def test_why_an_engine_is_not_tried_on_a_gpu(monkeypatch):
    monkeypatch.setattr("emag_rt.render.gpu.has_nvidia_device", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name == "onnx" else None)
    assert why_not_on_gpu("torch") == "torch must be installed (pip install 'emag-rt[calibrate]')"
    assert why_not_on_gpu("onnx") == "onnxruntime must be installed (pip install 'emag-rt[gpu]')"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert why_not_on_gpu("torch") == why_not_on_gpu("onnx") == ""
    monkeypatch.setattr("emag_rt.render.gpu.has_nvidia_device", lambda: False)
    assert "no NVIDIA device" in why_not_on_gpu("torch")
