"""The GPU tool, on the CPU: it runs with little installed, and compares like with like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emag_rt.core.direct import render_direct
from emag_rt.errors import EngineError
from tests.factories import relative

pytest.importorskip("torch")
gpu_figures = pytest.importorskip("tools.gpu_figures")
TOOL = Path(gpu_figures.__file__)
# What a bare machine with torch may lack; None in sys.modules makes an import fail.
BARE = """
import runpy, sys
for name in ("onnxruntime", "onnx", "pylsl", "mne", "pydantic", "safetensors", "soxr", "yaml"):
    sys.modules[name] = None
path, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(path, run_name="__main__")
"""


def test_quick_run_on_a_bare_machine(tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, "-c", BARE, TOOL, "--device", "cpu", "--quick", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found) == {"environment", *gpu_figures.SECTIONS}
    assert found["environment"]["device"] == "CPU alone"
    assert found["environment"]["torch"]
    assert "onnxruntime" in found["hop"]["onnx"]["failed"]
    for name in ("packed", "torch-cpu"):
        row = found["hop"][name]
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["p99.9_ms"]
        assert row["relative_error"] < 1e-5
    for name in ("folded torch", "folded packed (CPU)"):
        assert found["mixture"][name]["relative_error"] < 1e-4
        assert found["mixture"][name]["times_faster"] > 1
    assert found["dense"]["torch"]["frames_a_second"] > 0
    assert found["training"]["cpu"]["residual_steps_a_second"] > 0
    assert found["training"]["cpu"]["paper_steps_a_second"] > 0
    for text in ("| torch-cpu |", "**dense** n_points: 500", "quick: a smoke test"):
        assert text in done.stdout


def test_the_unfolded_mixture_is_the_equation():
    """Measured against a straw man, any folding would look good."""
    plan = gpu_figures.plan_of(gpu_figures.paper_subject(0, 4, 6), 9)
    ld = gpu_figures.noise(6)
    expected = render_direct(plan.model, plan.positions_mm, ld) + ld.mean(axis=1, keepdims=True)
    assert relative(gpu_figures.Naive(plan, "cpu").push(ld), expected) < 1e-5


def test_the_subject_has_the_sizes_of_a_real_one():
    plan = gpu_figures.plan_of(gpu_figures.subject(0, 8), 256)
    operator = plan.operator
    assert (operator.n_ld, operator.n_out, operator.taps.shape) == (32, 256, (26, 141))
    assert operator.hidden.out_taps.shape == (1, 1)
    assert [block.dilation for block in operator.hidden.blocks] == [2**k for k in range(8)]
    assert operator.hidden.blocks[0].weight.shape == (8, 32, 64)


def test_a_section_that_fails_is_named_and_the_others_are_measured(monkeypatch, capsys):
    def broken(_device, _size):
        raise EngineError("no memory left")

    sections = {"hop": broken, "dense": lambda _device, _size: {"torch": {"ms": 1.0}}}
    monkeypatch.setattr(gpu_figures, "SECTIONS", sections)
    with pytest.raises(SystemExit) as left:
        gpu_figures.main(["--device", "cpu", "--quick"], standalone_mode=False)
    assert left.value.code == 1
    shown = capsys.readouterr().out
    assert "EngineError: no memory left" in shown
    assert "| torch | 1 |" in shown


def test_an_engine_that_does_not_start_is_in_the_table(monkeypatch):
    def refuse(name, _plan, require_gpu=False):
        raise EngineError(f"{name} on {'gpu' if require_gpu else 'anything'}")

    monkeypatch.setattr(gpu_figures, "make_renderer", refuse)
    monkeypatch.setattr(gpu_figures, "TorchRenderer", lambda _plan, device: refuse("torch", None))
    found = dict(gpu_figures.engines(None, "cuda"))
    assert found["onnx-cuda"] == "onnx on gpu"
    assert {"onnx", "packed", "torch"} <= set(found)
    assert all(isinstance(why, str) for why in found.values())


def test_times_are_of_every_call():
    calls = []
    took = gpu_figures.seconds(lambda: calls.append(1), 7, warm=2)
    assert took.shape == (7,)
    assert len(calls) == 9
    assert np.isfinite(took).all()
