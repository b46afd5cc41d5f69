"""One group of the residual's networks: what they learn from, and the steps of their training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.regression.blocks import Block
from calibration.residual.network import Network, forward, initial_parameters, parameter_arrays
from emag_rt.array_types import BoolArray, Float32Array, FloatArray, IndexArray
from emag_rt.errors import CalibrationError


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

    z: Float32Array
    r: Float32Array
    sample_weight: Float32Array
    z_scale: FloatArray
    r_scale: FloatArray
    lengths: tuple[int, ...]
    blocks: tuple[Block, ...]
    train: tuple[BoolArray, ...]
    held: tuple[IndexArray, ...]
    step: int


class Data:
    """What all groups read: the task's arrays on the device, and a row of silence behind z."""

    def __init__(self, torch: Any, task: Task, device: str) -> None:
        zero = np.zeros((1, task.z.shape[1]), dtype=np.float32)
        arrays = (np.concatenate([task.z, zero]), task.r, task.sample_weight)
        self.z, self.r, self.weight = (torch.from_numpy(a).to(device) for a in arrays)
        self.power = torch.from_numpy(task.r_scale**2).to(device)
        self.device = device


class Loop:
    """Training of some networks side by side."""

    def __init__(
        self,
        torch: Any,
        task: Task,
        settings: ResidualSettings,
        seed: int,
        data: Data,
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

    def _starts_of(self, mask: BoolArray) -> IndexArray:
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
