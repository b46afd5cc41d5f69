"""The folded operator on torch tensors, at fixed addresses; see :mod:`emag_rt.render.packed`.

One sample takes the same few dozen operations on the same memory every time, with nothing that
waits for the host: what a CUDA graph can capture. ``torch`` is handed over by whoever imported it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from emag_rt.core.folding import PackedOperator
from emag_rt.render.torch_hidden import Rows, TorchHidden, as_tensor, fir

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device
    from torch import dtype as DType


class TorchField:
    """Renders chunks that are already on the device.

    Parameters
    ----------
    torch : module
        Torch.
    operator : PackedOperator
        The folded field.
    measured : sequence of (int, int)
        Output rows that pass an LD column through.
    device : torch.device
        Where to compute.
    """

    def __init__(
        self,
        torch: ModuleType,
        operator: PackedOperator,
        measured: Sequence[tuple[int, int]],
        device: Device,
    ) -> None:
        self._torch, self._op = torch, operator
        self._taps = as_tensor(torch, operator.taps[:, ::-1], device)
        self._bias = as_tensor(torch, operator.bias, device)
        weights, n_before = operator.weights, operator.taps.shape[1]
        self._hidden = None
        if operator.hidden is not None:
            hidden = operator.hidden
            self._hidden = TorchHidden(torch, hidden, device)
            n_before = max(n_before, self._hidden.n_lags)
            own = hidden.weights
            # A single tap is a factor, which costs nothing in the readout.
            single = hidden.out_taps.shape == (1, 1)
            self._out_taps = None if single else as_tensor(torch, hidden.out_taps[:, ::-1], device)
            own = own * hidden.out_taps[0, 0] if single else own
            weights = np.concatenate([weights, own], axis=2)
        self._weights = as_tensor(torch, weights, device)
        self._columns = torch.tensor([column for _, column in measured], device=device)
        self._rows = torch.tensor([row for row, _ in measured], device=device)
        self._n_measured = len(measured)

        def silence(n_rows: int, dtype: DType) -> Rows:
            return Rows(torch, torch.zeros((n_rows, operator.n_ld), dtype=dtype, device=device))

        self._centred = silence(n_before - 1, torch.float32)
        # Float64 keeps a large common signal apart from the field until it has been taken out.
        self._delay = silence(operator.look_ahead, torch.float64)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self.reset()

    def reset(self) -> None:
        """Forget the context."""
        self._centred.reset()
        self._delay.reset()
        if self._hidden is not None:
            self._hidden.reset()
        self._position.fill_(-self._op.look_ahead % self._op.n_positions)

    def advance(self, ld: Tensor) -> None:
        """Take samples (n_times, n_ld), float64, without rendering them."""
        x, _ = self._take(ld)
        if self._hidden is not None:
            self._units(x, len(ld))
        self._move_on(len(ld))

    def render(self, ld: Tensor) -> Tensor:
        """Render samples (n_times, n_ld), float64, as (n_times, n_out), float32."""
        n = len(ld)
        x, current = self._take(ld)
        z = self._filtered(self._taps, x, n)
        if self._hidden is not None:
            h = self._units(x, n)
            if self._out_taps is not None:
                h = self._filtered(self._out_taps, h, n)
            z = self._torch.cat([z, h], dim=1)
        out = self._read_out(z)
        out += current.mean(dim=1, keepdim=True)
        if self._n_measured:
            out.index_copy_(1, self._rows, current.index_select(1, self._columns).float())
        self._move_on(n)
        return out

    def _take(self, ld: Tensor) -> tuple[Tensor, Tensor]:
        """Features with their context, and the samples that the outputs belong to."""
        x = self._centred.append((ld - ld.mean(dim=1, keepdim=True)).float())
        return x, self._delay.append(ld)[: len(ld)] if self._op.look_ahead else ld

    def _filtered(self, taps: Tensor, x: Tensor, n: int) -> Tensor:
        return fir(self._torch, taps, x[len(x) - n - taps.shape[1] + 1 :])

    def _units(self, x: Tensor, n: int) -> Tensor:
        assert self._hidden is not None
        return self._hidden.push(x[len(x) - n - self._hidden.n_lags + 1 :])

    def _move_on(self, n: int) -> None:
        if self._op.n_positions > 1:
            self._position.add_(n).remainder_(self._op.n_positions)

    def _read_out(self, z: Tensor) -> Tensor:
        torch, n_positions = self._torch, self._op.n_positions
        if n_positions == 1:
            return torch.addmm(self._bias, z, self._weights[0].T)
        # Found on the device: a graph must not wait to hear the position.
        places = (self._position + torch.arange(len(z), device=z.device)) % n_positions
        whole = len(z) - len(z) % n_positions
        parts = []
        for rows in (z[:whole], z[whole:]):
            if not len(rows):
                continue
            # Rows of one place in the window side by side: a product for each place.
            n = min(len(rows), n_positions)
            by_place = rows.reshape(-1, n, z.shape[1]).transpose(0, 1)
            weights = self._weights.index_select(0, places[:n]).transpose(1, 2)
            bias = self._bias.index_select(0, places[:n])[:, None]
            out = torch.baddbmm(bias, by_place, weights)
            parts.append(out.transpose(0, 1).reshape(len(rows), -1))
        return torch.cat(parts)
