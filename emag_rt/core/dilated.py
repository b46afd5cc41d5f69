"""Dilated causal blocks: memory that doubles with every layer (van den Oord et al. 2016).

A block adds to its input a function of that input now and ``dilation`` samples ago,
``h(t) <- h(t) + V act(W [h(t - d), h(t)] + b) + c``, for a bag of small networks side by side:
all matrices are block-diagonal, one block a network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from emag_rt.array_types import Samples
from emag_rt.core.activation import Activation, activate
from emag_rt.errors import SettingsError


@dataclass(frozen=True, eq=False)
class DilatedBlock:
    """One residual block of a bag of networks.

    Attributes
    ----------
    dilation : int
        Samples between the two taps, at least 1.
    weight : ndarray, shape (n_nets, n_units, 2 * n_units), float64
        From a network's units ``dilation`` samples ago, then now, to its inner units.
    bias : ndarray, shape (n_nets * n_units,), float64
        Bias of the inner units.
    mix : ndarray, shape (n_nets, n_units, n_units), float64
        From the activated inner units to what is added.
    mix_bias : ndarray, shape (n_nets * n_units,), float64
        Bias of what is added.
    """

    dilation: int
    weight: Samples
    bias: Samples
    mix: Samples
    mix_bias: Samples

    def __post_init__(self) -> None:
        if self.dilation < 1:
            raise SettingsError(f"block dilation must be at least 1, got {self.dilation}.")
        if self.weight.ndim != 3:
            raise SettingsError(
                f"block weight must have shape (n_nets, n_units, 2 * n_units), "
                f"got {self.weight.shape}."
            )
        n_nets, n_units, _ = self.weight.shape
        expected = {
            "weight": (n_nets, n_units, 2 * n_units),
            "bias": (n_nets * n_units,),
            "mix": (n_nets, n_units, n_units),
            "mix_bias": (n_nets * n_units,),
        }
        for name, shape in expected.items():
            if np.shape(getattr(self, name)) != shape:
                raise SettingsError(
                    f"block {name} must have shape {shape}, got {np.shape(getattr(self, name))}."
                )

    @property
    def width(self) -> int:
        """Units of all networks together."""
        return len(self.bias)

    def astype(self, dtype: type[np.floating]) -> DilatedBlock:
        """The same block in another precision, contiguous."""
        parts = (self.weight, self.bias, self.mix, self.mix_bias)
        return DilatedBlock(self.dilation, *(np.ascontiguousarray(p, dtype=dtype) for p in parts))

    def run(self, h: Samples, activation: Activation) -> Samples:
        """Apply the block.

        Parameters
        ----------
        h : ndarray, shape (dilation + n_times, width)
            Units, with the context in front.
        activation : {"gelu", "relu"}
            Non-linearity of the inner units.

        Returns
        -------
        ndarray, shape (n_times, width)
            Units after the block.
        """
        n_nets, n_units, _ = self.weight.shape
        newest = h[self.dilation :]
        n_times = len(newest)
        apart = (n_times, n_nets, n_units)
        # Time is the middle axis, so that each network is one matrix product.
        both = np.empty((n_nets, n_times, 2 * n_units), dtype=h.dtype)
        both[..., :n_units] = h[:n_times].reshape(apart).swapaxes(0, 1)
        both[..., n_units:] = newest.reshape(apart).swapaxes(0, 1)
        inner = both @ self.weight.swapaxes(1, 2) + self.bias.reshape(n_nets, 1, n_units)
        added = activate(activation, inner) @ self.mix.swapaxes(1, 2)
        return newest + added.swapaxes(0, 1).reshape(n_times, -1) + self.mix_bias

    def settled(self, h: Samples, activation: Activation) -> Samples:
        """What becomes of units, shape (1, width), that have stood still for long enough."""
        return replace(self, dilation=1).run(np.repeat(h, 2, axis=0), activation)


Blocks = tuple[DilatedBlock, ...]


def memory_of(blocks: Blocks) -> int:
    """Samples before the newest one that blocks on top of each other look at."""
    return sum(block.dilation for block in blocks)


def run_blocks(blocks: Blocks, h: Samples, activation: Activation) -> Samples:
    """Apply blocks one after the other, then the activation.

    Parameters
    ----------
    blocks : tuple of DilatedBlock
        At least one.
    h : ndarray, shape (memory_of(blocks) + n_times, width)
        Units before the first block, with the context in front.
    activation : {"gelu", "relu"}
        Non-linearity.

    Returns
    -------
    ndarray, shape (n_times, width)
        Activated units after the last block.
    """
    for block in blocks:
        h = block.run(h, activation)
    return activate(activation, h)
