"""Training the residual's networks: dilated causal ones, several side by side, in torch.

Every network reads the LD channels through residual blocks whose dilations double, so that it
sees 255 steps of the past, 1.1 to 2.1 s (see :mod:`emag_rt.core.dilated`). One network a fold
is validated on the blocks of time it never saw; a few more learn from everything and stop where
those do. Above 160 Hz the dilations are multiples of a few samples, and training takes every
such sample only: the cost does not grow with the rate.

Torch is an optional dependency: it is imported only when a network is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from calibration.regression.blocks import n_folds_of
from calibration.residual.loop import Data, Loop, ResidualSettings, Task
from calibration.residual.network import Network
from calibration.residual.resuming import Partial
from emag_rt.errors import CalibrationError

Progress = Callable[[float, str], None]


def import_torch(device: str) -> Any:
    """Torch, where it is installed and sees the device.

    Raises
    ------
    CalibrationError
        If it is not, or does not.
    """
    try:
        import torch
    except ImportError as error:
        raise CalibrationError(
            "The non-linear residual needs torch, which is not installed. "
            "Install emag-rt[calibrate], or calibrate with the closed form alone."
        ) from error
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise CalibrationError(
            f"device must be 'cpu', or 'cuda' where torch sees a GPU, got {device!r}. Use 'cpu'."
        )
    return torch


def train(
    task: Task,
    settings: ResidualSettings,
    seed: int,
    device: str,
    progress: Progress,
    partial: Partial | None = None,
) -> list[Network]:
    """Train every network side by side; a fold's network keeps its best validated weights.

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
    partial : Partial, optional
        Where the state is kept at every validation, and taken up again.

    Returns
    -------
    list of Network
        One a fold, then ``settings.n_whole`` that saw everything (fold -1).
    """
    torch = import_torch(device)
    bag = _Bag(torch, task, settings, seed, device)
    done = bag.resume(partial)
    with bag.workers() as pool:
        while done < bag.n_steps:
            stop = min(done + bag.check_every, bag.n_steps)

            def tell(step: int) -> None:
                share = (step + 1) / bag.n_steps
                progress(share, f"residual: step {step + 1} of {bag.n_steps}")

            bag.steps(pool, done, stop, tell)
            done = stop
            bag.check()
            if partial is not None:
                partial.write(bag.state(done))
    progress(1.0, "residual: trained")
    return bag.nets


class _Bag:
    """All networks, in as many groups as there are threads to train them."""

    def __init__(
        self, torch: Any, task: Task, settings: ResidualSettings, seed: int, device: str
    ) -> None:
        self._torch = torch
        n_folds = n_folds_of(task.blocks)
        folds = [*range(n_folds), *[-1] * settings.n_whole]
        # The matrices are small: threads inside one product gain little, a group each does.
        n_groups = 1 if device == "cuda" else min(torch.get_num_threads(), len(folds))
        data = Data(torch, task, device)
        self._loops = [
            Loop(torch, task, settings, seed + place, data, [int(fold) for fold in group])
            for place, group in enumerate(np.array_split(folds, n_groups))
        ]
        self._device = device
        self._best = 0.0
        size = settings.batch_size * self._loops[0].n_times
        # Above 160 Hz a step of the networks is several samples: an epoch has fewer of them.
        wanted = settings.epochs * len(task.r) / task.step / size * (n_folds - 1) / n_folds
        self.n_steps = min(max(round(wanted), settings.min_steps), settings.max_steps)
        self.check_every = max(1, self.n_steps // settings.n_checks)

    @property
    def nets(self) -> list[Network]:
        """Every network, in order of the folds."""
        return [net for loop in self._loops for net in loop.nets]

    @contextmanager
    def workers(self) -> Iterator[ThreadPoolExecutor]:
        """A thread a group, each with one thread of torch."""
        before = self._torch.get_num_threads()
        if len(self._loops) > 1:
            self._torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(len(self._loops)) as pool:
                yield pool
        finally:
            self._torch.set_num_threads(before)

    def steps(
        self, pool: ThreadPoolExecutor, start: int, stop: int, tell: Callable[[int], None]
    ) -> None:
        """Train all groups from one step to another; only this thread tells of the progress."""
        first, *others = self._loops
        waiting = [pool.submit(loop.run, start, stop, self.n_steps) for loop in others]
        try:
            for step in range(start, stop):
                first.run(step, step + 1, self.n_steps)
                if step % 10 == 0:
                    tell(step)
            for future in waiting:
                future.result()
        except BaseException:
            for loop in others:
                loop.stopped = True
            raise

    def check(self) -> None:
        """Validate; those that learn from everything are kept where the folds do best."""
        mean = float(np.mean([score for loop in self._loops for score in loop.check()]))
        if mean > self._best:
            self._best = mean
            for loop in self._loops:
                loop.keep_whole()

    def state(self, done: int) -> dict[str, Any]:
        """Everything that goes on from here."""
        loops = [loop.state() for loop in self._loops]
        return {"done": done, "best": self._best, "loops": loops}

    def resume(self, partial: Partial | None) -> int:
        """Go on from a kept state; returns the steps already done."""
        kept = partial.read(self._device, len(self._loops)) if partial is not None else None
        if kept is None:
            return 0
        self._best = kept["best"]
        for loop, state in zip(self._loops, kept["loops"], strict=True):
            loop.restore(state)
        return int(kept["done"])
