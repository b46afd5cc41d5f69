"""One group of the residual's networks: their training side by side, and their validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from calibration.residual.descent import Descent, DescentState
from calibration.residual.gradient import Gradient, split
from calibration.residual.network import Dropout, Networks
from calibration.residual.task import ALL_SPLITS, ResidualSettings, Task, TrainedNetwork
from emag_rt.array_types import BoolArray, Float32Array, IndexArray


class Data:
    """What all groups read: the task's arrays on the device, in z silence before each segment."""

    def __init__(self, task: Task, settings: ResidualSettings, device: str) -> None:
        self.reach = settings.memory * task.step
        silence = np.zeros((self.reach, task.z.shape[1]), dtype=np.float32)
        segments = np.split(task.z, np.cumsum(task.lengths)[:-1])
        z = np.concatenate([part for segment in segments for part in (silence, segment)])
        arrays = (z, task.r, task.sample_weight)
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

    descent: DescentState
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
        mask = torch.from_numpy(np.stack(masks).astype(np.float32)).to(data.device)
        self._weight = data.weight * mask
        self._segment = np.repeat(np.arange(len(task.lengths)), task.lengths)
        self._n_times = task.sequence_length(settings.n_times)
        self._starts = [self._starts_of(mask) for mask in masks]
        self._draw = np.random.default_rng(seed)
        self._noise = torch.Generator(data.device).manual_seed(seed + 1)
        self._networks = Networks(
            len(splits), task.z.shape[1], settings.n_units, task.r.shape[1], settings.n_blocks,
            Dropout(settings.dropout, self._noise), seed,
        ).to(data.device)  # fmt: skip
        self._shapes = {name: p.shape[1:] for name, p in self._networks.named_parameters()}
        self._gradient = Gradient(self._networks, self._batch_size, self._n_times)
        # The networks are only run to validate them: training has its own way.
        self._networks.eval()
        weights = self._gradient.weights
        self._descent = Descent(weights, settings.weight_decay, settings.ema)
        self._rate, self._n_steps = settings.learning_rate, task.n_steps(settings)

    def start_from(self, weights: dict[str, Float32Array]) -> None:
        """Begin with one network's weights; for a group of one."""
        self._networks.load_state_dict(stacked([weights]))

    def _starts_of(self, mask: BoolArray) -> IndexArray:
        """First samples of the sequences of which at least half may be learnt from."""
        span = (self._n_times - 1) * self._task.step
        starts = np.arange(len(mask) - span)
        starts = starts[self._segment[starts] == self._segment[starts + span]]
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
        gradient = self._gradient.of(*self._sequences())
        step = self._descent.n_steps
        warm = min(1.0, (step + 1) / (0.1 * self._n_steps))
        falling = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / self._n_steps))
        self._descent.step(gradient, self._rate * warm * falling)

    def _sequences(self) -> tuple[Tensor, Tensor, Tensor]:
        """Random sequences of each network with their context, what to learn, and its weight."""
        data, step = self._data, self._task.step
        seen, wanted, weight = [], [], []
        for starts, own in zip(self._starts, self._weight, strict=True):
            for start in starts[self._draw.integers(len(starts), size=self._batch_size)].tolist():
                stop = start + step * (self._n_times - 1) + 1
                before = int(self._segment[start]) * data.reach  # of silence; more is in between
                seen.append(data.z[before + start : before + stop + data.reach : step])
                wanted.append(data.r[start:stop:step])
                weight.append(own[start:stop:step])
        return torch.stack(seen), torch.stack(wanted), torch.stack(weight)

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
        parts = split(self._descent.mean, self._shapes)
        return {name: part[place].clone() for name, part in parts.items()}

    @torch.no_grad()
    def _check(self, place: int, best: Best) -> float:
        """What a network explains of its held-out blocks, at its best scale."""
        task, weights = self._task, self._weights(place)
        alone = {name: w[None] for name, w in weights.items()}
        parts = []
        for block in task.blocks:
            if block.split != best["split"]:
                continue
            # Where the segment begins, less the silence in front of it.
            first = sum(task.lengths[: block.segment]) + block.segment * self._data.reach
            z = self._data.z[first + block.start : first + block.stop + self._data.reach]
            parts.append(functional_call(self._networks, alone, (z[None, None], task.step))[0, 0])
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
            "descent": self._descent.state(),
            "noise": self._noise.get_state(),
            "draw": dict(self._draw.bit_generator.state),
            "best": self._best,
        }

    def restore(self, state: GroupState) -> None:
        """The inverse of :meth:`state`."""
        self._descent.restore(state["descent"])
        self._noise.set_state(state["noise"].cpu())
        self._draw.bit_generator.state = state["draw"]
        self._best = state["best"]
