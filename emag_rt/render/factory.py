"""Engines by name."""

from __future__ import annotations

import logging
import time

import numpy as np

from emag_rt.errors import BundleError, EngineError
from emag_rt.render.demand import check_demand
from emag_rt.render.gpu import why_not_on_gpu
from emag_rt.render.plan import Renderer, RenderPlan

log = logging.getLogger(__name__)
ENGINES = ("native", "onnx", "packed", "torch", "direct")
CHOICES = ("auto", *ENGINES)
_ON_CPU = ("native", "packed")
GPU_ENGINES = ("onnx", "torch")
_TRIALS = 30
_TRIAL_S = 0.2


def make_renderer(engine: str, plan: RenderPlan, require_gpu: bool = False) -> Renderer:
    """Make a renderer.

    Parameters
    ----------
    engine : {"auto", "native", "onnx", "packed", "torch", "direct"}
        Which engine; ``auto`` times one sample on each that starts and takes the quickest.
        ``onnx`` and ``torch`` are among them only where an NVIDIA device is.
    plan : RenderPlan
        What to render.
    require_gpu : bool
        Fail unless it runs on a GPU.

    Returns
    -------
    Renderer
        Ready for the first sample.

    Raises
    ------
    EngineError
        If the engine is unknown or cannot start as asked.
    BundleError
        If it would need more memory than a field may.
    """
    if engine not in CHOICES:
        raise EngineError(f"engine must be one of {', '.join(CHOICES)}, got {engine!r}.")
    if engine == "auto":
        return _quickest(plan, require_gpu)
    if require_gpu and engine not in GPU_ENGINES:
        raise EngineError(
            f"--require-gpu needs --engine {', '.join(GPU_ENGINES)} or auto, got {engine!r}, which "
            "runs on the CPU."
        )
    check_demand(engine, plan)
    if engine == "onnx":
        return _onnx(plan, require_gpu)
    if engine == "native":
        from emag_rt.native import NativeField

        return NativeField(plan.operator, plan.measured)
    if engine == "torch":
        from emag_rt.render.torch_engine import TorchRenderer

        return TorchRenderer(plan, require_gpu)
    if engine == "packed":
        from emag_rt.render.packed import PackedRenderer

        return PackedRenderer(plan)
    from emag_rt.render.direct import DirectRenderer

    return DirectRenderer(plan)


def _onnx(plan: RenderPlan, require_gpu: bool) -> Renderer:
    try:
        from emag_rt.render.onnx_engine import OnnxRenderer
    except ImportError as error:
        extra = "gpu" if require_gpu else "onnx"
        raise EngineError(
            f"engine onnx: the packages onnx and onnxruntime must be installed: pip install "
            f"'emag-rt[{extra}]' ({error})."
        ) from error
    return OnnxRenderer(plan, require_gpu)


def _quickest(plan: RenderPlan, require_gpu: bool) -> Renderer:
    """The quickest engine for live work, where a chunk is a sample or a few.

    On a CPU, ONNX Runtime is not even tried: it keeps no state, so a field with networks takes it
    a hundred times as long, and one without saves 20 µs of a sample at best, for another 0.2 s and
    40 MB at the start. ``direct`` is too slow to be worth a try.
    """
    took: dict[str, float] = {}
    ready: dict[str, Renderer] = {}
    failed: dict[str, str] = {}
    for name in GPU_ENGINES if require_gpu else _ON_CPU + GPU_ENGINES:
        # Importing their packages takes up to seconds and hundreds of MB: not without a device.
        if name in GPU_ENGINES and (why := why_not_on_gpu(name)):
            failed[name] = why
            continue
        try:
            ready[name] = make_renderer(name, plan, require_gpu)
            took[name] = _seconds_a_sample(ready[name], plan.operator.n_ld)
        except (BundleError, EngineError, ImportError, RuntimeError) as error:
            failed[name] = str(error)
            # A machine without a compiler is nothing to worry whoever serves on it.
            level = logging.INFO if name == "native" else logging.WARNING
            log.log(level, "engine %s cannot be used here: %s", name, error)
    if not took:
        what = "--require-gpu: no engine runs on a GPU" if require_gpu else "no engine could start"
        reasons = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise EngineError(f"engine auto: {what}. {reasons}")
    best = min(took, key=lambda name: took[name])
    shown = ", ".join(f"{ready[name].name} {1e3 * took[name]:.2f} ms" for name in took)
    log.info("engine auto: %s takes one sample fastest (%s)", ready[best].name, shown)
    return ready[best]


def _seconds_a_sample(renderer: Renderer, n_ld: int) -> float:
    silence = np.zeros((1, n_ld))
    took: list[float] = []
    while len(took) < 3 or (len(took) < _TRIALS and sum(took) < _TRIAL_S):
        start = time.perf_counter()
        renderer.push(silence)
        took.append(time.perf_counter() - start)
    renderer.reset()
    return float(np.median(took))
