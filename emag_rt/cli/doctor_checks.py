"""What ``emag-rt doctor`` finds out. Each check does the thing itself, and never raises."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import IO, TypedDict

import numpy as np

from emag_rt import __version__
from emag_rt.errors import EmagError

_REQUIRED = ("numpy", "scipy", "mne", "soxr", "safetensors", "pydantic", "threadpoolctl")
_OPTIONAL = ("onnx", "onnxruntime", "onnxruntime-gpu", "torch", "mne-lsl")


class Availability(TypedDict):
    """Whether something can be used here, and why not."""

    available: bool
    reason: str


class Provider(TypedDict):
    """An execution provider of ONNX Runtime."""

    name: str
    starts: bool
    reason: str


class LslCheck(TypedDict, total=False):
    """``ok``, and ``error`` or the times."""

    ok: bool
    error: str
    resolve_s: float
    connect_s: float
    round_trip_ms: float
    clock_offset_us: float


class Threads(TypedDict):
    """Usable CPUs, and threads that BLAS would take (None: not known)."""

    cpus: int | None
    blas: int | None
    OMP_NUM_THREADS: str | None


class Report(TypedDict):
    """All that was found out; made of what JSON can hold."""

    ok: bool
    advice: str
    versions: dict[str, str | None]
    lsl: LslCheck
    onnx: Availability
    providers: list[Provider]
    native: Availability
    torch_cuda: Availability
    threads: Threads


def run_checks() -> Report:
    """All checks; ``ok`` is whether LSL works, for every machine renders on its CPU."""
    from emag_rt.streams.lsl.ports import used_up

    lsl = check_lsl()
    onnx, providers = check_onnx()
    advice = []
    if not lsl["ok"]:
        advice.append(
            "LSL streams on this machine cannot be read: let UDP and TCP ports 16571-16604 "
            "through, or try --scope machine."
        )
    ports = used_up()
    if ports:
        advice.append(f"{ports[0].upper()}{ports[1:]}")
    found = versions()
    if found.get("onnxruntime") and found.get("onnxruntime-gpu"):
        advice.append(
            "onnxruntime and onnxruntime-gpu overwrite each other: pip uninstall both, then "
            "install one again."
        )
    missing = [package for package in _REQUIRED if found[package] is None]
    if missing:
        advice.append(f"Not installed: {', '.join(missing)}. Run pip install emag-rt again.")
    idle = [p["name"] for p in providers if not p["starts"]]
    if idle:
        advice.append(f"Listed, but does not start here: {', '.join(idle)}.")
    native = check_native()
    if not native["available"]:
        advice.append(
            f"A sample takes several times longer than it could: engine native {native['reason']}."
        )
    return {
        "ok": lsl["ok"],
        "advice": " ".join(advice) or "nothing to mend",
        "versions": found,
        "lsl": lsl,
        "onnx": onnx,
        "providers": providers,
        "native": native,
        "torch_cuda": check_torch_cuda(),
        "threads": check_threads(),
    }


def versions() -> dict[str, str | None]:
    """Versions of what matters; None where a package is missing. Nothing heavy is imported."""
    from emag_rt.streams.lsl import library_versions

    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "emag_rt": __version__,
        **library_versions(),
    }
    for package in _REQUIRED + _OPTIONAL:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if found["onnxruntime"] is None and found["onnxruntime-gpu"] is not None:
        del found["onnxruntime"]
    elif found["onnxruntime-gpu"] is None:
        del found["onnxruntime-gpu"]
    return found


def check_native() -> Availability:
    """Whether the compiled engine is there: ``available`` and ``reason``."""
    from emag_rt.native import why_not

    reason = why_not()
    return {"available": not reason, "reason": reason}


def check_lsl(timeout_s: float = 5.0) -> LslCheck:
    """Publish a stream, find it, read one sample back.

    Parameters
    ----------
    timeout_s : float
        Time allowed for finding it, in seconds.

    Returns
    -------
    LslCheck
        The times, or the error.
    """
    from emag_rt.streams.lsl import LslSink, LslSource, OutletSpec, StreamQuery, find_stream
    from emag_rt.streams.lsl import local_clock as clock

    source_id = f"emag_rt-doctor-{os.getpid()}-{time.time_ns()}"
    sink = None
    try:
        sink = LslSink(OutletSpec("emag_rt-doctor", source_id, ("probe",), 100.0, units="none"))
        begin = time.monotonic()
        found = find_stream(StreamQuery(source_id=source_id), timeout_s)
        resolved = time.monotonic()
        source = LslSource(found)
        connected = time.monotonic()
        if not sink.wait_for_consumers(timeout_s):
            raise EmagError("the receiver did not connect")
        stamp = clock()
        sink.push(np.full((1, 1), 42.0, np.float32), np.array([stamp]))
        samples, stamps = source.pull(timeout_s)
        took = clock() - stamp
        if len(samples) != 1 or samples[0, 0] != 42.0 or abs(stamps[0] - stamp) > 1e-3:
            raise EmagError(f"sent 42 at {stamp:.6f}, got {samples.tolist()} at {stamps.tolist()}")
        source.close()
    except EmagError as error:
        return {"ok": False, "error": str(error)}
    finally:
        if sink is not None:
            sink.close()
    return {
        "ok": True,
        "resolve_s": resolved - begin,
        "connect_s": connected - resolved,
        "round_trip_ms": took * 1e3,
        "clock_offset_us": source.clock_correction_s * 1e6,
    }


def check_onnx() -> tuple[Availability, list[Provider]]:
    """Run a small graph on every execution provider that ONNX Runtime lists.

    Returns
    -------
    onnx : Availability
        Whether the engine can be tried at all.
    providers : list of Provider
        A provider counts when the runtime says that it uses it: ONNX Runtime lists providers that
        cannot start, and falls back without an error. Empty where it is not installed.
    """
    try:
        import onnxruntime

        graph = _tiny_graph()
    except ImportError as error:
        reason = f"not installed, which engine onnx needs: pip install 'emag-rt[onnx]' ({error})"
        return {"available": False, "reason": reason}, []
    onnxruntime.set_default_logger_severity(3)
    found = [
        _try_provider(onnxruntime, name, graph) for name in onnxruntime.get_available_providers()
    ]
    return {"available": any(one["starts"] for one in found), "reason": ""}, found


def _try_provider(onnxruntime: ModuleType, name: str, graph: bytes) -> Provider:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with _captured_output() as log:
        try:
            runtime = onnxruntime.InferenceSession(graph, options, providers=[name])
            used = runtime.get_providers()[0]
            result = runtime.run(None, {"x": np.ones((4, 4), np.float32)})[0]
            starts = used == name and bool(np.allclose(result, 4.0))
            reason = "" if starts else f"ONNX Runtime took {used} instead"
        except Exception as error:  # the library raises many types of its own
            starts, reason = False, " ".join(str(error).split())[:200]
        log.flush()
        log.seek(0)
        text = log.read().decode(errors="replace")
    missing = [part for part in text.replace(",", " ").split() if ".so" in part or ".dll" in part]
    if not starts and "cannot open shared object" in text and missing:
        reason += f" (cannot load {missing[-1].strip(':')})"
    return {"name": name, "starts": starts, "reason": reason}


def _tiny_graph() -> bytes:
    """One matrix product, as ONNX of a version that old runtimes read."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("x", "y"))
    product = helper.make_node("MatMul", ["x", "x"], ["y"])
    graph = helper.make_graph([product], "probe", [x], [y])
    opsets = [helper.make_opsetid("", 13)]
    blob: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return blob


