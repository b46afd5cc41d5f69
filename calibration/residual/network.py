"""The residual's networks in torch: many of one shape, their matrices stacked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

Activation = Callable[[Tensor], Tensor]


class StackedLinear(nn.Module):
    """A linear layer of each network; zero until it is drawn.

    Parameters
    ----------
    n_nets, n_in, n_out : int
        Networks, inputs and outputs.
    """

    def __init__(self, n_nets: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_nets, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_nets, 1, n_out))

    def draw(self, source: torch.Generator) -> None:
        """Draw uniformly, as torch.nn.Linear does."""
        bound = self.weight.shape[1] ** -0.5
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound, source)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_nets, n_sequences, n_times, n_in) to (n_nets, n_sequences, n_times, n_out)."""
        n_nets, n_sequences, n_times, n_in = x.shape
        out = torch.baddbmm(self.bias, x.reshape(n_nets, -1, n_in), self.weight)
        return out.reshape(n_nets, n_sequences, n_times, -1)


class Dropout(nn.Module):
    """Dropout by a source of its own: torch's is shared by all threads, so would not repeat.

    Parameters
    ----------
    share : float
        Units silenced in training, in [0, 1).
    noise : torch.Generator
        Where the draws come from.
    """

    def __init__(self, share: float, noise: torch.Generator) -> None:
        super().__init__()
        self.threshold, self.noise = round(256 * share), noise

    @property
    def scale(self) -> float:
        """What the units that are not silenced are scaled by."""
        return 256 / (256 - self.threshold)

    def room(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Room for 64-bit random numbers, and a view of it: a number from 0 to 255 for each unit.

        A random number each, as torch's own dropout draws them, would cost more than the matrix
        products do.
        """
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        return words, words.view(torch.uint8)[: x.numel()].view(x.shape)

    def draw(self, words: Tensor) -> None:
        """Draw anew; units whose number is under the threshold are silenced."""
        words.random_(-(2**63), None, generator=self.noise)

    def forward(self, x: Tensor) -> Tensor:
        """Silence units and scale the others up, so that the mean stays."""
        if not self.training or not self.threshold:
            return x
        words, drawn = self.room(x)
        self.draw(words)
        return x * ((drawn >= self.threshold) * self.scale)


class ResidualBlock(nn.Module):
    """Two samples of the units, some way apart, through a layer; its output is added."""

    def __init__(
        self, n_nets: int, n_units: int, dilation: int, dropout: Dropout, activate: Activation
    ) -> None:
        super().__init__()
        self.inner = StackedLinear(n_nets, 2 * n_units, n_units)
        self.mix = StackedLinear(n_nets, n_units, n_units)
        self.dilation, self._dropout, self._activate = dilation, dropout, activate

    def forward(self, h: Tensor, stride: int) -> Tensor:
        """Map (..., n_times, n_units) to (..., n_times - stride * dilation, n_units)."""
        apart = stride * self.dilation
        newest = h[:, :, apart:]
        both = torch.cat([h[:, :, :-apart], newest], dim=-1)
        return newest + self.mix(self._dropout(self._activate(self.inner(both))))


class Networks(nn.Module):
    """All networks of a group: a layer, residual blocks whose dilations double, a layer of zeros.

    Parameters
    ----------
    n_nets, n_in, n_units, n_out : int
        Networks, features, units and outputs.
    n_blocks : int
        Residual blocks.
    dropout : Dropout
        For training.
    seed : int
        Of the weights; torch's own random numbers are left alone.
    activate : callable
        Non-linearity.
    """

    def __init__(
        self,
        n_nets: int,
        n_in: int,
        n_units: int,
        n_out: int,
        n_blocks: int,
        dropout: Dropout,
        seed: int,
        activate: Activation = gelu,
    ) -> None:
        super().__init__()
        self.into = StackedLinear(n_nets, n_in, n_units)
        self.blocks = nn.ModuleList(
            ResidualBlock(n_nets, n_units, 2**place, dropout, activate) for place in range(n_blocks)
        )
        source = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, StackedLinear):
                layer.draw(source)
        self.out = StackedLinear(n_nets, n_units, n_out)
        self.dropout, self._activate = dropout, activate
        self.memory = 2**n_blocks - 1

    def forward(self, z: Tensor, stride: int = 1) -> Tensor:
        """Run sequences through all networks.

        Parameters
        ----------
        z : Tensor, shape (n_nets, n_sequences, stride * memory + n_times, n_features)
            Features, with the context in front.
        stride : int
            Samples of ``z`` in a step of the networks.

        Returns
        -------
        Tensor, shape (n_nets, n_sequences, n_times, n_out)
            Scaled residuals.
        """
        h = self.into(z)
        for block in self.blocks:
            h = block(h, stride)
        out: Tensor = self.out(self.dropout(self._activate(h)))
        return out
