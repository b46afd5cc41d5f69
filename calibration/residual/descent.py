"""AdamW on one tensor, and the running mean of what it makes.

torch has both, for lists of tensors: three dozen small operations each a step here, and its
optimisers import its compiler, which takes two seconds.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class DescentState(TypedDict):
    """Steps taken; weights, running mean and both moments in one tensor."""

    n_steps: int
    tensors: Tensor


class Descent:
    """AdamW (Loshchilov and Hutter 2019), each network's gradient bounded, and the running mean.

    Parameters
    ----------
    weights : Tensor, shape (n_nets, n_weights)
        Changed in place.
    weight_decay : float
        As in torch.optim.AdamW.
    ema : float
        Decay of the running mean.

    Attributes
    ----------
    mean : Tensor, shape (n_nets, n_weights)
        The running mean.
    n_steps : int
        Steps taken.
    """

    def __init__(self, weights: Tensor, weight_decay: float, ema: float) -> None:
        self._weights, self.mean, self.n_steps = weights, weights.clone(), 0
        self._decay, self._ema = weight_decay, ema
        self._moments = (torch.zeros_like(weights), torch.zeros_like(weights))
        self._work = torch.empty_like(weights)

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float) -> None:
        """Take a step.

        Parameters
        ----------
        gradient : Tensor, shape (n_nets, n_weights)
            Bounded in place.
        rate : float
            Learning rate.
        """
        # Each network's own: one that jumps must not stop the others.
        length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((1.0 / (length + 1e-6)).clamp_(max=1.0))
        self.n_steps += 1
        (first, second), (slow, slower) = self._moments, _BETAS
        self._weights.mul_(1.0 - rate * self._decay)
        first.lerp_(gradient, 1.0 - slow)
        second.mul_(slower).addcmul_(gradient, gradient, value=1.0 - slower)
        spread = torch.sqrt(second, out=self._work)
        spread.div_((1.0 - slower**self.n_steps) ** 0.5).add_(_EPSILON)
        self._weights.addcdiv_(first, spread, value=-rate / (1.0 - slow**self.n_steps))
        self._follow()

    def _follow(self) -> None:
        """Move the running mean; one that starts at the start would hold the zero layer long."""
        n_before = self.n_steps - 1
        decay = min(self._ema, (n_before + 1) / (n_before + 10)) if n_before else 0.0
        self.mean.lerp_(self._weights, 1.0 - decay)

    def state(self) -> DescentState:
        """Everything that it goes on from."""
        tensors = torch.stack([self._weights, self.mean, *self._moments])
        return {"n_steps": self.n_steps, "tensors": tensors}

    def restore(self, state: DescentState) -> None:
        """The inverse of :meth:`state`."""
        self.n_steps = state["n_steps"]
        own = (self._weights, self.mean, *self._moments)
        for tensor, saved in zip(own, state["tensors"], strict=True):
            tensor.copy_(saved)
