"""The residual's networks in torch: many of one shape, as stacked matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emag_rt.array_types import Float32Array, FloatArray

_PER_BLOCK = 4


@dataclass
class Network:
    """One network's fold (-1: saw them all) and its best validated state.

    ``weights`` are in the order of :func:`initial_parameters`, as x @ w + b; ``held`` is what it
    gave for the samples it did not see.
    """

    fold: int
    score: float = 0.0
    weights: list[Float32Array] | None = None
    held: FloatArray | None = None

    def as_tensors(self, torch: Any) -> dict[str, Any]:
        """For a file that holds numbers and tensors only."""
        weights = None if self.weights is None else [torch.from_numpy(w) for w in self.weights]
        held = None if self.held is None else torch.from_numpy(self.held)
        return {"fold": self.fold, "score": self.score, "weights": weights, "held": held}

    @classmethod
    def from_tensors(cls, kept: dict[str, Any]) -> Network:
        """The inverse of :meth:`as_tensors`."""
        weights = kept["weights"]
        arrays = None if weights is None else [w.cpu().numpy() for w in weights]
        held = None if kept["held"] is None else kept["held"].cpu().numpy()
        return cls(kept["fold"], kept["score"], arrays, held)


def initial_parameters(
    torch: Any, shape: tuple[int, int, int, int], n_blocks: int, draw: Any
) -> list[Any]:
    """Uniform layers, as torch.nn.Linear draws them, and a last layer of zeros.

    Parameters
    ----------
    torch : module
        Torch.
    shape : tuple of int
        Networks, features, units and outputs.
    n_blocks : int
        Residual blocks.
    draw : torch.Generator
        On the CPU.

    Returns
    -------
    list of Tensor
        Input weight and bias; weight, bias, mix and mixing bias of each block; output weight
        and bias. The first axis counts networks.
    """
    n_nets, n_in, n_units, n_out = shape
    values = []
    fans = [n_in, *[2 * n_units, n_units] * n_blocks]
    for fan in fans:
        for size in ((n_nets, fan, n_units), (n_nets, 1, n_units)):
            values.append((torch.rand(size, generator=draw) * 2 - 1) / fan**0.5)
    return [*values, torch.zeros(n_nets, n_units, n_out), torch.zeros(n_nets, 1, n_out)]


def parameter_arrays(parameters: Sequence[Any], place: int) -> list[Float32Array]:
    """One network's parameters."""
    return [p[place].detach().cpu().numpy().copy() for p in parameters]


def forward(
    torch: Any,
    z: Any,
    parameters: Sequence[Any],
    dilations: Sequence[int],
    dropout: float,
    noise: Any,
) -> Any:
    """Run sequences through all networks.

    Parameters
    ----------
    torch : module
        Torch.
    z : Tensor, shape (n_nets, n_sequences, sum(dilations) + n_times, n_features)
        Features, with the context in front.
    parameters : list of Tensor
        As from :func:`initial_parameters`.
    dilations : sequence of int
        Of the blocks.
    dropout : float
        Share of inner units silenced.
    noise : torch.Generator or None
        For the dropout.

    Returns
    -------
    Tensor, shape (n_nets, n_sequences, n_times, n_out)
        Scaled residuals.
    """
    gelu = torch.nn.functional.gelu

    def layer(x: Any, weight: Any, bias: Any) -> Any:
        n_nets, n_sequences, n_times, width = x.shape
        out = torch.baddbmm(bias, x.reshape(n_nets, -1, width), weight)
        return out.reshape(n_nets, n_sequences, n_times, -1)

    def thin(x: Any) -> Any:
        return x * _keep(torch, x, dropout, noise) if dropout else x

    h = layer(z, parameters[0], parameters[1])
    for place, dilation in enumerate(dilations):
        start = 2 + _PER_BLOCK * place
        weight, bias, mix, mix_bias = parameters[start : start + _PER_BLOCK]
        newest = h[:, :, dilation:]
        both = torch.cat([h[:, :, :-dilation], newest], dim=-1)
        h = newest + layer(thin(gelu(layer(both, weight, bias))), mix, mix_bias)
    return layer(thin(gelu(h)), parameters[-2], parameters[-1])


def _keep(torch: Any, x: Any, dropout: float, noise: Any) -> Any:
    """A mask for ``x``, scaled so that the mean stays.

    Eight draws come from one 64-bit number: a random number each would cost more than the
    matrix products do.
    """
    threshold = round(256 * dropout)
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
    drawn = words.random_(-(2**63), None, generator=noise).view(torch.uint8)[: x.numel()]
    return (drawn >= threshold).view(x.shape) * (256 / (256 - threshold))
