"""The gradient of the residual's networks, written out: the quick twin of what torch derives.

:class:`calibration.residual.network.Networks` is the equation. Here is the same arithmetic with
less traffic: every step writes into the same tensors, two samples some way apart are two products
with slices of one matrix instead of one with a copy, what goes back through a block is added where
it belongs, and dropout's scale stands in the weights behind it. So that slices are plain matrices,
every sequence has its own copy of its network's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self._scale = self.weights.new_ones(n_weights)
        for name, part in split(self._scale[None], shapes).items():
            if name == "out.weight" or name.endswith("mix.weight"):
                part.fill_(networks.dropout.scale)
        self._copies = self.weights.new_empty(n_nets, n_sequences, n_weights)
        self._one_each = self.weights[:, None].expand_as(self._copies)
        self._joined, self._gradient = torch.empty_like(self._copies), self.weights.clone()
        copies = split(self._copies.flatten(0, 1), shapes)
        self._layers: list[_Layer] = []  # in the order of the parameters

        def layer(name: str, *inputs: Tensor) -> _Layer:
            self._layers.append(_Layer(copies[f"{name}.weight"], copies[f"{name}.bias"], inputs))
            return self._layers[-1]

        n_features, n_units = shapes["into.weight"]
        shape = (n_nets * n_sequences, networks.memory + n_times)
        self._z = self.weights.new_empty(*shape, n_features)
        self._first, self._slope, work = (self.weights.new_empty(*shape, n_units) for _ in range(3))
        self._into, h = layer("into", self._z), self._first
        self._blocks: list[_Block] = []
        for place, block in enumerate(cast(list[ResidualBlock], networks.blocks)):
            past, newest = h[:, : -block.dilation], h[:, block.dilation :]
            inner = layer(f"blocks.{place}.inner", past, newest)
            units = _Units(newest.contiguous(), networks.dropout, work)
            mix = layer(f"blocks.{place}.mix", units.active)
            self._blocks.append(_Block(inner, units, mix, block.dilation, self._slope))
            h = self._blocks[-1].after
        self._last = _Units(h, networks.dropout, work)
        self._out = layer("out", self._last.active)
        self._missed = self.weights.new_empty(len(h), n_times, self._out.bias.shape[2])
        self._parts = [part.flatten(1) for made in self._layers for part in made.gradient]

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
        torch.mul(self._one_each, self._scale, out=self._copies)
        self._z.copy_(z)
        self._into.forward(self._first)
        for block in self._blocks:
            block.forward()
        self._last.forward()
        self._out.forward(self._missed)
        n_samples = self._missed.numel() // len(self.weights)
        self._missed.sub_(wanted).mul_((weight * (2.0 / n_samples))[..., None])
        self._out.learn(self._missed)
        slope, n_times = self._slope, self._missed.shape[1]
        slope[:, :-n_times].zero_()
        self._last.backward(self._out, self._missed, slope[:, -n_times:])
        for block in reversed(self._blocks):
            block.backward()
        self._into.learn(slope)
        torch.cat(self._parts, dim=1, out=self._joined.flatten(0, 1))
        torch.sum(self._joined, dim=1, out=self._gradient)
        return self._gradient.mul_(self._scale)


def split(rows: Tensor, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Views of each row's parts, by name, in the shapes given."""
    parts = torch.split_with_sizes(rows, [shape.numel() for shape in shapes.values()], dim=1)
    pairs = zip(shapes.items(), parts, strict=True)
    return {name: part.view(len(rows), *shape) for (name, shape), part in pairs}


class _Layer:
    """A linear layer of each sequence; its inputs, side by side, are memory that is used again."""

    def __init__(self, weight: Tensor, bias: Tensor, inputs: Sequence[Tensor]) -> None:
        self.bias, weights = bias, weight.tensor_split(len(inputs), dim=1)
        self.products = list(zip(inputs, weights, strict=True))
        self.back = [part.transpose(1, 2) for part in weights]
        self._seen = [x.transpose(1, 2) for x in inputs]
        self.gradient = [torch.empty_like(part).contiguous() for part in (*weights, bias)]

    def forward(self, out: Tensor) -> None:
        """Give what the inputs make."""
        bias = self.bias
        for x, weight in self.products:
            torch.baddbmm(bias, x, weight, out=out)
            bias = out

    def learn(self, slope: Tensor) -> None:
        """Take the gradient of the weights from that of the output."""
        *to_weights, to_bias = self.gradient
        for seen, to_weight in zip(self._seen, to_weights, strict=True):
            torch.bmm(seen, slope, out=to_weight)
        torch.sum(slope, dim=1, keepdim=True, out=to_bias)


class _Units:
    """GELU and dropout, and the way back through both and the layer behind."""

    def __init__(self, before: Tensor, dropout: Dropout, work: Tensor) -> None:
        self.before, self.active = before, torch.empty_like(before)
        self.slope = work.flatten()[: before.numel()].view(before.shape)
        self._dropout, (self._words, self._kept) = dropout, dropout.room(before)

    def forward(self) -> None:
        """From ``before`` to ``active``, which is to be scaled by dropout's scale."""
        _gelu(self.before, out=self.active)
        if self._dropout.threshold:
            self._dropout.draw(self._words)
            # As bytes: torch is several times slower with truth values.
            self.active.mul_(self._kept.ge_(self._dropout.threshold))

    def backward(self, behind: _Layer, slope: Tensor, out: Tensor) -> None:
        """From the gradient of what the layer behind gives to that of ``before``."""
        torch.bmm(slope, behind.back[0], out=self.slope)
        if self._dropout.threshold:
            self.slope.mul_(self._kept)
        _gelu_backward(self.slope, self.before, grad_input=out)


class _Block:
    """A residual block. The newest samples of ``slope`` are the gradient of what it gives."""

    def __init__(
        self, inner: _Layer, units: _Units, mix: _Layer, dilation: int, slope: Tensor
    ) -> None:
        self._inner, self._units, self._mix = inner, units, mix
        self.after = torch.empty_like(units.before)
        n_times = self.after.shape[1]
        self._slope = slope[:, -n_times:]
        self._past_slope = slope[:, -n_times - dilation : -dilation]

    def forward(self) -> None:
        """From the units before to those after."""
        self._inner.forward(self._units.before)
        self._units.forward()
        _, (newest, _) = self._inner.products
        ((active, weight),) = self._mix.products
        torch.add(newest, self._mix.bias, out=self.after).baddbmm_(active, weight)

    def backward(self) -> None:
        """From the gradient of the units after to that of those before: it is added to."""
        self._mix.learn(self._slope)
        slope = self._units.slope
        self._units.backward(self._mix, self._slope, slope)
        self._inner.learn(slope)
        past, newest = self._inner.back
        self._past_slope.baddbmm_(slope, past)
        self._slope.baddbmm_(slope, newest)
