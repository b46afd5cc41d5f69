"""The gradient of the residual's networks, written out: the quick twin of what torch derives.

:class:`calibration.residual.network.Networks` is the equation. Here is the same arithmetic with
less traffic: every step writes into the same tensors, two samples some way apart are two products
with slices of one matrix instead of one with a copy, what goes back through a block is added where
it belongs, and dropout's scale stands in the weights behind it. So that slices are plain matrices,
every sequence has its own copy of its network's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from calibration.residual.network import Dropout, Networks, ResidualBlock

_gelu: Callable[..., Tensor] = torch.ops.aten.gelu.out
_gelu_backward: Callable[..., Tensor] = torch.ops.aten.gelu_backward.grad_input


class Gradient:
    """The gradient of the weighted squared error of some networks, and their weights as one tensor.

    Parameters
    ----------
    networks : Networks
        With GELU units; their parameters become views of ``weights``.
    n_sequences, n_times : int
        Sequences of a network, and samples of each that are learnt from.

    Attributes
    ----------
    weights : Tensor, shape (n_nets, n_weights)
        All parameters, a row a network.
    """

    def __init__(self, networks: Networks, n_sequences: int, n_times: int) -> None:
        parameters = dict(networks.named_parameters())
        shapes = {name: p.shape[1:] for name, p in parameters.items()}
        self.weights = torch.cat([p.detach().flatten(1) for p in parameters.values()], dim=1)
        for name, part in split(self.weights, shapes).items():
            parameters[name].data = part
        n_nets, n_weights = self.weights.shape
        self._copies = self.weights.new_empty(n_nets, n_sequences, n_weights)
        self._scale, self._gradient = self.weights.new_ones(n_weights), self.weights.clone()
        for name, part in split(self._scale[None], shapes).items():
            if name == "out.weight" or name.endswith("mix.weight"):
                part.fill_(networks.dropout.scale)
        copies = split(self._copies.flatten(0, 1), shapes)
        gradient = split(self._gradient, shapes)

        def layer(name: str) -> _Layer:
            parts = (f"{name}.weight", f"{name}.bias")
            return _Layer(*(where[part] for where in (copies, gradient) for part in parts))

        self._into, self._out = layer("into"), layer("out")
        n_units, n_all = self._into.weight.shape[2], networks.memory + n_times
        self._first, self._slope = (
            self.weights.new_empty(n_nets * n_sequences, n_all, n_units) for _ in range(2)
        )
        work, h = self._first.new_empty(2, *self._first.shape), self._first
        self._blocks: list[_Block] = []
        for place, block in enumerate(cast(list[ResidualBlock], networks.blocks)):
            inner, mix = (layer(f"blocks.{place}.{part}") for part in ("inner", "mix"))
            self._blocks.append(_Block(inner, mix, block.dilation, networks.dropout, h, work))
            h = self._blocks[-1].after
        self._last = _Units(h, networks.dropout, work)

    @torch.no_grad()
    def of(self, z: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        """Follow the error back to the weights.

        Parameters
        ----------
        z : Tensor, shape (n_nets * n_sequences, memory + n_times, n_features)
            Features, with the context in front.
        wanted : Tensor, shape (n_nets * n_sequences, n_times, n_out)
            What the networks should give.
        weight : Tensor, shape (n_nets * n_sequences, n_times)
            Of each sample.

        Returns
        -------
        Tensor, shape (n_nets, n_weights)
            Of each network's mean over samples and outputs of ``weight`` times the squared error;
            overwritten by the next call.
        """
        one_each = self.weights[:, None].expand_as(self._copies)
        torch.mul(one_each, self._scale, out=self._copies)
        torch.baddbmm(self._into.bias, z, self._into.weight, out=self._first)
        for block in self._blocks:
            block.forward()
        self._last.forward()
        missed = torch.baddbmm(self._out.bias, self._last.active, self._out.weight).sub_(wanted)
        n_samples = missed.numel() // len(self.weights)
        missed.mul_((weight * (2.0 / n_samples))[..., None])
        self._out.learn(self._last.active, missed)
        slope, n_times = self._slope, missed.shape[1]
        slope[:, :-n_times].zero_()
        self._last.backward(missed, self._out.weight, slope[:, -n_times:])
        for block in reversed(self._blocks):
            block.backward(slope)
        self._into.learn(z, slope)
        return self._gradient.mul_(self._scale)


def split(rows: Tensor, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Views of each row's parts, by name, in the shapes given."""
    parts = rows.split_with_sizes([shape.numel() for shape in shapes.values()], dim=1)
    pairs = zip(shapes.items(), parts, strict=True)
    return {name: part.view(len(rows), *shape) for (name, shape), part in pairs}


