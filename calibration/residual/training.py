"""Training the residual's networks: dilated causal ones, several side by side, in torch.

Every network reads the LD channels through residual blocks whose dilations double, so that it
sees 255 steps of the past, 1.1 to 2.1 s (see :mod:`emag_rt.core.dilated`). One network a split
is validated on the blocks of time it never saw; a few more learn from everything and stop where
those do. Above 160 Hz the dilations are multiples of a few samples, and training takes every
such sample only: the cost does not grow with the rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TypedDict, cast

import numpy as np
import torch

from calibration.residual.loop import Data, GroupState, Loop, stacked
from calibration.residual.network import Dropout, Networks
from calibration.residual.task import ALL_SPLITS, ResidualSettings, Task, TrainedNetwork
from calibration.residual.unfinished import UnfinishedTraining
from emag_rt.array_types import Float32Array, FloatArray

Progress = Callable[[float, str], None]
_ROWS = 8192
"""Samples that networks are run over at a time: more of them only take memory."""


class _State(TypedDict):
    steps: int
    best: float
    groups: list[GroupState]


def train(
    task: Task,
    settings: ResidualSettings,
    seed: int,
    device: str,
    progress: Progress,
    unfinished: UnfinishedTraining | None = None,
) -> list[TrainedNetwork]:
    """Train every network side by side; a split's network keeps its best validated weights.

    Parameters
    ----------
    task : Task
        What to learn.
    settings : ResidualSettings
        How.
    seed : int
        Same seed, same machine, same device, same threads: same numbers.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : callable
        Called with the fraction done and a message.
    unfinished : UnfinishedTraining, optional
        Where the state is saved at every validation, and taken up again.

    Returns
    -------
    list of TrainedNetwork
        One a split, then ``settings.n_whole`` that saw everything.
    """
    bag = _Bag(task, settings, seed, device)
    if unfinished is not None:
        bag.resume(unfinished)
    n_steps = task.n_steps(settings)
    check_every = max(1, n_steps // settings.n_checks)

    def tell(step: int) -> None:
        progress((step + 1) / n_steps, f"residual: step {step + 1} of {n_steps}")

    with bag.workers() as pool:
        while bag.steps < n_steps:
            bag.run(pool, min(check_every, n_steps - bag.steps), tell)
            bag.check()
            if unfinished is not None:
                unfinished.save(bag.state())
    progress(1.0, "residual: trained")
    return bag.trained()


def learn_bag(
    task: Task,
    nets: Sequence[TrainedNetwork],
    gains: FloatArray,
    settings: ResidualSettings,
    seed: int,
    device: str,
    beside: FloatArray | None = None,
) -> TrainedNetwork:
    """Teach one network what a bag gives: it has no noise in it, so there is none to learn.

    Parameters
    ----------
    task : Task
        What the bag learned.
    nets : sequence of TrainedNetwork
        The bag; the last one is the start.
    gains : ndarray, shape (n_out,), float64
        How much of what it gives is used.
    settings : ResidualSettings
        How the bag was trained, and for how long the one network is.
    seed : int
        As for :func:`train`.
    device : str
        ``"cpu"`` or ``"cuda"``.
    beside : ndarray, shape (n_times, n_out), float64, optional
        What it shall give besides, in µV.

    Returns
    -------
    TrainedNetwork
        What it gives is already shrunk by the gains.
    """
    weights = [net.weights for net in nets if net.weights is not None]
    with _one_thread():
        given = _mean_output(weights, task, settings, device) * gains.astype(np.float32)
    if beside is not None:
        given += (beside / task.r_scale).astype(np.float32)
    lesson = replace(task, r=given, sample_weight=np.ones_like(task.sample_weight))
    # Without noise there is nothing to be careful about: no dropout, hardly any decay.
    taught = replace(
        settings, dropout=0.0, weight_decay=1e-4, ema=0.98, min_steps=settings.one_steps,
        max_steps=settings.one_steps, learning_rate=settings.one_learning_rate,
    )  # fmt: skip
    loop = Loop(lesson, taught, seed, Data(lesson, taught, device), [ALL_SPLITS])
    loop.start_from(weights[-1])
    with _one_thread():
        loop.run(settings.one_steps)
    loop.keep_whole()
    return loop.trained()[0]


@torch.no_grad()
def _mean_output(
    weights: Sequence[dict[str, Float32Array]], task: Task, settings: ResidualSettings, device: str
) -> Float32Array:
    """What networks give on average for the task's samples, over its scale."""
    n_features, n_out = task.z.shape[1], task.r.shape[1]
    quiet = Dropout(0.0, torch.Generator(device))
    networks = Networks(
        len(weights), n_features, settings.n_units, n_out, settings.n_blocks, quiet, 0
    ).to(device)
    networks.load_state_dict(stacked(weights))
    reach, given, first = networks.memory * task.step, [], 0
    for length in task.lengths:
        z = np.concatenate([np.zeros((reach, n_features), np.float32), task.z[first:][:length]])
        for start in range(0, length, _ROWS):
            part = torch.from_numpy(z[start : start + reach + _ROWS]).to(device)
            several = part.expand(len(weights), 1, *part.shape)
            given.append(networks(several, task.step)[:, 0].mean(dim=0).cpu().numpy())
        first += length
    return np.concatenate(given)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: where others are at work, two in a small product wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Bag:
    """All networks, in as many groups as there are threads to train them."""

    def __init__(self, task: Task, settings: ResidualSettings, seed: int, device: str) -> None:
        splits = [*range(len(task.train)), *[ALL_SPLITS] * settings.n_whole]
        # The matrices are small: threads inside one product gain little, a group each does.
        n_groups = 1 if device == "cuda" else min(torch.get_num_threads(), len(splits))
        data = Data(task, settings, device)
        self._loops = [
            Loop(task, settings, seed + place, data, [int(split) for split in group])
            for place, group in enumerate(np.array_split(splits, n_groups))
        ]
        self._device = device
        self._best = 0.0
        self.steps = 0

    def trained(self) -> list[TrainedNetwork]:
        """Every network, in order of the splits."""
        return [net for loop in self._loops for net in loop.trained()]

    @contextmanager
    def workers(self) -> Iterator[ThreadPoolExecutor]:
        """A thread a group, each with one thread of torch."""
        few = _one_thread() if len(self._loops) > 1 else nullcontext()
        with few, ThreadPoolExecutor(len(self._loops)) as pool:
            yield pool

    def run(self, pool: ThreadPoolExecutor, n_steps: int, tell: Callable[[int], None]) -> None:
        """Train all groups for some steps; only this thread tells of the progress."""
        first, *others = self._loops
        waiting = [pool.submit(loop.run, n_steps) for loop in others]
        try:
            for step in range(self.steps, self.steps + n_steps):
                first.run(1)
                if step % 10 == 0:
                    tell(step)
            for future in waiting:
                future.result()
        except BaseException:
            for loop in others:
                loop.stopped = True
            raise
        self.steps += n_steps

    def check(self) -> None:
        """Validate; those that learn from everything are kept where the splits do best."""
        mean = float(np.mean([score for loop in self._loops for score in loop.check()]))
        if mean > self._best:
            self._best = mean
            for loop in self._loops:
                loop.keep_whole()

    def state(self) -> _State:
        """Everything that training goes on from."""
        groups = [loop.state() for loop in self._loops]
        return {"steps": self.steps, "best": self._best, "groups": groups}

    def resume(self, unfinished: UnfinishedTraining) -> None:
        """Go on from a saved state, where there is one."""
        state = cast(_State | None, unfinished.load(self._device, len(self._loops)))
        if state is None:
            return
        self.steps, self._best = state["steps"], state["best"]
        for loop, group in zip(self._loops, state["groups"], strict=True):
            loop.restore(group)
