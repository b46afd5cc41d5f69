"""One group of the residual's networks: their training side by side, and their validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from calibration.residual.network import Dropout, Networks
from calibration.residual.task import ALL_SPLITS, ResidualSettings, Task, TrainedNetwork
from emag_rt.array_types import BoolArray, Float32Array, IndexArray


class Data:
    """What all groups read: the task's arrays on the device, and a row of silence behind z."""

    def __init__(self, task: Task, device: str) -> None:
        zero = np.zeros((1, task.z.shape[1]), dtype=np.float32)
        arrays = (np.concatenate([task.z, zero]), task.r, task.sample_weight)
        self.z, self.r, self.weight = (torch.from_numpy(a).to(device) for a in arrays)
        self.power = torch.from_numpy(task.r_scale**2).to(device)
        self.device = device


class Best(TypedDict):
    """One network at its best validation so far; see :class:`TrainedNetwork`."""

    split: int
    score: float
    weights: dict[str, Tensor] | None
    held: Tensor | None


class GroupState(TypedDict):
    """Everything that a group goes on from: numbers and tensors only."""

    networks: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, object]
    schedule: dict[str, object]
    noise: Tensor
    draw: dict[str, object]
    best: list[Best]


def stacked(weights: Sequence[dict[str, Float32Array]]) -> dict[str, Tensor]:
    """Several networks' weights, as :class:`Networks` holds them."""
    return {name: torch.from_numpy(np.stack([w[name] for w in weights])) for name in weights[0]}


