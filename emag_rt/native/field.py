"""The folded operator in compiled code, sample by sample."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import Float32Array, FloatArray, Samples
from emag_rt.core.activation import activate
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.drive import dense
from emag_rt.core.folding import PackedHidden, PackedOperator
from emag_rt.core.lag_levels import LagSegment, lag_levels
from emag_rt.errors import EngineError, SettingsError
from emag_rt.native.library import (
    BLOCK,
    Dilated,
    FieldStruct,
    Memory,
    NearLag,
    Ring,
    Segment,
    load,
    padded,
)

_WIDEST = 4096  # channels of the buffer on the library's stack
# Rings take times from here on, so that looking back never reaches a negative one.
_FIRST_TIME = 1 << 32


class NativeField:
    """The ``native`` engine: folded rendering in C; the same sums as ``packed``, sooner done.

    Long filters are looked at ever more coarsely further back, to 2e-7
    (:mod:`emag_rt.core.lag_levels`), and all of the next chunk's work that does not need it can
    be done before it comes.

    Parameters
    ----------
    operator : PackedOperator
        The folded field.
    measured : sequence of (int, int)
        Output rows that are passed through, with their LD column.

    Attributes
    ----------
    n_out : int
        Rendered channels.
    address : int
        Of the structure that the library works on, for this package alone.

    Raises
    ------
    EngineError
        If the library is not there, or the field is of another kind than serving meets.
    """

    name = "native"

    def __init__(self, operator: PackedOperator, measured: Sequence[tuple[int, int]]) -> None:
        lib = load()
        if isinstance(lib, str):
            raise EngineError(f"engine native: {lib}; or use --engine packed.")
        _check(operator)
        self._lib = lib
        self._operator = operator
        self.n_out = operator.n_out
        self._memory = Memory()
        self._rings: list[tuple[Float32Array, Samples]] = []
        self._struct = FieldStruct()
        self._describe(operator, measured)
        self._linear(operator)
        if operator.hidden is not None:
            self._hidden(operator.hidden)
        self._scratch()
        self.address = ctypes.addressof(self._struct)
        self.reset()

    def reset(self) -> None:
        """Forget the context: the next sample starts from silence."""
        for rows, silence in self._rings:
            rows[...] = silence
        self._delay[...] = 0.0
        self._lengths = (0, 0)
        self._struct.time = _FIRST_TIME
        self._struct.n_prepared = 0

    def push(self, ld: FloatArray) -> Float32Array:
        """Render: filtered LD (n_times, n_ld) in µV to (n_times, n_out) float32, µV."""
        ld = self._checked(ld)
        hd = np.empty((len(ld), self.n_out), dtype=np.float32)
        self._lib.emag_render(self.address, ld.ctypes.data, len(ld), hd.ctypes.data)
        self.took(len(ld))
        return hd

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        ld = self._checked(ld)
        self._lib.emag_render(self.address, ld.ctypes.data, len(ld), None)
        self.took(len(ld))

    def took(self, n_times: int) -> None:
        """Samples were taken in, by this object or in the fused call."""
        self._lengths = (self._lengths[1], n_times)

    def _checked(self, ld: FloatArray) -> FloatArray:
        """What the library may read: it believes what it is told."""
        if ld.ndim != 2 or ld.shape[1] != self._operator.n_ld:
            raise SettingsError(
                f"ld must have shape (n_times, {self._operator.n_ld}), got {ld.shape}."
            )
        return np.ascontiguousarray(ld, dtype=np.float64)

    def prepare(self) -> None:
        """Do now all of the next chunk's work that does not need it.

        It is taken to be as long as the shorter one of the last two: what was prepared in vain
        costs more than what was not prepared.
        """
        expected = min(self._lengths)
        if 0 < expected <= BLOCK:
            self._lib.emag_prepare(self.address, expected)

    def _describe(self, op: PackedOperator, measured: Sequence[tuple[int, int]]) -> None:
        f, memory = self._struct, self._memory
        f.n_ld, f.n_in = op.n_ld, padded(op.n_ld)
        f.n_out, f.width_out = op.n_out, padded(op.n_out)
        f.look_ahead = op.look_ahead
        f.n_measured = len(measured)
        f.rows = _at(memory.array([row for row, _ in measured], np.int64))
        f.columns = _at(memory.array([column for _, column in measured], np.int64))
        self._delay = memory.zeros((op.look_ahead + BLOCK, op.n_ld + 1), np.float64)
        f.delay = _at(self._delay)

    def _linear(self, op: PackedOperator) -> None:
        f, memory = self._struct, self._memory
        by_tap = self._by_tap(op.weights)
        lags = lag_levels(op.taps, np.linalg.norm(by_tap, axis=(1, 2)))
        f.n_taps, f.n_levels, f.n_smooth = len(op.taps), lags.n_levels, len(lags.smooth)
        f.smooth = _at(memory.array(lags.smooth, np.float32))
        depths = [lags.depth(level) for level in range(lags.n_levels)]
        if op.hidden is not None:  # the networks' encoder looks at the stream itself
            depths[0] = max(depths[0], op.hidden.taps.shape[1])
        f.levels = memory.structures([self._ring(depth, f.n_in) for depth in depths])
        f.n_segments = len(lags.segments)
        f.segments = memory.structures(
            [
                Segment(
                    part.first,
                    part.stride,
                    part.taps.shape[1],
                    _at(memory.array(part.taps, np.float32)),
                    f.levels + part.level * ctypes.sizeof(Ring),
                )
                for part in lags.segments
            ]
        )
        near = _near(lags.segments)
        self._near_taps = np.array([part.taps[:, place] for _, part, place in near])
        self._weights = memory.zeros((f.n_taps, f.n_in, f.width_out))
        self._near = memory.zeros((len(near), f.n_in, f.width_out))
        self.use(self.laid_out(op.weights))
        f.n_near = len(near)
        f.near = memory.structures(
            [
                NearLag(lag, f.levels + part.level * ctypes.sizeof(Ring), _at(weights))
                for (lag, part, _), weights in zip(near, self._near, strict=True)
            ]
        )
        bias = memory.zeros((f.width_out,))
        bias[: op.n_out] = op.bias[0]
        f.weights, f.bias = _at(self._weights), _at(bias)

    def _by_tap(self, weights: FloatArray) -> FloatArray:
        op = self._operator
        return weights[0].T.reshape(len(op.taps), op.n_ld, op.n_out)

    def laid_out(self, weights: FloatArray) -> tuple[Float32Array, ...]:
        """Linear weights, shape (1, n_out, n_taps * n_ld), as the library reads them."""
        op, by_tap = self._operator, self._by_tap(weights)
        found = np.zeros(self._weights.shape, np.float32), np.zeros(self._near.shape, np.float32)
        found[0][:, : op.n_ld, : op.n_out] = by_tap
        found[1][:, : op.n_ld, : op.n_out] = np.tensordot(self._near_taps, by_tap, axes=1)
        return found

    def use(self, arrays: tuple[Float32Array, ...]) -> None:
        """Render with these linear weights from the next sample on."""
        self._weights[...], self._near[...] = arrays
        self._struct.n_prepared = 0

    def _hidden(self, hidden: PackedHidden) -> None:
        f, memory = self._struct, self._memory
        n_nets, n_units, _ = hidden.blocks[0].weight.shape
        f.n_nets, f.n_units, f.relu = n_nets, padded(n_units), hidden.activation == "relu"
        f.width, f.n_blocks = f.n_nets * f.n_units, len(hidden.blocks)
        f.n_encoder, f.n_encoder_lags = hidden.taps.shape
        f.encoder = _at(memory.array(hidden.taps, np.float32))
        weight, bias = hidden.layers[0]
        n_ld = self._operator.n_ld
        first = memory.zeros((f.n_encoder, f.n_in, f.n_nets, f.n_units))
        by_tap = weight.T.reshape(f.n_encoder, n_ld, n_nets, n_units)
        first[:, :n_ld, :, :n_units] = by_tap
        f.first, f.first_bias = _at(first), _at(self._by_net(bias, n_nets))
        units = dense(np.zeros((1, weight.shape[1])), weight, bias)
        parts = []
        for block in hidden.blocks:
            parts.append(self._block(block, units[0]))
            units = block.settled(units, hidden.activation)
        f.blocks = memory.structures(parts)
        self._readout(hidden, activate(hidden.activation, units)[0])

    def _readout(self, hidden: PackedHidden, silence: FloatArray) -> None:
        f, memory = self._struct, self._memory
        n_nets, n_units, _ = hidden.blocks[0].weight.shape
        taps, weights = hidden.out_taps, hidden.weights[0]
        if taps.shape == (1, 1):
            weights = weights * taps[0, 0]
        else:
            f.n_read, f.n_read_lags = taps.shape
            f.read_taps = _at(memory.array(taps, np.float32))
            f.units = self._ring(f.n_read_lags, f.width, self._by_net(silence, n_nets))
        n_taps = max(f.n_read, 1)
        readout = memory.zeros((n_taps, n_nets, f.n_units, f.width_out))
        by_unit = weights.T.reshape(n_taps, n_nets, n_units, len(weights))
        readout[:, :, :n_units, : len(weights)] = by_unit
        f.readout = _at(readout)

    def _block(self, block: DilatedBlock, silence: FloatArray) -> Dilated:
        n_nets, n_units, _ = block.weight.shape
        size = (n_nets, padded(n_units), padded(n_units))
        old, now, mix = (self._memory.zeros(size) for _ in range(3))
        old[:, :n_units, :n_units] = block.weight[:, :, :n_units].swapaxes(1, 2)
        now[:, :n_units, :n_units] = block.weight[:, :, n_units:].swapaxes(1, 2)
        mix[:, :n_units, :n_units] = block.mix.swapaxes(1, 2)
        prepared = self._memory.zeros((BLOCK, self._struct.width))
        rows = self._ring(block.dilation + 1, self._struct.width, self._by_net(silence, n_nets))
        return Dilated(
            block.dilation,
            _at(old),
            _at(now),
            _at(self._by_net(block.bias, n_nets)),
            _at(mix),
            _at(self._by_net(block.mix_bias, n_nets)),
            _at(prepared),
            rows,
        )

    def _by_net(self, values: Samples, n_nets: int) -> Float32Array:
        """Units of every network padded to whole vectors, shape (width,)."""
        wide = self._memory.zeros((n_nets, self._struct.n_units))
        wide[:, : len(values) // n_nets] = values.reshape(n_nets, -1)
        return wide.reshape(-1)

    def _ring(self, n_context: int, width: int, silence: Float32Array | None = None) -> Ring:
        size = n_context + BLOCK
        rows = self._memory.zeros((2 * size, width))
        self._rings.append((rows, np.zeros(width) if silence is None else silence))
        return Ring(_at(rows), size, width)

    def _scratch(self) -> None:
        f = self._struct
        sizes = {
            "x": BLOCK * f.n_in,
            "z": BLOCK * max(f.n_taps * f.n_in, f.n_encoder * f.n_in, f.n_read * f.width),
            "h": BLOCK * f.width,
            "inner": BLOCK * f.width,
            "out": BLOCK * f.width_out,
            "prepared": BLOCK * f.width_out,
        }
        for name, size in sizes.items():
            setattr(f, name, _at(self._memory.zeros((size,))))


def _near(segments: Sequence[LagSegment]) -> list[tuple[int, LagSegment, int]]:
    """Lags that a block may hold itself, rising: each with its segment and its place there."""
    lags = [(s.first + k * s.stride, s, k) for s in segments for k in range(s.taps.shape[1])]
    return sorted((lag for lag in lags if lag[0] < BLOCK), key=lambda lag: lag[0])


def _at(values: NDArray[np.generic]) -> int:
    return int(values.ctypes.data)


def _check(op: PackedOperator) -> None:
    """Only what serving meets: the ``stream`` anchor, and networks with memory."""
    hidden = op.hidden
    known = op.n_positions == 1 and (hidden is None or bool(hidden.blocks))
    if not known or op.n_ld > _WIDEST:
        raise EngineError(
            "engine native: renders stream fields whose networks have dilated blocks or none, "
            f"up to {_WIDEST} LD channels; this one is another. Use --engine packed."
        )
