"""The ``native`` engine: the folded operator in compiled code, sample by sample."""

from __future__ import annotations

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.native import NativeField
from emag_rt.render.base import RenderPlan


class NativeRenderer:
    """Folded rendering in C; the same sums as ``packed``, without its overhead.

    Long filters are looked at ever more coarsely further back, to 2e-7
    (:mod:`emag_rt.core.lag_levels`), and all of the next sample's work that does not need it can
    be done before it comes.

    Parameters
    ----------
    plan : RenderPlan
        What to render.

    Attributes
    ----------
    field : NativeField
        The field, for who filters and renders in one call.

    Raises
    ------
    EngineError
        If the package was installed without a C compiler, or the field is of another kind than
        serving meets.
    """

    name = "native"

    def __init__(self, plan: RenderPlan) -> None:
        self.field = NativeField(plan.operator, plan.measured)

    def push(self, ld: FloatArray) -> Float32Array:
        """Render; see :meth:`emag_rt.render.base.Renderer.push`."""
        return self.field.render(ld)

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        self.field.advance(ld)

    def prepare(self) -> None:
        """Do now all of the next sample's work that does not need it."""
        self.field.prepare()

    def reset(self) -> None:
        """Forget the context."""
        self.field.reset()
