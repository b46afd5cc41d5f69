"""The doctor: what it finds works, and what it finds broken is said."""

import json

import pytest

from emag_rt.cli import doctor_checks as checks
from emag_rt.errors import StreamError


@pytest.mark.lsl
def test_json_for_programs(cli):
    child = cli("doctor", "--json")
    code = child.finish(60.0)
    report = json.loads(child.output)
    assert code == 0
    assert report["ok"] is True
    assert report["lsl"]["ok"] is True
    assert 0 < report["lsl"]["round_trip_ms"] < 1000
    assert {"name": "CPUExecutionProvider", "starts": True, "reason": ""} in report["providers"]
    for provider in report["providers"]:
        assert provider["starts"] or provider["reason"]
    for name in ("python", "emag_rt", "numpy", "pylsl", "liblsl", "mne", "soxr"):
        assert report["versions"][name]
    assert report["threads"]["cpus"] >= 1
    assert report["native"]["available"] == (not report["native"]["reason"])
    assert set(report["torch_cuda"]) == {"available", "reason"}
    assert report["onnx"] == {"available": True, "reason": ""}


@pytest.mark.lsl
def test_table_for_people(cli):
    child = cli("doctor")
    assert child.finish(60.0) == 0
    for text in ("LSL", "CPUExecutionProvider: starts", "compiled engine", "verdict", "ready"):
        assert text in child.output


def test_a_provider_that_falls_back_is_reported(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )

    class Session:
        def __init__(self, *_args, **_kwargs):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

        def run(self, _names, feeds):
            return [feeds["x"] @ feeds["x"]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    onnx, (cuda, cpu) = checks.check_onnx()
    assert onnx["available"]
    assert not cuda["starts"]
    assert "took CPUExecutionProvider instead" in cuda["reason"]
    assert cpu["starts"]


@pytest.mark.lsl
@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_onnx_runtime_the_machine_is_ready(spawn, package):
    code = f"import sys; sys.modules['{package}'] = None; from emag_rt.cli.main import main; main()"
    child = spawn("-c", code, "doctor", "--json")
    assert child.finish(60.0) == 0
    report = json.loads(child.output)
    assert report["providers"] == []
    assert report["onnx"]["available"] is False
    assert "pip install 'emag-rt[onnx]'" in report["onnx"]["reason"]
    assert report["ok"] is True


@pytest.mark.parametrize("both", [True, False])
def test_two_builds_of_onnx_runtime_are_found_out(monkeypatch, both):
    installed = {"onnxruntime": "1.31", "onnxruntime-gpu": "1.31"} if both else {}
    ours = {**checks.versions(), **installed}
    monkeypatch.setattr(checks, "versions", lambda: ours)
    monkeypatch.setattr(checks, "check_lsl", lambda: {"ok": True})
    assert ("overwrite each other" in checks.run_checks()["advice"]) is both


def test_broken_lsl_is_an_answer_not_a_crash(monkeypatch):
    from emag_rt.streams import lsl

    def broken(_spec):
        raise StreamError("no sockets")

    monkeypatch.setattr(lsl, "LslSink", broken)
    assert checks.check_lsl() == {"ok": False, "error": "no sockets"}
    report = checks.run_checks()
    assert report["ok"] is False
    assert "LSL" in report["advice"]


def test_torch_counts_when_a_product_comes_out_of_the_gpu(monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda _name: None)
    assert checks.check_torch_cuda()["reason"] == "torch is not installed"
    monkeypatch.undo()
    pytest.importorskip("torch")
    monkeypatch.setattr(checks, "_cuda_devices", lambda: 1)
    monkeypatch.setattr(checks.Path, "read_text", lambda *_args, **_options: "cuda = '13.0'")
    for out, error, works in (("True\n", "", True), ("", "Trace\nRuntimeError: no kernel", False)):
        done = checks.subprocess.CompletedProcess([], 0, out, error)
        monkeypatch.setattr(checks.subprocess, "run", lambda *_args, d=done, **_options: d)
        found = checks.check_torch_cuda()
        assert found["available"] is works
        assert works or "no kernel" in found["reason"]
