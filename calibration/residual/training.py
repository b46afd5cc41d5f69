"""Training the residual's networks: dilated causal ones, several side by side, in torch.

Every network reads the LD channels through residual blocks whose dilations double, so that it
sees 255 steps of the past, 1.1 to 2.1 s (see :mod:`emag_rt.core.dilated`). One network a split
is validated on the blocks of time it never saw; a few more learn from everything and stop where
those do. Above 160 Hz the dilations are multiples of a few samples, and training takes every
such sample only: the cost does not grow with the rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypedDict, cast

import numpy as np
import torch

from calibration.residual.loop import Data, GroupState, Loop
from calibration.residual.task import ALL_SPLITS, ResidualSettings, Task, TrainedNetwork
from calibration.residual.unfinished import UnfinishedTraining

Progress = Callable[[float, str], None]


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


class _Bag:
    """All networks, in as many groups as there are threads to train them."""

    def __init__(self, task: Task, settings: ResidualSettings, seed: int, device: str) -> None:
        splits = [*range(len(task.train)), *[ALL_SPLITS] * settings.n_whole]
        # The matrices are small: threads inside one product gain little, a group each does.
        n_groups = 1 if device == "cuda" else min(torch.get_num_threads(), len(splits))
        data = Data(task, device)
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
        before = torch.get_num_threads()
        if len(self._loops) > 1:
            torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(len(self._loops)) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)

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