@contextlib.contextmanager
def _captured_output() -> Iterator[IO[bytes]]:
    """Keep what C++ libraries print, on file descriptors 1 and 2, off the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            yield log
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)


def check_torch_cuda() -> Availability:
    """Whether the torch engine, or calibration, could use a GPU: makes a product on it.

    Torch is imported (in a process of its own) only where that seems likely.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return {"available": False, "reason": "torch is not installed"}
    built = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    if "cuda: Optional[str] = None" in built or "cuda: str | None = None" in built:
        return {"available": False, "reason": "this torch was built without CUDA"}
    n_devices = _cuda_devices()
    if n_devices == 0:
        return {"available": False, "reason": "no CUDA device or driver"}
    code = (
        "import torch; ones = torch.ones((2, 2), device='cuda'); "
        "print(float((ones @ ones).sum()) == 8.0)"
    )
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter, fixed code)
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return {"available": False, "reason": "torch did not start in 120 s"}
    works = done.stdout.strip().endswith("True")
    said = (done.stderr.strip().splitlines() or ["a product came out wrong"])[-1][:200]
    reason = f"{n_devices} device(s)" if works else f"torch cannot use the device: {said}"
    return {"available": works, "reason": reason}


def _cuda_devices() -> int:
    """CUDA devices that the driver reports, 0 without one."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def check_threads() -> Threads:
    """How much could run at once."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    blas = None
    with contextlib.suppress(ImportError):
        from threadpoolctl import threadpool_info

        counts = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        blas = max(counts, default=None)
    return {"cpus": cpus, "blas": blas, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}
