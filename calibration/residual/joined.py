"""A session's own networks and that of other people, side by side as one bag.

All networks of a bag are of one size and one kind. So the session's small ones are put together
until they are as wide as the other people's, their matrices block by block; and the other people's
ReLU units are GELU units that are driven hard: ``GELU(k x) / k`` is ``max(x, 0)`` to 0.17 / k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibration.residual.residual_net import Layer, ResidualNet
from calibration.residual.task import ALL_SPLITS, TrainedNetwork
from emag_rt.array_types import Float32Array, FloatArray, Samples
from emag_rt.core.dilated import DilatedBlock

_DRIVE = 4096.0
"""How hard: a power of two, so that nothing is rounded."""


def can_join(others: ResidualNet, n_units: int, n_blocks: int, step: int) -> bool:
    """Whether networks of that size see the past in the same steps as the other people's.

    Parameters
    ----------
    others : ResidualNet
        The other people's network.
    n_units, n_blocks, step : int
        Units and blocks of a network of the session's own, and samples in its steps.
    """
    dilations = [block.dilation for block in others.blocks]
    width = others.blocks[0].mix.shape[-1]
    return dilations == [step * 2**place for place in range(n_blocks)] and width % n_units == 0


def those_beside(
    nets: Sequence[TrainedNetwork], others: ResidualNet, n_units: int
) -> list[TrainedNetwork]:
    """Own networks to go beside the other people's: those that saw everything, as good as all.

    Others fill up what their being put together leaves free.
    """
    used = [net for net in nets if net.weights is not None]
    used.sort(key=lambda net: net.split != ALL_SPLITS)
    together = others.blocks[0].mix.shape[-1] // n_units
    n_whole = sum(net.split == ALL_SPLITS for net in used)
    return used[: max(1, -(-n_whole // together)) * together]


def join(own: ResidualNet, others: ResidualNet, share: float) -> ResidualNet:
    """Put them side by side.

    Parameters
    ----------
    own : ResidualNet
        The session's networks, as they shall count.
    others : ResidualNet
        The other people's.
    share : float
        How much of theirs counts.

    Returns
    -------
    ResidualNet
        Gives ``own`` and ``share`` times ``others``.
    """
    own = _padded(own, others.blocks[0].mix.shape[-1])
    drive = _DRIVE if others.activation == "relu" else 1.0
    layers = _side_by_side(own, others, drive, share / drive)
    kernel, n_lags = (own.kernel, others.kernel), max(own.kernel.shape[1], others.kernel.shape[1])
    blocks = []
    for mine, theirs in zip(own.blocks, others.blocks, strict=True):
        mine = _put_together(mine, theirs.mix.shape[-1])
        pairs = (
            (getattr(mine, name), getattr(theirs, name) * scale)
            for name, scale in (("weight", 1), ("bias", drive), ("mix", 1), ("mix_bias", drive))
        )
        blocks.append(DilatedBlock(mine.dilation, *(np.concatenate(pair) for pair in pairs)))
    return replace(
        own,
        kernel=np.concatenate([np.pad(k, ((0, 0), (0, n_lags - k.shape[1]))) for k in kernel]),
        layers=layers,
        blocks=tuple(blocks),
    )


def _side_by_side(
    own: ResidualNet, others: ResidualNet, into: float, out_of: float
) -> tuple[Layer, Layer]:
    """First and last layer; each kind sees its own taps alone."""
    (first, first_bias), (last, last_bias) = own.layers
    (their_first, their_bias), (their_last, their_last_bias) = others.layers
    nothing = np.zeros((len(first), their_first.shape[1]), np.float32)
    nothing_too = np.zeros((len(their_first), first.shape[1]), np.float32)
    both = np.block([[first, nothing], [nothing_too, np.float32(into) * their_first]])
    bias = np.concatenate([first_bias, np.float32(into) * their_bias])
    out = np.concatenate([last, np.float32(out_of) * their_last], axis=1)
    return (both, bias), (out, last_bias + np.float32(out_of * into) * their_last_bias)


def _padded(net: ResidualNet, width: int) -> ResidualNet:
    """As many networks as fill whole ones of that width, by ones that give nothing."""
    n_nets, n_units, _ = net.blocks[0].mix.shape
    more = -n_nets % (width // n_units)
    if not more:
        return net
    (first, first_bias), (last, last_bias) = net.layers
    units = more * n_units

    def filled(values: Samples, n: int) -> Samples:
        return np.concatenate([values, np.zeros((n, *values.shape[1:]), values.dtype)])

    blocks = tuple(
        DilatedBlock(
            block.dilation,
            filled(block.weight, more),
            filled(block.bias, units),
            filled(block.mix, more),
            filled(block.mix_bias, units),
        )
        for block in net.blocks
    )
    out: Float32Array = filled(last.T, units).T
    layers = ((filled(first, units), filled(first_bias, units)), (out, last_bias))
    return replace(net, layers=layers, blocks=blocks)


def _put_together(block: DilatedBlock, width: int) -> DilatedBlock:
    """Networks of a block as fewer ones of that width."""
    n_nets, n_units, _ = block.mix.shape
    n = width // n_units
    mix = np.zeros((n_nets // n, width, width))
    then, now = np.zeros_like(mix), np.zeros_like(mix)
    for place in range(n):
        here = slice(place * n_units, (place + 1) * n_units)
        mix[:, here, here] = block.mix[place::n]
        then[:, here, here] = block.weight[place::n, :, :n_units]
        now[:, here, here] = block.weight[place::n, :, n_units:]
    weight: FloatArray = np.concatenate([then, now], axis=2)
    return DilatedBlock(block.dilation, weight, block.bias, mix, block.mix_bias)
