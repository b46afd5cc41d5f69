"""How far each output of the residual is trusted, from what the networks give held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.residual.task import ALL_SPLITS, Task, TrainedNetwork
from emag_rt.array_types import FloatArray, IndexArray

_BLOCK_S = 4.0
_LEAST_GAIN = 0.005
_TINY = np.finfo(float).tiny


def output_gains(
    task: Task, nets: Sequence[TrainedNetwork], bag_size: float, sfreq: float
) -> tuple[FloatArray, tuple[float, ...]]:
    """Shrink factors of the outputs, and what they leave of the held-out error.

    Parameters
    ----------
    task : Task
        What the networks learned from.
    nets : sequence of TrainedNetwork
        All of them; those of the splits count.
    bag_size : float
        See :class:`calibration.residual.task.ResidualSettings`.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    gains : ndarray, shape (n_out,), float64
        In [0, 1]; all 0 where the networks do not pay.
    ratios : tuple of float
        Held-out error with the split's network over that without, a split.
    """
    power = np.zeros(len(task.held))
    for split, rows in enumerate(task.held):
        weight = task.sample_weight[rows, None].astype(np.float64)
        power[split] = (weight * (task.r[rows] * task.r_scale) ** 2).sum()
    nothing = np.zeros(task.r.shape[1])
    along, size, owner = _products(task, nets, sfreq)
    if not len(owner):
        return nothing, (1.0,) * len(power)
    # An output whose gain is not clear of zero by one standard error gets none.
    total = np.maximum(size.sum(axis=0), _TINY)
    slope = along.sum(axis=0) / total
    spread = np.sqrt(((along - slope * size) ** 2).sum(axis=0))
    careful = np.clip((along.sum(axis=0) - spread) / total, 0.0, 1.0)
    won = (2 * careful * along - careful**2 * size).sum(axis=1)
    won_by_split = np.bincount(owner, won, minlength=len(power))
    ratios = 1.0 - won_by_split / np.maximum(power, _TINY)
    # Clear of chance, and worth its cost: gains of a few thousandths were lost on later data.
    clear = won.sum() > np.sqrt(((won - won.mean()) ** 2).sum())
    pays = clear and won.sum() >= _LEAST_GAIN * power.sum()
    # A bag has less noise than the networks of one split, so the shrinkage it needs is less.
    gains = careful / (careful + (1.0 - careful) / bag_size) if pays else nothing
    return gains, tuple(float(ratio) for ratio in ratios)


def _products(
    task: Task, nets: Sequence[TrainedNetwork], sfreq: float
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Products of what was given with what was wanted and with itself, and the split of each.

    They are summed over blocks of a few seconds, whose scatter gives a standard error. Samples
    weigh as in training: one second of movement must not decide over a session.
    """
    along, size, owner = [], [], []
    for net in nets:
        if net.split == ALL_SPLITS or net.held is None:
            continue
        rows = task.held[net.split]
        target, given = task.r[rows] * task.r_scale, net.held * task.r_scale
        weighted = task.sample_weight[rows, None].astype(np.float64) * given
        n_parts = max(1, round(len(rows) / (_BLOCK_S * sfreq)))
        for part in np.array_split(np.arange(len(rows)), n_parts):
            along.append((weighted[part] * target[part]).sum(axis=0))
            size.append((weighted[part] * given[part]).sum(axis=0))
            owner.append(net.split)
    return np.array(along), np.array(size), np.array(owner, dtype=np.intp)
