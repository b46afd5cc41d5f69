"""What the paper's EMAG leaves to choose, validated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from emag_rt.array_types import FloatArray
from emag_rt.core.grid import GridSupport
from emag_rt.errors import SettingsError

Covariance = Literal["full_4d", "spatial_3d_only", "diagonal_4d", "isotropic"]
OffDiagonals = Literal["all", "none", "spatial_only", "spacetime_only"]
Conditioning = Literal["per_grid", "global_scalar", "none"]
Forward = Literal["splat", "linear", "lead_field"]

_ALLOWED_OFF_DIAGONALS: dict[str, tuple[OffDiagonals, ...]] = {
    "full_4d": ("all", "none", "spatial_only", "spacetime_only"),
    "spatial_3d_only": ("spatial_only", "none"),
    "diagonal_4d": ("none",),
    "isotropic": ("none",),
}


@dataclass(frozen=True, eq=False)
class PaperOptions:
    """Options of the paper's model and of its training.

    Attributes
    ----------
    covariance : {"full_4d", "spatial_3d_only", "diagonal_4d", "isotropic"}
        ``full_4d``: all of L. ``spatial_3d_only``: Gaussians in space alone, flat in time, so
        that the place in the window means nothing. ``diagonal_4d``: a width for each axis.
        ``isotropic``: one width in space, one in time (mm and s have no common unit).
    off_diagonals : {"all", "none", "spatial_only", "spacetime_only"} or None
        Which elements of L below its diagonal are learned. None: all that the covariance has.
    learn_centers : bool
        Whether the grid points move.
    conditioning : {"per_grid", "global_scalar", "none"}
        What the LD channels drive: an amplitude change at each point, one for all points, or
        nothing.
    forward : {"splat", "linear", "lead_field"}
        From points to electrodes: the Gaussians' spatial kernel, a learned matrix, or a given
        one. With a matrix, only the temporal part of L acts.
    forward_rank : int or None
        Rank of the learned matrix (``linear``); None: full.
    lead_field : path-like, ndarray, or None
        ``.npy`` file or array of shape (n_hd, n_points) for ``lead_field``: a row for each HD
        channel in the order of the montage, a column for each point of
        ``lattice(grid_resolution, grid_support)``. Its unit does not matter.
    point_share : float
        Share of the grid points that carry Gaussians: a random subset, by the seed.
    n_gaussians : int
        Gaussians at each point.
    grid_resolution : int
        Points along an axis. The paper has 20; 10 trains in minutes on a CPU, see
        ``tools/studies/paper_like_table.py``.
    grid_support : {"cube", "sphere", "surface"}
        Shape of the grid.
    epochs : int
        At most.
    patience : int
        Epochs without a better validation error before training stops.
    learning_rate, weight_decay : float
        Of AdamW.
    regulariser : float
        On the mean square of the precision terms.
    clip : float
        Largest norm of the gradient.
    batch : int
        Windows in a step.
    time_chunk : int
        Places in the window in a step.
    """

    covariance: Covariance = "full_4d"
    off_diagonals: OffDiagonals | None = None
    learn_centers: bool = False
    conditioning: Conditioning = "per_grid"
    forward: Forward = "splat"
    forward_rank: int | None = None
    lead_field: str | Path | FloatArray | None = None
    point_share: float = 1.0
    n_gaussians: int = 3
    grid_resolution: int = 10
    grid_support: GridSupport = "sphere"
    epochs: int = 200
    patience: int = 15
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    regulariser: float = 2e-4
    clip: float = 1.0
    batch: int = 256
    time_chunk: int = 10

    def __post_init__(self) -> None:
        _one_of("covariance", self.covariance, get_args(Covariance))
        if self.off_diagonals is not None:
            _one_of("off_diagonals", self.off_diagonals, get_args(OffDiagonals))
        _one_of("conditioning", self.conditioning, get_args(Conditioning))
        _one_of("forward", self.forward, get_args(Forward))
        _one_of("grid_support", self.grid_support, get_args(GridSupport))
        _in_range("grid_resolution", self.grid_resolution, 2, 64)
        _in_range("n_gaussians", self.n_gaussians, 1, 64)
        for name in ("epochs", "patience", "batch", "time_chunk"):
            _in_range(name, getattr(self, name), 1, 1_000_000)
        _in_range("learning_rate", self.learning_rate, 1e-8, 1.0)
        _in_range("weight_decay", self.weight_decay, 0.0, 1.0)
        _in_range("regulariser", self.regulariser, 0.0, 1e3)
        _in_range("clip", self.clip, 1e-6, 1e6)
        if not 0 < self.point_share <= 1:
            raise SettingsError(
                f"point_share must be above 0 and at most 1, got {self.point_share}."
            )
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        allowed = _ALLOWED_OFF_DIAGONALS[self.covariance]
        if self.off_diagonals is not None and self.off_diagonals not in allowed:
            raise SettingsError(
                f"off_diagonals must be {' or '.join(allowed)} with covariance "
                f"{self.covariance}, which has no others, got {self.off_diagonals}. Leave it out."
            )
        if self.forward != "splat":
            if self.learn_centers:
                raise SettingsError(
                    f"learn_centers must be off with forward {self.forward}: a matrix takes the "
                    "place of the points, so where they are means nothing."
                )
            if self.off_diagonals not in (None, "none"):
                raise SettingsError(
                    f"off_diagonals must be none with forward {self.forward}, whose matrix takes "
                    f"the place of space, got {self.off_diagonals}. Leave it out."
                )
        if self.forward_rank is not None:
            if self.forward != "linear":
                raise SettingsError(
                    f"forward_rank needs forward linear, got {self.forward}. Leave it out."
                )
            _in_range("forward_rank", self.forward_rank, 1, 10_000)
        if (self.lead_field is not None) != (self.forward == "lead_field"):
            raise SettingsError(
                "lead_field must be given with forward lead_field, and with no other, got "
                f"forward {self.forward} {'with' if self.lead_field is not None else 'without'} "
                "one."
            )

    @property
    def learned_off_diagonals(self) -> OffDiagonals:
        """Elements below the diagonal that are learned."""
        if self.forward != "splat":
            return "none"
        return self.off_diagonals or _ALLOWED_OFF_DIAGONALS[self.covariance][0]

    def report(self) -> dict[str, object]:
        """For the manifest: no arrays, no paths."""
        kept = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("lead_field", "off_diagonals")
        }
        return {**kept, "off_diagonals": self.learned_off_diagonals}


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not low <= value <= high:
        raise SettingsError(f"{name} must be from {low:g} to {high:g}, got {value!r}.")
