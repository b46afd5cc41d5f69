"""How far the residual is trusted, from what the networks give held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.residual.task import ALL_SPLITS, Task, TrainedNetwork
from emag_rt.array_types import FloatArray, IndexArray

_BLOCK_S = 4.0
_LEAST_GAIN = 0.005
LEAST_OTHERS = 0.001
"""Share of the error that other people's network must take away to be worth its cost."""
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
    gains = _of_bag(careful, bag_size) if pays else nothing
    return gains, tuple(float(ratio) for ratio in ratios)


@dataclass(frozen=True)
class Shares:
    """How much a session's own networks count beside that of other people.

    Attributes
    ----------
    own, others : float
        Factors of what each gives, in [0, 1].
    ratios : tuple of float
        Held-out error with both over that without, a split.
    """

    own: float
    others: float
    ratios: tuple[float, ...]


def shares_beside(
    task: Task,
    nets: Sequence[TrainedNetwork],
    gains: FloatArray,
    others: FloatArray,
    bag_size: float,
    sfreq: float,
) -> Shares | None:
    """Weigh a session's own networks and that of other people, which never saw the session.

    Parameters
    ----------
    task, nets, bag_size, sfreq
        As for :func:`output_gains`.
    gains : ndarray, shape (n_out,), float64
        What it found.
    others : ndarray, shape (n_times, n_out), float64
        What the network of other people gives for the task's samples, in µV.

    Returns
    -------
    Shares or None
        None where the other people's network adds too little to be worth its cost.
    """
    found, owner = [], []
    for split, rows, weight, target, given in _held_out(task, nets, sfreq, silent=True):
        three = np.stack([gains * given, others[rows], target])
        found.append(np.einsum("itn,jtn->ij", weight * three, three, optimize=True))
        owner.append(split)
    products = np.array(found)
    total = products.sum(axis=0)
    both = np.linalg.lstsq(total[:2, :2], total[:2, 2], rcond=None)[0]
    own = float(_of_bag(np.clip(both[0], 0.0, 1.0), bag_size))
    # The other people's share is the lesser by one standard error, as gains are.
    along, size = products[:, 1, 2] - own * products[:, 0, 1], products[:, 1, 1]
    share = careful_share(along, size)
    alone, joined = np.array([-1.0, 0.0, 1.0]), np.array([-own, -share, 1.0])
    left = [float(mix @ total @ mix) for mix in (alone, joined)]
    if share == 0.0 or left[0] - left[1] < LEAST_OTHERS * total[2, 2]:
        return None
    n_splits = len(task.held)
    power = np.bincount(owner, products[:, 2, 2], minlength=n_splits)
    by_split = np.bincount(owner, products @ joined @ joined, minlength=n_splits)
    ratios = by_split / np.maximum(power, _TINY)
    return Shares(own, share, tuple(float(ratio) for ratio in ratios))


def careful_share(along: FloatArray, size: FloatArray) -> float:
    """How much of a correction to take: the best share, less one standard error.

    Parameters
    ----------
    along, size : ndarray, shape (n_blocks,), float64
        Products of what was given with what was wanted, and with itself.

    Returns
    -------
    float
        In [0, 1].
    """
    total = max(float(size.sum()), _TINY)
    slope = along.sum() / total
    spread = np.sqrt(((along - slope * size) ** 2).sum())
    return float(min(max((along.sum() - spread) / total, 0.0), 1.0))


def short_blocks(n_times: int, sfreq: float) -> list[IndexArray]:
    """Rows in blocks of a few seconds, whose scatter gives a standard error."""
    return np.array_split(np.arange(n_times), max(1, round(n_times / (_BLOCK_S * sfreq))))


def _of_bag(careful: FloatArray, bag_size: float) -> FloatArray:
    """The shrinkage that a bag needs: it has less noise than the networks of one split."""
    return careful / (careful + (1.0 - careful) / bag_size)


def _held_out(
    task: Task, nets: Sequence[TrainedNetwork], sfreq: float, silent: bool = False
) -> Iterator[tuple[int, IndexArray, FloatArray, FloatArray, FloatArray]]:
    """Blocks of a few seconds: split, rows, their weight, what was wanted and given in µV.

    The blocks' scatter gives a standard error. Samples weigh as in training: one second of
    movement must not decide over a session. Networks that were never better than nothing give
    nothing; they come where ``silent`` ones are asked for.
    """
    for net in nets:
        if net.split == ALL_SPLITS or (net.held is None and not silent):
            continue
        rows = task.held[net.split]
        gave = np.zeros((len(rows), task.r.shape[1])) if net.held is None else net.held
        for part in short_blocks(len(rows), sfreq):
            here = rows[part]
            weight = task.sample_weight[here, None].astype(np.float64)
            yield (
                net.split, here, weight,
                task.r[here] * task.r_scale, gave[part] * task.r_scale,
            )  # fmt: skip


def _products(
    task: Task, nets: Sequence[TrainedNetwork], sfreq: float
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Products of what was given with what was wanted and with itself, and the split of each."""
    along, size, owner = [], [], []
    for split, _, weight, target, given in _held_out(task, nets, sfreq):
        along.append((weight * given * target).sum(axis=0))
        size.append((weight * given * given).sum(axis=0))
        owner.append(split)
    return np.array(along), np.array(size), np.array(owner, dtype=np.intp)
