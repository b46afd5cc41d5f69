"""Paper-like EMAG as a baseline: the same segments and blocks as ridge gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calibration.paper.paper_fit import PaperFit
from calibration.paper.training import fit_paper
from calibration.regression.blocks import Block, Segment
from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import run_layers
from emag_rt.core.folding import fold_readout
from emag_rt.core.forward import ForwardMatrix

WINDOW_S = 0.5
"""As long as the temporal centres are spread at the start; see
``tools/studies/paper_like_table.py``."""


@dataclass(frozen=True, eq=False)
class PaperBaseline:
    """Paper-like EMAG, fitted.

    Attributes
    ----------
    fit : PaperFit
        What was learned.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes of the targets.
    """

    fit: PaperFit
    positions_mm: FloatArray

    @property
    def cv_nmse(self) -> FloatArray:
        """Error of each output over its power on the blocks held out, shape (n_out,)."""
        return self.fit.cv_nmse

    @cached_property
    def _folded(self) -> tuple[FloatArray, FloatArray]:
        """Base (n_window, n_out) and matrices (n_window, n_out, n_hidden)."""
        fit = self.fit
        tau_s = np.arange(fit.n_window) / fit.sfreq
        forward = None if fit.forward is None else ForwardMatrix(fit.forward, self.positions_mm)
        field, hidden = fit.field, fit.hidden
        base = fold_readout(field, self.positions_mm, tau_s, field.amplitudes[..., None], forward)
        if hidden is None:
            return base[..., 0], np.zeros((*base.shape[:2], 0))
        readout = hidden.readout[:, None, :] * hidden.gains[None, :, None]
        return base[..., 0], fold_readout(field, self.positions_mm, tau_s, readout, forward)

    def predict(self, x: FloatArray) -> FloatArray:
        """Render a segment, windows tiled from its start: (n_times, n_ld) -> (n_times, n_out)."""
        base, matrices = self._folded
        hidden = self.fit.hidden
        out = np.empty((len(x), len(self.positions_mm)))
        h = np.zeros((len(x), 0))
        if hidden is not None:
            h = np.asarray(run_layers(hidden.layers, hidden.activation, x))
        for place in range(self.fit.n_window):
            rows = slice(place, None, self.fit.n_window)
            out[rows] = h[rows] @ matrices[place].T + base[place]
        return out


def fit_paper_like(
    segments: Sequence[Segment],
    positions_mm: FloatArray,
    sfreq: float,
    options: PaperOptions | None = None,
    *,
    window_s: float = WINDOW_S,
    lead_field: FloatArray | None = None,
    blocks: Sequence[Block] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> PaperBaseline:
    """Fit the baseline; arguments as for :func:`calibration.paper.training.fit_paper`.

    Parameters
    ----------
    segments : sequence of (x, y)
        As for :func:`calibration.baselines.ridge.fit_ridge`.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes of the targets.
    sfreq : float
        Rate in Hz.
    options : PaperOptions, optional
        What is learned.
    window_s : float
        Length of a window in s.
    lead_field, blocks, seed, device, progress
        See :func:`calibration.paper.training.fit_paper`.

    Returns
    -------
    PaperBaseline
        With ``predict`` and ``cv_nmse``.

    Raises
    ------
    CalibrationError
        If torch is not installed, or the arguments do not fit together.
    """
    fit = fit_paper(
        segments,
        positions_mm,
        sfreq,
        max(2, round(window_s * sfreq)),
        options,
        lead_field=lead_field,
        blocks=blocks,
        seed=seed,
        device=device,
        progress=progress,
    )
    return PaperBaseline(fit, np.asarray(positions_mm, dtype=np.float64))
