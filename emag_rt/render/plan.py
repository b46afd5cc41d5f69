"""What a renderer is, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.core.folding import PackedOperator
from emag_rt.core.model import FieldModel


@dataclass(frozen=True, eq=False)
class RenderPlan:
    """What to render.

    Attributes
    ----------
    model : FieldModel
        The mixture, for the ``direct`` engine.
    operator : PackedOperator
        The mixture folded for the output electrodes.
    positions_mm : ndarray, shape (n_out, 3)
        Output electrodes.
    measured : tuple of (int, int)
        Output rows that are passed through, with their LD column.
    """

    model: FieldModel
    operator: PackedOperator
    positions_mm: FloatArray
    measured: tuple[tuple[int, int], ...] = ()


class Renderer(Protocol):
    """Turns filtered LD samples into output channels, sample by sample.

    Output row i belongs to the LD row ``look_ahead`` samples before input row i.
    """

    name: str

    def push(self, ld: FloatArray) -> Float32Array:
        """Render.

        Parameters
        ----------
        ld : ndarray, shape (n_times, n_ld), float64
            Filtered, filled LD channels in µV.

        Returns
        -------
        ndarray, shape (n_times, n_out), float32
            µV, in the input's reference.
        """
        ...

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        ...

    def reset(self) -> None:
        """Forget the context: the next sample starts from silence."""
        ...

    def prepare(self) -> None:
        """Do now what the next chunk would else wait for; numbers stay the same."""
        ...
