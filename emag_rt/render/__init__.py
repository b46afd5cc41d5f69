"""Render engines: filtered LD in, HD out; ``direct`` (oracle), ``packed``, ``native``, others."""

from emag_rt.render.base import Renderer, RenderPlan
from emag_rt.render.factory import ENGINES, make_renderer

__all__ = ["ENGINES", "RenderPlan", "Renderer", "make_renderer"]
