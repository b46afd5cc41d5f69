"""Training the residual's networks: dilated causal ones, several side by side, in torch.

Every network reads the LD channels through residual blocks whose dilations double, so that it
sees 255 steps of the past, 1.1 to 2.1 s (see :mod:`emag_rt.core.dilated`). One network a fold
is validated on the blocks of time it never saw; a few more learn from everything and stop where
those do. Above 160 Hz the dilations are multiples of a few samples, and training takes every
such sample only: the cost does not grow with the rate.

Torch is an optional dependency: it is imported only when a network is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.folds import Block, n_folds_of
from calibration.partial import Partial
from calibration.residual_network import Network, forward, initial_parameters, parameter_arrays
from emag_rt.errors import CalibrationError

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class ResidualSettings:
    """How the networks are trained.

    Attributes
    ----------
    n_units : int
        Units of one network.
    n_blocks : int
        Residual blocks; the dilations are 1, 2, 4... steps.
    dropout : float
        Share of inner units silenced in training, in [0, 1).
    n_whole : int
        Networks that learn from all folds, besides the one a fold.
    epochs : float
        Passes over the session.
    min_steps, max_steps : int
        Bounds on the optimiser's steps.
    batch_size, n_times : int
        Sequences a step and network, and the samples of each that are learnt from.
    learning_rate, weight_decay : float
        Of AdamW; the rate warms up and falls by a cosine.
    ema : float
        Decay of the running mean of the weights, the version that is validated and kept.
    n_checks : int
        Validations.
    bag_size : float
        Networks that the bag counts for when a gain measured on one fold's network is carried
        over to the whole bag, whose noise is smaller. 1 is the most careful.
    """

    n_units: int = 32
    n_blocks: int = 8
    dropout: float = 0.3
    n_whole: int = 3
    epochs: float = 30.0
    min_steps: int = 300
    max_steps: int = 2500
    batch_size: int = 2
    n_times: int = 512
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    ema: float = 0.99
    n_checks: int = 10
    bag_size: float = 3.0

    def __post_init__(self) -> None:
        counts = [self.n_units, self.n_blocks, self.min_steps, self.batch_size, self.n_times]
        counts += [self.max_steps - self.min_steps + 1, self.n_checks, self.n_whole + 1]
        shares = (self.dropout, self.ema)
        if min(counts) < 1 or not all(0 <= share < 1 for share in shares) or self.bag_size < 1:
            raise CalibrationError(
                "residual settings must have counts and bag_size of at least 1, max_steps of at "
                f"least min_steps, and dropout and ema in [0, 1), got {self}. Use the defaults."
            )


@dataclass(frozen=True)
class Task:
    """Everything the training loop needs, scaled to unit variance.

    ``z`` (n_times, n_features) and ``r`` (n_times, n_out) hold all segments, one after another;
    ``train`` has a mask a fold. Blocks count samples within their segment.
    """

    z: NDArray[np.float32]
    r: NDArray[np.float32]
    sample_weight: NDArray[np.float32]
    z_scale: NDArray[np.float64]
    r_scale: NDArray[np.float64]
    lengths: tuple[int, ...]
    blocks: tuple[Block, ...]
    train: tuple[NDArray[np.bool_], ...]
    held: tuple[NDArray[np.intp], ...]
    step: int


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
        data = _Data(torch, task, device)
        self._loops = [
            _Loop(torch, task, settings, seed + place, data, [int(fold) for fold in group])
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


class _Data:
    """What all groups read: the task's arrays on the device, and a row of silence behind z."""

    def __init__(self, torch: Any, task: Task, device: str) -> None:
        zero = np.zeros((1, task.z.shape[1]), dtype=np.float32)
        arrays = (np.concatenate([task.z, zero]), task.r, task.sample_weight)
        self.z, self.r, self.weight = (torch.from_numpy(a).to(device) for a in arrays)
        self.power = torch.from_numpy(task.r_scale**2).to(device)
        self.device = device


