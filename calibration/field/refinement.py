"""Joint gradient refinement of the Gaussians and what drives them, from the closed-form start.

Spatial precisions (one full factor a grid point), temporal centres and widths (one a profile;
exact delays stay as they are) and all amplitudes move together under AdamW on stretches of the
session. The first split's blocks of time are held out: the number of steps is where their error
is least, and without a clear gain there the start is kept. The same number of steps is then
taken from the start that saw all of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.blocks import Block, Segment, held_out_rows, training_rows
from emag_rt.array_types import FloatArray
from emag_rt.core.model import FieldModel

Progress = Callable[[float, str], None]

N_STEPS = 160
CHECK_EVERY = 20
MIN_GAIN = 5e-3


@dataclass(frozen=True, eq=False)
class Refinement:
    """What became of it.

    Attributes
    ----------
    model : FieldModel
        Refined, or the start.
    steps : int
        Steps taken; 0 where the start was kept.
    validation_ratio : float
        Held-out error over the start's, 1 where the start was kept.
    """

    model: FieldModel
    steps: int
    validation_ratio: float

    @property
    def report(self) -> dict[str, float]:
        """For the manifest."""
        return {"steps": self.steps, "validation_ratio": round(self.validation_ratio, 6)}


def refine_field(
    model: FieldModel,
    blind_readout: FloatArray,
    blocks: Sequence[Block],
    segments: Sequence[Segment],
    positions_mm: FloatArray,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Refinement:
    """Refine a ``stream`` field.

    Parameters
    ----------
    model : FieldModel
        The start; its linear drive must act on the features themselves.
    blind_readout : ndarray, shape (n_points, n_gaussians, n_ld)
        Readout of the same start fitted without the first split.
    blocks : sequence of Block
        The splits.
    segments : sequence of (x, y)
        Features, and the electrodes that the field must give, in µV.
    positions_mm : ndarray, shape (n_electrodes, 3)
        These electrodes.
    seed : int
        Order of the stretches.
    device : {"cpu", "cuda"}
        Where to compute.
    progress : callable, optional
        Called with the share done and what is being done.

    Returns
    -------
    Refinement
        The refined model, or the start.
    """
    from calibration.field.trainer import Trainer

    tell = progress or (lambda _share, _what: None)
    lengths = [len(x) for x, _ in segments]
    held = held_out_rows(lengths, blocks, 0)
    train = training_rows(lengths, blocks, 0, model.n_lags)
    trainer = Trainer(model, segments, positions_mm, blind_readout, seed, device)
    start = best = trainer.error(held)
    best_step = 0
    for step in range(1, N_STEPS + 1):
        trainer.step(train)
        if step % CHECK_EVERY == 0:
            tell(0.6 * step / N_STEPS, f"precisions and amplitudes: step {step}")
            error = trainer.error(held)
            if error < best:
                best, best_step = error, step
            elif step - best_step >= 2 * CHECK_EVERY:
                break
    if best > (1.0 - MIN_GAIN) * start:
        return Refinement(model, 0, 1.0)
    trainer = Trainer(model, segments, positions_mm, model.drive.readout, seed, device)
    for step in range(1, best_step + 1):
        trainer.step(np.ones(len(train), dtype=bool))
        if step % CHECK_EVERY == 0:
            tell(0.6 + 0.4 * step / best_step, f"precisions and amplitudes: step {step}")
    return Refinement(trainer.refined(model), best_step, best / start)