class Loop:
    """Training of some networks side by side.

    Parameters
    ----------
    task : Task
        What to learn.
    settings : ResidualSettings
        How.
    seed : int
        Of the weights, the sequences and the dropout.
    data : Data
        The task on the device.
    splits : sequence of int
        The split that validates each network, or ``ALL_SPLITS``.
    """

    def __init__(
        self, task: Task, settings: ResidualSettings, seed: int, data: Data, splits: Sequence[int]
    ) -> None:
        self._task, self._batch_size, self._data = task, settings.batch_size, data
        self.stopped = False
        self._best: list[Best] = [
            {"split": split, "score": 0.0, "weights": None, "held": None} for split in splits
        ]
        everything = np.ones(len(task.r), dtype=bool)
        masks = [everything if split == ALL_SPLITS else task.train[split] for split in splits]
        self._mask = torch.from_numpy(np.stack(masks).astype(np.float32)).to(data.device)
        self._first = np.repeat(np.cumsum([0, *task.lengths[:-1]]), task.lengths)
        self._n_times = task.sequence_length(settings.n_times)
        self._starts = [self._starts_of(mask) for mask in masks]
        self._draw = np.random.default_rng(seed)
        self._noise = torch.Generator(data.device).manual_seed(seed + 1)
        self._networks = Networks(
            len(splits), task.z.shape[1], settings.n_units, task.r.shape[1], settings.n_blocks,
            Dropout(settings.dropout, self._noise), seed,
        ).to(data.device)  # fmt: skip

        def follow(mean: PARAM_LIST, live: PARAM_LIST, n_averaged: Tensor | int) -> None:
            # A running mean that starts at the start would hold the zero layer for too long.
            n = int(n_averaged)
            decay = min(settings.ema, (n + 1) / (n + 10))
            get_ema_multi_avg_fn(decay)(mean, live, n)  # type: ignore[no-untyped-call]

        self._average = AveragedModel(self._networks, multi_avg_fn=follow).eval()
        self._optimizer = torch.optim.AdamW(
            self._networks.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        n_steps = task.n_steps(settings)

        def rate(step: int) -> float:
            warm = min(1.0, (step + 1) / (0.1 * n_steps))
            return warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / n_steps)))

        self._schedule = LambdaLR(self._optimizer, rate)

    def start_from(self, weights: dict[str, Float32Array]) -> None:
        """Begin with one network's weights; for a group of one."""
        self._networks.load_state_dict(stacked([weights]))

    def _starts_of(self, mask: BoolArray) -> IndexArray:
        """First samples of the sequences of which at least half may be learnt from."""
        span = (self._n_times - 1) * self._task.step
        starts = np.arange(len(mask) - span)
        starts = starts[self._first[starts] == self._first[starts + span]]
        counted = np.concatenate([[0], np.cumsum(mask)])
        share = (counted[starts + span + 1] - counted[starts]) / (span + 1)
        good = starts[share >= 0.5]
        return good if len(good) else starts[share >= share.max()]

    def run(self, n_steps: int) -> None:
        """Take some steps of the optimiser."""
        for _ in range(n_steps):
            if self.stopped:
                return
            self._step()

    def _step(self) -> None:
        z, index = self._sequences()
        own = torch.arange(len(self._best), device=self._data.device)[:, None, None]
        weight = self._data.weight[index] * self._mask[own, index]
        error = ((self._networks(z) - self._data.r[index]) ** 2).mean(dim=-1)
        loss = (error * weight).mean(dim=(1, 2)).sum()
        self._optimizer.zero_grad()
        loss.backward()
        self._clip()
        self._optimizer.step()
        self._schedule.step()
        self._average.update_parameters(self._networks)

    def _sequences(self) -> tuple[Tensor, Tensor]:
        """Random sequences of each network with their context, and the rows they learn from."""
        task = self._task
        picks = [s[self._draw.integers(len(s), size=self._batch_size)] for s in self._starts]
        start = np.stack(picks)[..., None]
        wanted = start + task.step * np.arange(self._n_times)
        seen = start + task.step * np.arange(-self._networks.memory, self._n_times)
        seen = np.where(seen < self._first[start], len(task.r), seen)  # silence before a segment
        z, index = (torch.from_numpy(rows).to(self._data.device) for rows in (seen, wanted))
        return self._data.z[z], index

    @torch.no_grad()
    def _clip(self) -> None:
        """Bound each network's own gradient: one that jumps must not stop the others."""
        gradients = [p.grad for p in self._networks.parameters() if p.grad is not None]
        squares = torch.stack([(g**2).flatten(1).sum(dim=1) for g in gradients]).sum(dim=0)
        factor = (1.0 / (squares**0.5 + 1e-6)).clamp(max=1.0)[:, None, None]
        for gradient in gradients:
            gradient *= factor

    def check(self) -> list[float]:
        """Validate each split's network, and keep the weights that are the best so far."""
        return [
            self._check(place, best)
            for place, best in enumerate(self._best)
            if best["split"] != ALL_SPLITS
        ]

    def keep_whole(self) -> None:
        """Keep the networks that learn from everything as they are now."""
        for place, best in enumerate(self._best):
            if best["split"] == ALL_SPLITS:
                best["weights"] = self._weights(place)

    def _weights(self, place: int) -> dict[str, Tensor]:
        """One network's running means."""
        parameters = self._average.module.named_parameters()
        return {name: p[place].detach().clone() for name, p in parameters}

    @torch.no_grad()
    def _check(self, place: int, best: Best) -> float:
        """What a network explains of its held-out blocks, at its best scale."""
        task, weights = self._task, self._weights(place)
        alone = {name: w[None] for name, w in weights.items()}
        parts = []
        for block in task.blocks:
            if block.split != best["split"]:
                continue
            first = sum(task.lengths[: block.segment])
            rows = np.arange(block.start - self._networks.memory * task.step, block.stop)
            rows = np.where(rows < 0, len(task.r), rows + first)
            z = self._data.z[torch.from_numpy(rows).to(self._data.device)][None, None]
            parts.append(functional_call(self._average.module, alone, (z, task.step))[0, 0])
        predicted = torch.cat(parts).double()
        held = torch.from_numpy(task.held[best["split"]]).to(self._data.device)
        target, weight = self._data.r[held].double(), self._data.weight[held].double()[:, None]
        along = float(((predicted * target * weight).mean(dim=0) * self._data.power).sum())
        size = float(((predicted**2 * weight).mean(dim=0) * self._data.power).sum())
        # The scale itself is chosen later, with the gains.
        score = max(along, 0.0) ** 2 / size if size > 0 else 0.0
        if score > best["score"]:
            best.update({"score": score, "weights": weights, "held": predicted})
        return score

    def trained(self) -> list[TrainedNetwork]:
        """Bring the networks at their best to the CPU, as arrays."""
        nets = []
        for best in self._best:
            weights, held = None, None
            if best["weights"] is not None:
                weights = {name: w.cpu().numpy() for name, w in best["weights"].items()}
            if best["held"] is not None:
                held = best["held"].cpu().numpy()
            nets.append(TrainedNetwork(best["split"], weights, held))
        return nets

    def state(self) -> GroupState:
        """Everything that training goes on from."""
        return {
            "networks": self._networks.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "noise": self._noise.get_state(),
            "draw": dict(self._draw.bit_generator.state),
            "best": self._best,
        }

    def restore(self, state: GroupState) -> None:
        """The inverse of :meth:`state`."""
        self._networks.load_state_dict(state["networks"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._noise.set_state(state["noise"].cpu())
        self._draw.bit_generator.state = state["draw"]
        self._best = state["best"]