class _Loop:
    """Training of some networks side by side."""

    def __init__(
        self,
        torch: Any,
        task: Task,
        settings: ResidualSettings,
        seed: int,
        data: _Data,
        folds: Sequence[int],
    ) -> None:
        self._torch, self._task, self._settings, self._data = torch, task, settings, data
        device = self._device = data.device
        self.stopped = False
        self.nets = [Network(fold) for fold in folds]
        self._dilations = tuple(2**i for i in range(settings.n_blocks))
        self._memory = sum(self._dilations) * task.step
        everything = np.ones(len(task.r), dtype=bool)
        masks = [everything if net.fold < 0 else task.train[net.fold] for net in self.nets]
        self._mask = torch.from_numpy(np.stack(masks).astype(np.float32)).to(device)
        self._first = np.repeat(np.cumsum([0, *task.lengths[:-1]]), task.lengths)
        self._starts = [self._starts_of(mask) for mask in masks]
        self._draw = np.random.default_rng(seed)
        self._noise = torch.Generator(device).manual_seed(seed + 1)
        shape = (len(self.nets), task.z.shape[1], settings.n_units, task.r.shape[1])
        initial = torch.Generator().manual_seed(seed)
        self._live = [
            value.to(device).requires_grad_()
            for value in initial_parameters(torch, shape, settings.n_blocks, initial)
        ]
        self._mean = [p.detach().clone() for p in self._live]
        rates = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        self._optimizer = torch.optim.AdamW(self._live, **rates)

    @property
    def n_times(self) -> int:
        """Samples of a sequence that are learnt from: what nine tenths of the session allow."""
        lengths = np.sort(self._task.lengths)
        behind = np.cumsum(lengths) / lengths.sum()
        shortest = int(lengths[np.searchsorted(behind, 0.1)])
        return max(1, min(self._settings.n_times, shortest // (2 * self._task.step)))

    def _starts_of(self, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """First samples of the sequences of which at least half may be learnt from."""
        span = (self.n_times - 1) * self._task.step
        starts = np.arange(len(mask) - span)
        starts = starts[self._first[starts] == self._first[starts + span]]
        counted = np.concatenate([[0], np.cumsum(mask)])
        share = (counted[starts + span + 1] - counted[starts]) / (span + 1)
        kept = starts[share >= 0.5]
        return kept if len(kept) else starts[share >= share.max()]

    def run(self, start: int, stop: int, n_steps: int) -> None:
        """Steps of the optimiser, of ``n_steps`` in all."""
        for step in range(start, stop):
            if self.stopped:
                return
            self._step(step, n_steps)

    def _step(self, step: int, n_steps: int) -> None:
        torch, settings, task = self._torch, self._settings, self._task
        size = settings.batch_size
        picks = [starts[self._draw.integers(len(starts), size=size)] for starts in self._starts]
        start = np.stack(picks)[..., None]
        wanted = start + task.step * np.arange(self.n_times)
        units = np.arange(-sum(self._dilations), self.n_times)
        seen = start + task.step * units
        seen = np.where(seen < self._first[start], len(task.r), seen)  # silence before a segment
        z = self._data.z[torch.from_numpy(seen).to(self._device)]
        index = torch.from_numpy(wanted).to(self._device)
        own = torch.arange(len(self.nets), device=self._device)[:, None, None]
        weight = self._data.weight[index] * self._mask[own, index]
        rendered = forward(torch, z, self._live, self._dilations, settings.dropout, self._noise)
        error = ((rendered - self._data.r[index]) ** 2).mean(dim=-1)
        loss = (error * weight).mean(dim=(1, 2)).sum()
        warm = min(1.0, (step + 1) / (0.1 * n_steps))
        cosine = 0.5 * (1 + np.cos(np.pi * step / n_steps))
        for group in self._optimizer.param_groups:
            group["lr"] = float(settings.learning_rate * warm * (0.03 + 0.97 * cosine))
        self._optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            self._clip()
            self._optimizer.step()
            # A running mean that starts at the start would hold the zero layer for too long.
            decay = min(settings.ema, (step + 1) / (step + 10))
            torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    def _clip(self) -> None:
        """Bound each network's own gradient: one that jumps must not stop the others."""
        squares = sum((p.grad**2).flatten(1).sum(dim=1) for p in self._live)
        factor = (1.0 / (squares**0.5 + 1e-6)).clamp(max=1.0)
        for p in self._live:
            p.grad *= factor.view(-1, *[1] * (p.dim() - 1))

    def check(self) -> list[float]:
        """Validate each fold's network, and keep the weights that are the best so far."""
        return [
            self._check(net, [p[place : place + 1] for p in self._mean])
            for place, net in enumerate(self.nets)
            if net.fold >= 0
        ]

    def keep_whole(self) -> None:
        """Keep the networks that learn from everything as they are now."""
        for place, net in enumerate(self.nets):
            if net.fold < 0:
                net.weights = parameter_arrays(self._mean, place)

    def _check(self, net: Network, own: Sequence[Any]) -> float:
        """What a network explains of its held-out blocks, at its best scale."""
        torch, task = self._torch, self._task
        dilations = tuple(d * task.step for d in self._dilations)
        parts = []
        with torch.no_grad():
            for block in task.blocks:
                if block.fold != net.fold:
                    continue
                first = sum(task.lengths[: block.segment])
                rows = np.arange(block.start - self._memory, block.stop)
                rows = np.where(rows < 0, len(task.r), rows + first)
                z = self._data.z[torch.from_numpy(rows).to(self._device)][None, None]
                parts.append(forward(torch, z, own, dilations, 0.0, None)[0, 0])
        predicted = torch.cat(parts).double()
        held = torch.from_numpy(task.held[net.fold]).to(self._device)
        target, weight = self._data.r[held].double(), self._data.weight[held].double()[:, None]
        along = float(((predicted * target * weight).mean(dim=0) * self._data.power).sum())
        size = float(((predicted**2 * weight).mean(dim=0) * self._data.power).sum())
        # The scale itself is chosen later, with the gains.
        score = max(along, 0.0) ** 2 / size if size > 0 else 0.0
        if score > net.score:
            net.score, net.held = score, predicted.cpu().numpy()
            net.weights = [p[0].cpu().numpy().copy() for p in own]
        return score

    def state(self) -> dict[str, Any]:
        """Everything that goes on from here."""
        return {
            "live": [p.detach() for p in self._live],
            "mean": self._mean,
            "optimizer": self._optimizer.state_dict(),
            "noise": self._noise.get_state(),
            "draw": self._draw.bit_generator.state,
            "nets": [net.as_tensors(self._torch) for net in self.nets],
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        with self._torch.no_grad():
            for values, mine in ((kept["live"], self._live), (kept["mean"], self._mean)):
                for value, own in zip(values, mine, strict=True):
                    own.copy_(value)
        self._optimizer.load_state_dict(kept["optimizer"])
        self._noise.set_state(kept["noise"].cpu())
        self._draw.bit_generator.state = kept["draw"]
        self.nets = [Network.from_tensors(net) for net in kept["nets"]]
