"""Training the paper's model: AdamW on windows, stopped by blocks of time held out.

A step takes a few places in the window, and the samples of many windows at these places: the
encoder sees one sample at a time, so samples of a window need not come together. Windows begin
elsewhere in every epoch. The first split's blocks of time are held out and say when to stop; the
same number of epochs is then trained from the same start on all of the session, as ridge sees
all of it once its penalty is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from calibration.paper.paper_fit import PaperFit
from calibration.regression.blocks import (
    Block,
    Segment,
    check_segments,
    held_out_rows,
    make_blocks,
    training_rows,
)
from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError

Progress = Callable[[float, str], None]
_GUARD = 16


def fit_paper(
    segments: Sequence[Segment],
    positions_mm: FloatArray,
    sfreq: float,
    n_window: int,
    options: PaperOptions | None = None,
    *,
    lead_field: FloatArray | None = None,
    blocks: Sequence[Block] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> PaperFit:
    """Train the paper's model to convergence.

    Parameters
    ----------
    segments : sequence of (x, y)
        Features (n_times, n_ld), scaled by calibration statistics, and targets (n_times, n_out)
        in µV relative to the LD mean, as for
        :func:`calibration.baselines.ridge.fit_ridge`. Targets are divided by one
        number, their root mean square, so that the loss is the pooled NMSE.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes of the targets.
    sfreq : float
        Rate in Hz.
    n_window : int
        Samples in a window.
    options : PaperOptions, optional
        What is learned, and how.
    lead_field : ndarray, shape (n_out, n_lattice), optional
        Rows of the targets, for ``forward="lead_field"``; all points of the lattice.
    blocks : sequence of Block, optional
        The same blocks as for the model it is compared with; the first split is held out.
    seed : int
        Initial values, order, and the subset of points.
    device : {"cpu", "cuda"}
        Where to compute.
    progress : callable, optional
        Called with the share done and what is being done.

    Returns
    -------
    PaperFit
        Plain arrays.

    Raises
    ------
    CalibrationError
        If torch is not installed, or the arguments do not fit together.
    """
    require_torch()
    options = options or PaperOptions()
    _, n_out = check_segments(segments)
    positions = np.asarray(positions_mm, dtype=np.float64)
    if positions.shape != (n_out, 3):
        raise CalibrationError(
            f"positions_mm must have shape ({n_out}, 3), one a target, got {positions.shape}."
        )
    if n_window < 2:
        raise CalibrationError(f"n_window must be at least 2 samples, got {n_window}.")
    lengths = [len(x) for x, _ in segments]
    blocks = make_blocks(lengths) if blocks is None else blocks
    held = held_out_rows(lengths, blocks, 0)
    tell = progress or (lambda _share, _what: None)

    from calibration.paper.trainer import Trainer

    def trainer() -> Trainer:
        return Trainer(segments, positions, sfreq, n_window, options, lead_field, seed, device)

    first = trainer()
    history = [first.error(held)[0]]
    best, kept = 0, first.error(held)[1]
    train = training_rows(lengths, blocks, 0, _GUARD)
    for epoch in range(1, options.epochs + 1):
        first.epoch(train)
        pooled, each = first.error(held)
        history.append(pooled)
        tell(0.6 * epoch / options.epochs, f"epoch {epoch}, NMSE held out {pooled:.4f}")
        if pooled < history[best]:
            best, kept = epoch, each
        elif epoch - best >= options.patience:
            break
    final = trainer()
    for epoch in range(1, best + 1):
        final.epoch(np.ones(len(held), dtype=bool))
        tell(0.6 + 0.4 * epoch / best, f"all of the session: epoch {epoch} of {best}")
    return final.fit(tuple(history), best, kept)


def require_torch() -> None:
    """Raise a CalibrationError that says what to install, unless torch is there."""
    if find_spec("torch") is None:
        raise CalibrationError(
            "the paper's model is trained by gradient and needs torch, which is not installed: "
            "pip install 'emag-rt[calibrate]', or leave --method paper out."
        )
