"""Training the residual's networks: many small ones side by side, in torch.

Torch is an optional dependency: it is imported only when a network is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emag_rt.errors import CalibrationError

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class ResidualSettings:
    """How the networks are trained.

    Attributes
    ----------
    n_hidden : int
        Units in each of the two hidden layers of one network.
    dropout : float
        Share of hidden units silenced in training, in [0, 1).
    n_per_fold : int
        Networks a fold, from different seeds: averaging them removes noise.
    samples_per_step, min_steps, max_steps : int
        The most optimiser steps: one for so many samples of the session, within bounds.
    batch_size : int
        Samples a step and network.
    learning_rate, weight_decay : float
        Of AdamW.
    ema : float
        Decay of the running mean of the weights, the version that is validated and kept.
    check_every, patience : int
        Steps between validations, and validations without progress that end the training.
    bag_size : float
        Networks that the bag counts for when a gain measured on one fold's networks is carried
        over to the whole bag, whose noise is smaller. 1 is the most careful.
    """

    n_hidden: int = 128
    dropout: float = 0.5
    n_per_fold: int = 2
    samples_per_step: int = 20
    min_steps: int = 600
    max_steps: int = 5000
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    ema: float = 0.995
    check_every: int = 50
    patience: int = 16
    bag_size: float = 3.0

    def __post_init__(self) -> None:
        counts = [self.n_hidden, self.n_per_fold, self.samples_per_step, self.min_steps]
        counts += [self.batch_size, self.check_every, self.patience]
        shares = (self.dropout, self.ema)
        if min(counts) < 1 or not all(0 <= share < 1 for share in shares) or self.bag_size < 1:
            raise CalibrationError(
                "residual settings must have counts and bag_size of at least 1, and dropout and "
                f"ema in [0, 1), got {self}. Use the defaults."
            )


@dataclass
class Network:
    """One network's fold and its best validated state (weights as x @ w + b)."""

    fold: int
    score: float = 0.0
    weights: list[NDArray[np.float32]] | None = None
    held: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Task:
    """Everything the training loop needs, scaled to unit variance."""

    z: NDArray[np.float32]
    r: NDArray[np.float32]
    sample_weight: NDArray[np.float32]
    z_scale: NDArray[np.float64]
    r_scale: NDArray[np.float64]
    train: list[NDArray[np.intp]]
    held: list[NDArray[np.intp]]


def _torch(device: str) -> Any:
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
    task: Task, settings: ResidualSettings, seed: int, device: str, progress: Progress
) -> list[Network]:
    """Train every network of every fold side by side; each keeps its best validated weights."""
    torch = _torch(device)
    folds = [k for k in range(len(task.held)) for _ in range(settings.n_per_fold)]
    draw = torch.Generator().manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed + 1)
    tensors = [torch.from_numpy(a).to(device) for a in (task.z, task.r, task.sample_weight)]
    rows = [torch.from_numpy(index) for index in task.train]
    held = [torch.from_numpy(index).to(device) for index in task.held]
    power = torch.from_numpy(task.r_scale**2).to(device)
    live = _initial(torch, len(folds), (task.z.shape[1], settings.n_hidden), task, draw, device)
    mean = [p.detach().clone() for p in live]
    nets = [Network(fold) for fold in folds]
    rates = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    optimizer = torch.optim.AdamW(live, **rates)
    wanted = len(task.z) // settings.samples_per_step
    n_steps = min(max(wanted, settings.min_steps), max(settings.max_steps, settings.min_steps))
    stale = 0
    for step in range(n_steps):
        picks = [
            rows[k][torch.randint(len(rows[k]), (settings.batch_size,), generator=draw)]
            for k in folds
        ]
        pick = torch.stack(picks).to(device)
        x, target, weight = (tensor[pick] for tensor in tensors)
        error = _forward(torch, x, live, settings.dropout, noise) - target
        loss = ((error**2).mean(dim=2) * weight).mean(dim=1).sum()
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            # A running mean that starts at the start would hold the zero layer for too long.
            torch._foreach_lerp_(mean, live, 1 - min(settings.ema, (step + 1) / (step + 10)))
        if (step + 1) % settings.check_every and step + 1 < n_steps:
            continue
        improved = [
            _check(torch, net, i, mean, tensors, held[net.fold], power)
            for i, net in enumerate(nets)
        ]
        stale = 0 if any(improved) else stale + 1
        progress((step + 1) / n_steps, f"residual: step {step + 1} of at most {n_steps}")
        if stale >= settings.patience:
            break
    progress(1.0, "residual: trained")
    return nets


def _initial(
    torch: Any, n_nets: int, sizes: tuple[int, int], task: Task, draw: Any, device: str
) -> list[Any]:
    """Uniform hidden layers, as torch.nn.Linear draws them, and a last layer of zeros."""
    n_in, n_hidden = sizes
    values = []
    for fan in (n_in, n_hidden):
        for shape in ((n_nets, fan, n_hidden), (n_nets, 1, n_hidden)):
            values.append((torch.rand(shape, generator=draw) * 2 - 1) / fan**0.5)
    n_out = task.r.shape[1]
    values += [torch.zeros(n_nets, n_hidden, n_out), torch.zeros(n_nets, 1, n_out)]
    return [value.to(device).requires_grad_() for value in values]


def _forward(torch: Any, x: Any, parameters: Sequence[Any], dropout: float, noise: Any) -> Any:
    """Run a batch (n_nets, n, n_in) through all networks -> (n_nets, n, n_out)."""
    w1, b1, w2, b2, w3, b3 = parameters
    for weight, bias in ((w1, b1), (w2, b2)):
        x = torch.nn.functional.gelu(torch.baddbmm(bias, x, weight))
        if dropout:
            keep = torch.rand(x.shape, generator=noise, device=x.device) >= dropout
            x = x * keep / (1 - dropout)
    return torch.baddbmm(b3, x, w3)


def _check(
    torch: Any,
    net: Network,
    index: int,
    mean: Sequence[Any],
    tensors: Sequence[Any],
    rows: Any,
    power: Any,
) -> bool:
    """Validate one network on its fold, and keep its weights where they are the best so far."""
    own = [p[index : index + 1] for p in mean]
    with torch.no_grad():
        predicted = _forward(torch, tensors[0][rows][None], own, 0.0, None)[0].double()
    target = tensors[1][rows].double()
    along = float(((predicted * target).mean(dim=0) * power).sum())
    size = float(((predicted**2).mean(dim=0) * power).sum())
    # What the network explains at its best scale: the scale itself is chosen later.
    score = max(along, 0.0) ** 2 / size if size > 0 else 0.0
    if score <= net.score:
        return False
    net.score = score
    net.weights = [p[0].cpu().numpy().copy() for p in own]
    net.held = predicted.cpu().numpy()
    return True
