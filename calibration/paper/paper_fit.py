"""What training the paper's model gives: plain arrays, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.drive import HiddenBranch
from emag_rt.core.field import GaussianField
from emag_rt.core.grid import lattice


@dataclass(frozen=True, eq=False)
class PaperFit:
    """A trained model, as arrays.

    Attributes
    ----------
    field : GaussianField
        The mixture, in µV.
    hidden : HiddenBranch or None
        Encoder and modulator; None without conditioning.
    forward : ndarray, shape (n_out, n_points), or None
        The matrix in the place of the spatial kernel.
    points : ndarray, shape (n_points,), int
        Which points of the lattice carry Gaussians.
    sfreq : float
        Rate in Hz.
    n_window : int
        Samples in a window.
    epochs : int
        Epochs trained: the best ones on the blocks held out.
    history : tuple of float
        NMSE on the blocks held out after each epoch, the start first.
    cv_nmse : ndarray, shape (n_out,)
        Error of each output over its power on the blocks held out, which also chose the epochs.
    options : PaperOptions
        What was learned.
    """

    field: GaussianField
    hidden: HiddenBranch | None
    forward: FloatArray | None
    points: IndexArray
    sfreq: float
    n_window: int
    epochs: int
    history: tuple[float, ...]
    cv_nmse: FloatArray
    options: PaperOptions

    @property
    def converged(self) -> bool:
        """Whether patience ended training, and not the number of epochs allowed."""
        return len(self.history) - 1 - self.epochs >= self.options.patience

    @property
    def width_mm(self) -> float:
        """Median spatial width of the Gaussians' factors."""
        diagonal = self.field.cholesky[..., [0, 1, 2], [0, 1, 2]]
        return float(np.median(1 / diagonal))

    @property
    def report(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            **self.options.report(),
            "epochs_trained": self.epochs,
            "converged": self.converged,
            "validation_nmse": round(self.history[self.epochs], 6),
        }


def choose_points(options: PaperOptions, seed: int) -> IndexArray:
    """Which points of the lattice carry Gaussians, in order; by the seed."""
    n_points = len(lattice(options.grid_resolution, options.grid_support))
    n_kept = max(1, round(options.point_share * n_points))
    if n_kept == n_points:
        return np.arange(n_points)
    return np.sort(np.random.default_rng(seed).choice(n_points, n_kept, replace=False))
