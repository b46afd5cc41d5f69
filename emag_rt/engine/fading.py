"""Another linear part for a renderer while it goes on: in small steps, with no state lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.alignment import Placement
from emag_rt.core.folding import PackedOperator
from emag_rt.engine.planning import matched_operator
from emag_rt.errors import SettingsError
from emag_rt.render import Renderer, RenderPlan

_STEPS = 64


@runtime_checkable
class Exchangeable(Protocol):
    """A renderer whose linear weights can be exchanged between two samples."""

    def laid_out(self, weights: FloatArray) -> tuple[Float32Array, ...]:
        """Weights, shape (1, n_out, n_taps * n_ld), as this engine keeps them."""
        ...

    def use(self, arrays: tuple[Float32Array, ...]) -> None:
        """Render with these from the next sample on; context and networks stay as they are."""
        ...


class Fading:
    """Goes over from an upsampler's linear part to another.

    What is rendered is linear in its weights, so it goes over as they do: each of 64 steps changes
    it by a 64th of the difference. Networks stay as they are.

    Parameters
    ----------
    renderer : Renderer
        Renders ``plan``.
    bundle, plan, placement
        What is rendered, and where.
    matched : float or None
        How far its statistics are brought to those of measured HD.
    """

    def __init__(
        self,
        renderer: Renderer,
        bundle: Bundle,
        plan: RenderPlan,
        placement: Placement,
        matched: float | None,
    ) -> None:
        self._renderer, self._bundle, self._plan = renderer, bundle, plan
        self._placement, self._matched = placement, matched
        self._from: tuple[Float32Array, ...] = ()
        self._to: tuple[Float32Array, ...] = ()
        self._now: tuple[Float32Array, ...] = ()
        self._step, self._n_times, self._passed = _STEPS, 1, 0
        self._count: int | None = None

    @property
    def estimate(self) -> tuple[PackedOperator, FloatArray]:
        """What is changed: an operator, and its electrodes, shape (n, 3) in mm."""
        if self._matched is None:
            return self._plan.operator, self._plan.positions_mm
        return self._bundle.operator, self._bundle.manifest.hd_montage.positions_mm

    @property
    def rendered(self) -> list[int]:
        """Rows of it that are not passed through."""
        measured = self._plan.measured
        if self._matched is not None:
            measured = tuple(self._bundle.measured_rows(self._bundle.manifest.hd_montage.labels))
        return sorted(set(range(self.estimate[0].n_out)) - {row for row, _ in measured})

    @property
    def goes_on(self) -> bool:
        """Whether it is on its way."""
        return self._step < _STEPS

    def begin(self, change: FloatArray | None, n_times: int) -> None:
        """Go over to another linear part; :meth:`Upsampler.prepare` moves it on.

        Parameters
        ----------
        change : ndarray, shape (1, n, n_taps * n_ld), or None
            By how much the weights of :attr:`estimate` are to differ from the bundle's; None: as
            the bundle has them, to the bit.
        n_times : int
            Samples within which it is there.

        Raises
        ------
        SettingsError
            If this engine cannot.
        """
        renderer, weights = self.require(), self._plan.operator.weights
        if not self._now:
            self._now = renderer.laid_out(weights)
        if change is not None:
            if self._matched is not None:
                bare = replace(self._bundle.operator, weights=change, hidden=None)
                operator = matched_operator(bare, self._bundle, self._placement, self._matched)
                change = operator.weights
            weights = weights + change
        self._from, self._to = self._now, renderer.laid_out(weights)
        self._step, self._n_times, self._passed = 0, n_times, 0
        self._count = None

    def require(self) -> Exchangeable:
        """The renderer, whose linear part can be exchanged.

        Raises
        ------
        SettingsError
            If it cannot.
        """
        if not isinstance(self._renderer, Exchangeable):
            raise SettingsError(
                "adapting needs engine native or packed, which can exchange their linear part, "
                f"got {self._renderer.name}. Take one of them."
            )
        return self._renderer

    def advance(self, count: int) -> None:
        """So many samples have come since the start, or since the last reset."""
        if self._count is not None:
            self._passed += count - self._count if count >= self._count else count
        self._count = count
        step = min(_STEPS * self._passed // self._n_times, _STEPS)
        if step == self._step:
            return
        self._step, share = step, np.float32(step / _STEPS)
        self._now = self._to
        if step < _STEPS:
            pairs = zip(self._from, self._to, strict=True)
            self._now = tuple(old + share * (new - old) for old, new in pairs)
        self.require().use(self._now)
