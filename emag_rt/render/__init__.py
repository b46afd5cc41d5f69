"""Render engines: filtered LD in, HD out; ``direct`` (oracle), ``packed``, ``native``, others."""

from emag_rt.render.factory import ENGINES, GPU_ENGINES, make_renderer
from emag_rt.render.plan import Renderer, RenderPlan

__all__ = ["ENGINES", "GPU_ENGINES", "RenderPlan", "Renderer", "make_renderer"]
