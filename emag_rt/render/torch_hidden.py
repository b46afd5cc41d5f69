"""The non-linear branch on torch tensors: like :mod:`emag_rt.render.hidden`, at fixed addresses.

A CUDA graph replays the same work on the same memory, so all state is kept in tensors that are
made once and written in place. ``torch`` is handed over by whoever imported it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from emag_rt.array_types import Samples
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.folding import PackedHidden

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device


def as_tensor(torch: ModuleType, values: Samples, device: Device) -> Tensor:
    """Copy an array to a device, float32 and contiguous."""
    return torch.tensor(np.ascontiguousarray(values, dtype=np.float32), device=device)


def fir(torch: ModuleType, newest_last: Tensor, x: Tensor) -> Tensor:
    """Filter every channel with every tap sequence, 'valid' part only.

    Parameters
    ----------
    torch : module
        Torch.
    newest_last : Tensor, shape (n_taps, n_lags), float32
        Taps; the last one multiplies the newest sample.
    x : Tensor, shape (n_lags - 1 + n_times, n_channels), float32
        Samples, with the context in front.

    Returns
    -------
    Tensor, shape (n_times, n_taps * n_channels), float32
        As from :func:`emag_rt.core.drive.causal_fir`.
    """
    n_taps, n_lags = newest_last.shape
    windows = x.unfold(0, n_lags, 1).transpose(1, 2)  # a view: overlapping windows, no copy
    product = torch.bmm(newest_last.expand(len(windows), n_taps, n_lags), windows)
    return product.reshape(len(windows), -1)


class Rows:
    """The newest rows of a stream, at one address.

    Parameters
    ----------
    torch : module
        Torch.
    fill : Tensor, shape (n_rows, n_channels)
        What is there after a reset.
    """

    def __init__(self, torch: ModuleType, fill: Tensor) -> None:
        self._torch, self._fill, self._rows = torch, fill, fill.clone()

    def reset(self) -> None:
        """Start from silence."""
        self._rows.copy_(self._fill)

    def append(self, rows: Tensor) -> Tensor:
        """Append rows and return them with those before, shape (n_rows + n_times, n_channels)."""
        joined = self._torch.cat([self._rows, rows])
        self._rows.copy_(joined[len(rows) :])
        return joined


class TorchHidden:
    """Hidden units of a live stream.

    Parameters
    ----------
    torch : module
        Torch.
    hidden : PackedHidden
        The folded branch.
    device : torch.device
        Where to compute.
    """

    def __init__(self, torch: ModuleType, hidden: PackedHidden, device: Device) -> None:
        self._torch = torch
        gelu, relu = torch.nn.functional.gelu, torch.relu
        self._activate = gelu if hidden.activation == "gelu" else relu
        self._taps = as_tensor(torch, hidden.taps[:, ::-1], device)
        self._layers = [
            (as_tensor(torch, np.swapaxes(weight, -1, -2), device), as_tensor(torch, bias, device))
            for weight, bias in hidden.layers
        ]
        self._bag = _Bag(torch, hidden.blocks, self._activate, device) if hidden.blocks else None
        n_ld = hidden.layers[0][0].shape[-1] // len(hidden.taps)
        silence = torch.zeros((self.n_lags, n_ld), dtype=torch.float32, device=device)
        first = self._first(silence)
        if self._bag is not None:
            self._bag.silence(first)
        units = first if self._bag is None else self._bag.silent_units()
        n_before = hidden.out_taps.shape[1] - 1
        self._out = Rows(torch, units.expand(n_before, -1).contiguous())

    @property
    def n_lags(self) -> int:
        """Rows of features that the newest hidden unit needs, itself included."""
        return int(self._taps.shape[1])

    def reset(self) -> None:
        """Start from silence."""
        self._out.reset()
        if self._bag is not None:
            self._bag.reset()

    def push(self, x: Tensor) -> Tensor:
        """Take samples (n_lags - 1 + n_times, n_ld), give units (n_before + n_times, n_hidden)."""
        h = self._first(x)
        return self._out.append(h if self._bag is None else self._bag.push(h))

    def _first(self, x: Tensor) -> Tensor:
        """What the dense layers give; with blocks there is one, without an activation."""
        z = fir(self._torch, self._taps, x)
        for weight, bias in self._layers:
            if weight.dim() == 2:
                z = self._torch.addmm(bias, z, weight)
            else:
                parts = z.reshape(len(z), len(weight), -1).transpose(0, 1) @ weight
                z = parts.transpose(0, 1).reshape(len(z), -1) + bias
            if self._bag is None:
                z = self._activate(z)
        return z


class _Bag:
    """Dilated blocks of a bag of networks; tensors are (n_nets, n_times, n_units).

    What a block adds whatever its input (``mix_bias``) is moved into the biases behind it: one
    operation a block less. A single sample takes another road than several: all that it needs of
    the past is known before the first block, so that part is one product for all blocks.
    """

    def __init__(
        self,
        torch: ModuleType,
        blocks: tuple[DilatedBlock, ...],
        activate: Callable[[Tensor], Tensor],
        device: Device,
    ) -> None:
        self._torch, self._activate = torch, activate
        self._n_nets, self._n_units, _ = blocks[0].weight.shape
        self._dilations = [block.dilation for block in blocks]
        level = np.zeros((self._n_nets, 1, self._n_units))
        past, now, mix, bias = [], [], [], []
        for block in blocks:
            weight = block.weight.swapaxes(1, 2)
            before, newest = weight[:, : self._n_units], weight[:, self._n_units :]
            past.append(before)
            now.append(as_tensor(torch, newest, device))
            mix.append(as_tensor(torch, block.mix.swapaxes(1, 2), device))
            bias.append(block.bias.reshape(level.shape) + level @ (before + newest))
            level = level + block.mix_bias.reshape(level.shape)
        self._now, self._mix, self._level = now, mix, as_tensor(torch, level, device)
        # (n_nets, n_blocks, ...), so that net and block together are one batch.
        self._past = as_tensor(torch, np.stack(past, axis=1), device)
        self._bias = as_tensor(torch, np.stack(bias, axis=1), device)
        first = np.cumsum([0, *self._dilations])
        self._memory = int(first[-1])
        self._oldest = torch.tensor(first[:-1], device=device)
        # One sample on: each block's rows move up by one, the new ones come from behind.
        after = np.arange(1, self._memory + 1)
        after[first[1:] - 1] = self._memory + np.arange(len(blocks))
        self._after = torch.tensor(after, device=device)

    def silence(self, first: Tensor) -> None:
        """Make the state that silence leaves, from what the first layer gives for it."""
        h, rows = self._apart(first), []
        for k, dilation in enumerate(self._dilations):
            rows.append(h.expand(-1, dilation, -1))
            h = self._block(k, self._from_past(k, h), h)
        self._fill = self._torch.cat(rows, dim=1)
        self._rows = self._fill.clone()
        self._silent = h

    def silent_units(self) -> Tensor:
        """Units (1, n_hidden) of silence."""
        return self._joined(self._silent)

    def reset(self) -> None:
        """Start from silence."""
        self._rows.copy_(self._fill)

    def push(self, first: Tensor) -> Tensor:
        """From the first layer's (n_times, n_hidden) to units of the same shape."""
        h = self._apart(first)
        return self._joined(self._one(h) if len(first) == 1 else self._several(h))

    def _one(self, h: Tensor) -> Tensor:
        torch = self._torch
        oldest = self._rows.index_select(1, self._oldest)
        size = (-1, 1, self._n_units)
        batch = self._past.reshape(-1, self._n_units, self._n_units)
        known = torch.baddbmm(self._bias.reshape(size), oldest.reshape(size), batch)
        known = known.reshape(self._n_nets, -1, 1, self._n_units)
        seen = []
        for k in range(len(self._now)):
            seen.append(h)
            h = self._block(k, known[:, k], h)
        joined = torch.cat([self._rows, *seen], dim=1)
        self._rows.copy_(joined.index_select(1, self._after))
        return h

    def _several(self, h: Tensor) -> Tensor:
        n_times = h.shape[1]
        for k, rows in enumerate(self._rows.split(self._dilations, dim=1)):
            joined = self._torch.cat([rows, h], dim=1)
            rows.copy_(joined[:, n_times:])
            h = self._block(k, self._from_past(k, joined[:, :n_times]), h)
        return h

    def _from_past(self, k: int, rows: Tensor) -> Tensor:
        return self._torch.baddbmm(self._bias[:, k], rows, self._past[:, k])

    def _block(self, k: int, known: Tensor, h: Tensor) -> Tensor:
        """One block, from what its bias and the past give (overwritten) and the units now."""
        inner = self._activate(known.baddbmm_(h, self._now[k]))
        return self._torch.baddbmm(h, inner, self._mix[k])

    def _apart(self, h: Tensor) -> Tensor:
        return h.reshape(len(h), self._n_nets, self._n_units).transpose(0, 1)

    def _joined(self, h: Tensor) -> Tensor:
        units = self._activate(h + self._level)
        return units.transpose(0, 1).reshape(h.shape[1], -1)
