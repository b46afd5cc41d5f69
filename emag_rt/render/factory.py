"""Engines by name."""

from __future__ import annotations

import logging
import time

import numpy as np

from emag_rt.errors import EngineError
from emag_rt.render.base import Renderer, RenderPlan

log = logging.getLogger(__name__)
ENGINES = ("native", "onnx", "packed", "direct")
CHOICES = ("auto", *ENGINES)
_TRIALS = 30
_TRIAL_S = 0.2


def make_renderer(engine: str, plan: RenderPlan, require_gpu: bool = False) -> Renderer:
    """Make a renderer.

    Parameters
    ----------
    engine : {"auto", "native", "onnx", "packed", "direct"}
        Which engine; ``auto`` times one sample on those that start, and takes the quickest.
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
    """
    if engine == "auto":
        return make_renderer("onnx", plan, True) if require_gpu else _quickest(plan)
    if engine == "onnx":
        from emag_rt.render.onnx_engine import OnnxRenderer

        return OnnxRenderer(plan, require_gpu)
    if require_gpu:
        raise EngineError(f"--require-gpu needs --engine onnx or auto, got {engine!r}.")
    if engine == "native":
        from emag_rt.render.native import NativeRenderer

        return NativeRenderer(plan)
    if engine == "packed":
        from emag_rt.render.packed import PackedRenderer

        return PackedRenderer(plan)
    if engine == "direct":
        from emag_rt.render.direct import DirectRenderer

        return DirectRenderer(plan)
    raise EngineError(f"engine must be one of {', '.join(CHOICES)}, got {engine!r}.")


def _quickest(plan: RenderPlan) -> Renderer:
    """The quickest engine for live work, where a chunk is a sample or a few."""
    took: dict[str, float] = {}
    ready: dict[str, Renderer] = {}
    for name in ("native", "packed", "onnx"):
        try:
            ready[name] = make_renderer(name, plan)
            took[name] = _seconds_a_sample(ready[name], plan.operator.n_ld)
        except (EngineError, ImportError) as error:
            log.info("engine %s cannot be used here: %s", name, error)
    if not took:
        raise EngineError("engine auto: no engine could start; the log says why.")
    best = min(took, key=lambda name: took[name])
    shown = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in took.items())
    log.info("engine auto: %s takes one sample fastest (%s)", best, shown)
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