@dataclass
class _Layer:
    """A layer's weights, copied for every sequence, and where their gradient goes."""

    weight: Tensor
    bias: Tensor
    to_weight: Tensor
    to_bias: Tensor

    def learn(self, x: Tensor, slope: Tensor, rows: slice = slice(None)) -> None:
        """Take the gradient of the weights, those of some inputs, from that of the output."""
        shape = (len(self.to_weight), -1)
        each, summed = torch.bmm(x.transpose(1, 2), slope), slope.sum(dim=1, keepdim=True)
        torch.sum(each.view(*shape, *each.shape[1:]), dim=1, out=self.to_weight[:, rows])
        torch.sum(summed.view(*shape, *summed.shape[1:]), dim=1, out=self.to_bias)


class _Units:
    """GELU and dropout, and the way back through both and the layer behind."""

    def __init__(self, before: Tensor, dropout: Dropout, work: Tensor) -> None:
        self.before, self.active = before, torch.empty_like(before)
        self._dropout, self._words = dropout, dropout.words(before)
        n = before.numel()
        self.slope, self._kept = (part.flatten()[:n].view(before.shape) for part in work)

    def forward(self) -> None:
        """From ``before`` to ``active``, which is to be scaled by dropout's scale."""
        _gelu(self.before, out=self.active)
        if self._dropout.threshold:
            self._drawn = self._dropout.draw(self._words, self.before)
            self._silence(self.active)

    def backward(self, slope: Tensor, weight: Tensor, out: Tensor) -> None:
        """From the gradient of what the layer behind gives to that of ``before``."""
        torch.bmm(slope, weight.transpose(1, 2), out=self.slope)
        if self._dropout.threshold:
            self._silence(self.slope)
        _gelu_backward(self.slope, self.before, grad_input=out)

    def _silence(self, x: Tensor) -> None:
        # As numbers: torch multiplies by truth values several times slower.
        x.mul_(torch.ge(self._drawn, self._dropout.threshold, out=self._kept))


class _Block:
    """A residual block. Of each sequence's gradient, the newest samples are its own."""

    def __init__(
        self, inner: _Layer, mix: _Layer, apart: int, dropout: Dropout, h: Tensor, work: Tensor
    ) -> None:
        self._inner, self._mix = inner, mix
        self._n_times, n_units = h.shape[1] - apart, h.shape[2]
        self._parts = (h[:, :-apart], h[:, apart:])
        self._rows = (slice(n_units), slice(n_units, None))
        self.after = torch.empty_like(self._parts[0], memory_format=torch.contiguous_format)
        self._units = _Units(torch.empty_like(self.after), dropout, work)
        self._apart = apart

    def forward(self) -> None:
        """From the units before to those after."""
        (past, newest), (first, second), units = self._parts, self._rows, self._units
        torch.baddbmm(self._inner.bias, past, self._inner.weight[:, first], out=units.before)
        units.before.baddbmm_(newest, self._inner.weight[:, second])
        units.forward()
        torch.add(newest, self._mix.bias, out=self.after)
        self.after.baddbmm_(units.active, self._mix.weight)

    def backward(self, slope: Tensor) -> None:
        """Take what the newest samples' gradient says, and make it that of the units before."""
        units, n_times, apart = self._units, self._n_times, self._apart
        newest = slope[:, -n_times:]
        past = slope[:, -n_times - apart : -apart]
        self._mix.learn(units.active, newest)
        units.backward(newest, self._mix.weight, units.slope)
        for part, rows, back in zip(self._parts, self._rows, (past, newest), strict=True):
            self._inner.learn(part, units.slope, rows)
            back.baddbmm_(units.slope, self._inner.weight[:, rows].transpose(1, 2))
