"""The ``direct`` engine: the mixture equation as written, in float64; the oracle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emag_rt.core.direct import render_direct
from emag_rt.core.drive import reference_free
from emag_rt.render.base import FloatArray, History, RenderPlan

_BLOCK = 512


class DirectRenderer:
    """Sums every Gaussian at every lag for every sample: right, and slow.

    Parameters
    ----------
    plan : RenderPlan
        What to render.
    """

    name = "direct"

    def __init__(self, plan: RenderPlan) -> None:
        self._plan = plan
        self._history = History(plan.model.n_context, plan.model.n_ld)
        self._delay = History(plan.model.look_ahead, plan.model.n_ld)
        self.reset()

    def reset(self) -> None:
        """Forget the context."""
        self._history.reset()
        self._delay.reset()
        self._position = -self._plan.model.look_ahead

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        self._delay.append(ld)
        self._history.append(reference_free(ld)[0])
        self._position += len(ld)

    def push(self, ld: FloatArray) -> NDArray[np.float32]:
        """Render; see :meth:`emag_rt.render.base.Renderer.push`."""
        blocks = [self._push(ld[i : i + _BLOCK]) for i in range(0, max(1, len(ld)), _BLOCK)]
        return np.concatenate(blocks)

    def _push(self, ld: FloatArray) -> NDArray[np.float32]:
        n = len(ld)
        current = self._delay.append(ld)[:n]
        with_context = self._history.append(reference_free(ld)[0])
        plan = self._plan
        out = render_direct(plan.model, plan.positions_mm, with_context, self._position)
        self._position += n
        out += current.mean(axis=1, keepdims=True)
        for row, column in plan.measured:
            out[:, row] = current[:, column]
        return out.astype(np.float32)
