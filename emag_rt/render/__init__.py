"""Render engines: filtered LD in, HD out; ``direct`` (oracle), ``packed``, ``native``, others."""

from emag_rt.render.base import Renderer, RenderPlan
from emag_rt.render.factory import ENGINES, GPU_ENGINES, make_renderer

__all__ = ["ENGINES", "GPU_ENGINES", "RenderPlan", "Renderer", "make_renderer"]
