"""Engines by name."""

from __future__ import annotations

from emag_rt.errors import EngineError
from emag_rt.render.base import Renderer, RenderPlan

ENGINES = ("onnx", "packed", "direct")


def make_renderer(engine: str, plan: RenderPlan, require_gpu: bool = False) -> Renderer:
    """Make a renderer.

    Parameters
    ----------
    engine : {"onnx", "packed", "direct"}
        Which engine.
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
    if engine == "onnx":
        from emag_rt.render.onnx_engine import OnnxRenderer

        return OnnxRenderer(plan, require_gpu)
    if require_gpu:
        raise EngineError(f"--require-gpu needs --engine onnx, got {engine!r}.")
    if engine == "packed":
        from emag_rt.render.packed import PackedRenderer

        return PackedRenderer(plan)
    if engine == "direct":
        from emag_rt.render.direct import DirectRenderer

        return DirectRenderer(plan)
    raise EngineError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
