"""The ``packed`` engine: the folded operator in NumPy, float32."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray, IndexArray, Samples
from emag_rt.core.drive import causal_fir
from emag_rt.render.hidden import HiddenStream
from emag_rt.render.history import History
from emag_rt.render.plan import RenderPlan

_BLOCK = 2048
_FIRST = np.zeros(1, dtype=np.intp)


class PackedRenderer:
    """Folded rendering in NumPy.

    Parameters
    ----------
    plan : RenderPlan
        What to render.
    """

    name = "packed"

    def __init__(self, plan: RenderPlan) -> None:
        op = plan.operator
        self._op = op
        self._taps = _f32(op.taps)
        self._newest_last = np.ascontiguousarray(self._taps[:, ::-1])
        self._weights = _f32(op.weights)
        self._bias = _f32(op.bias)
        self._hidden: HiddenStream | None = None
        if op.hidden is not None:
            h = op.hidden
            self._out_taps, self._out_weights = _f32(h.out_taps), _f32(h.weights)
            n_before = h.out_taps.shape[1] - 1
            self._hidden = HiddenStream(
                h.taps, h.layers, h.blocks, h.activation, n_before, np.float32
            )
        self._rows = np.array([row for row, _ in plan.measured], dtype=np.intp)
        self._columns = np.array([column for _, column in plan.measured], dtype=np.intp)
        self._centred = History(op.n_context, op.n_ld, np.float32)
        self._delay = History(op.look_ahead, op.n_ld)
        self._position = -op.look_ahead

    def reset(self) -> None:
        """Forget the context."""
        self._centred.reset()
        self._delay.reset()
        if self._hidden is not None:
            self._hidden.reset()
        self._position = -self._op.look_ahead

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        x = self._centred.append(ld - ld.mean(axis=1, keepdims=True))
        self._delay.append(ld)
        if self._hidden is not None and len(ld):
            self._units(x, len(ld))
        self._position += len(ld)

    def prepare(self) -> None:
        """There is nothing to do ahead."""

    def laid_out(self, weights: FloatArray) -> tuple[Float32Array, ...]:
        """Linear weights, shape (n_positions, n_out, n_taps * n_ld), as they are kept."""
        return (_f32(weights),)

    def use(self, arrays: tuple[Float32Array, ...]) -> None:
        """Render with these linear weights from now on."""
        (self._weights,) = arrays

    def push(self, ld: FloatArray) -> Float32Array:
        """Render; see :meth:`emag_rt.render.plan.Renderer.push`."""
        if len(ld) <= _BLOCK:
            return self._push(ld)
        blocks = [self._push(ld[i : i + _BLOCK]) for i in range(0, len(ld), _BLOCK)]
        return np.concatenate(blocks)

    def _push(self, ld: FloatArray) -> Float32Array:
        n = len(ld)
        if n == 0:
            return np.zeros((0, self._op.n_out), dtype=np.float32)
        x = self._centred.append(ld - ld.mean(axis=1, keepdims=True))
        current = self._delay.append(ld)[:n] if self._op.look_ahead else ld
        out = self._linear(x, n)
        if self._hidden is not None:
            out += self._non_linear(x, n)
        self._position += n
        out += current.mean(axis=1, keepdims=True).astype(np.float32)
        if len(self._rows):
            out[:, self._rows] = current[:, self._columns]
        return out

    def _linear(self, x: Samples, n: int) -> Float32Array:
        n_lags = self._taps.shape[1]
        tail = x[len(x) - n - n_lags + 1 :]
        one = n == 1
        z = (self._newest_last @ tail).reshape(1, -1) if one else causal_fir(self._taps, tail)
        return self._read_out(z, self._weights) + self._bias[self._positions(n)]

    def _non_linear(self, x: Samples, n: int) -> Float32Array:
        h = self._units(x, n)
        return self._read_out(causal_fir(self._out_taps, h), self._out_weights)

    def _units(self, x: Samples, n: int) -> Samples:
        assert self._hidden is not None
        return self._hidden.push(x[len(x) - n - self._hidden.n_lags + 1 :])

    def _positions(self, n: int) -> IndexArray:
        if self._op.n_positions == 1:
            return _FIRST
        return (self._position + np.arange(n)) % self._op.n_positions

    def _read_out(self, z: Samples, weights: Float32Array) -> Float32Array:
        if self._op.n_positions == 1:
            return np.asarray(z @ weights[0].T, dtype=np.float32)
        out = np.empty((len(z), self._op.n_out), dtype=np.float32)
        for i, position in enumerate(self._positions(len(z))):
            out[i] = weights[position] @ z[i]
        return out


def _f32(values: FloatArray) -> Float32Array:
    return np.ascontiguousarray(values, dtype=np.float32)
