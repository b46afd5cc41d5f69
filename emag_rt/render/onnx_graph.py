"""The folded operator as an ONNX graph, written node by node: no exporter, no opset surprises.

``ld`` (n_context + n_times, n_ld), filtered LD in µV in the input's reference, gives ``hd``
(n_times, n_out) in µV in the same reference. Row i of ``hd`` belongs to row
``i + n_context - look_ahead`` of ``ld``. The graph is stateless. A ``window`` field has a
second input ``position`` (n_times,), int64: the place of each output row in its window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emag_rt.array_types import Float32Array, IntArray, Samples
from emag_rt.core.activation import Activation
from emag_rt.core.dilated import Blocks, memory_of
from emag_rt.core.folding import PackedHidden, PackedOperator
from emag_rt.errors import EngineError

OPSET = 17
IR_VERSION = 8
_END = int(np.iinfo(np.int64).max)
_MOST_BYTES = 2**31 - (1 << 24)
"""Of weights: protobuf holds 2 GiB in all."""


class _Builder:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.n_bytes = 0

    def add(self, op: str, inputs: Sequence[str], **attributes: int | Sequence[int]) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def const(self, values: Float32Array | IntArray) -> str:
        name = f"const_{len(self.constants)}"
        self.n_bytes += values.nbytes
        if self.n_bytes > _MOST_BYTES:
            raise EngineError(
                f"an ONNX graph must stay below 2 GiB, got {self.n_bytes >> 20} MiB of "
                "weights. Render fewer electrodes, or take --engine packed."
            )
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def f32(self, values: Samples) -> str:
        return self.const(values.astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, dtype=np.int64))

    def rows(self, x: str, start: int, stop: int, axis: int = 0) -> str:
        """Rows from ``start`` to ``stop`` (negative: from the end; 0: to the end)."""
        end = stop if stop else _END
        return self.add("Slice", [x, self.ints(start), self.ints(end), self.ints(axis)])


def build_graph(
    operator: PackedOperator,
    measured: Sequence[tuple[int, int]],
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """Write the graph, and have it checked by the ``onnx`` package.

    Parameters
    ----------
    operator : PackedOperator
        The folded field.
    measured : sequence of (int, int)
        Output rows that pass an LD column through.
    notes : mapping of str to str, optional
        Metadata beside ``n_context``, ``look_ahead``, ``n_window`` (1 but for a ``window`` field)
        and ``unit``.

    Returns
    -------
    bytes
        A serialised ``ModelProto``, opset 17, weights inside.

    Raises
    ------
    EngineError
        If it would be larger than protobuf allows.
    """
    g = _Builder()
    mean = g.add("ReduceMean", ["ld"], axes=[1], keepdims=1)
    centred = g.add("Sub", ["ld", mean])
    by_channel = g.add("Transpose", [centred], perm=[1, 0])
    z = _fir(g, by_channel, operator.taps, operator.n_context, operator.n_ld)
    out = g.add("Add", [_read_out(g, z, operator.weights), _bias(g, operator.bias)])
    if operator.hidden is not None:
        branch = _hidden(g, by_channel, operator, operator.hidden)
        out = g.add("Add", [out, branch])
    first = operator.n_context - operator.look_ahead
    out = g.add("Add", [out, g.rows(mean, first, -operator.look_ahead)])
    if measured:
        ld_now = g.rows("ld", first, -operator.look_ahead)
        index = np.arange(operator.n_out, dtype=np.int64)
        for row, column in measured:
            index[row] = operator.n_out + column
        both = g.add("Concat", [out, ld_now], axis=1)
        out = g.add("Gather", [both, g.const(index)], axis=1)
    g.nodes.append(helper.make_node("Identity", [out], ["hd"], "hd"))
    return _serialise(g, operator, notes or {})


def _fir(g: _Builder, by_channel: str, taps: Samples, n_before: int, n_channels: int) -> str:
    """Filter rows of (n_channels, n_before + n) and give (n, n_taps * n_channels), tap-major."""
    n_taps, n_lags = taps.shape
    tail = g.rows(by_channel, n_before - n_lags + 1, 0, axis=1)
    batch = g.add("Unsqueeze", [tail, g.ints(1)])
    kernel = taps[:, None, ::-1]  # Conv correlates: the newest sample comes last
    filtered = g.add("Conv", [batch, g.f32(kernel)])
    by_time = g.add("Transpose", [filtered], perm=[2, 1, 0])
    return g.add("Reshape", [by_time, g.ints(-1, n_taps * n_channels)])


def _read_out(g: _Builder, z: str, weights: Samples) -> str:
    if len(weights) == 1:
        return g.add("MatMul", [z, g.f32(weights[0].T)])
    own = g.add("Gather", [g.f32(weights), "position"], axis=0)
    column = g.add("Unsqueeze", [z, g.ints(2)])
    return g.add("Squeeze", [g.add("MatMul", [own, column]), g.ints(2)])


def _bias(g: _Builder, bias: Samples) -> str:
    if len(bias) == 1:
        return g.f32(bias)
    return g.add("Gather", [g.f32(bias), "position"], axis=0)


def _hidden(g: _Builder, by_channel: str, operator: PackedOperator, hidden: PackedHidden) -> str:
    n_after = hidden.out_taps.shape[1] - 1
    memory = memory_of(hidden.blocks)
    n_before = operator.n_context - n_after - memory
    z = _fir(g, by_channel, hidden.taps, n_before, operator.n_ld)
    if hidden.blocks:
        z = _blocks(g, _layer(g, z, *hidden.layers[0]), hidden.blocks, hidden.activation)
    else:
        for weight, bias in hidden.layers:
            z = _activate(g, hidden.activation, _layer(g, z, weight, bias))
    if hidden.out_taps.shape != (1, 1):
        n_hidden = len(hidden.layers[-1][1])
        z = _fir(g, g.add("Transpose", [z], perm=[1, 0]), hidden.out_taps, n_after, n_hidden)
        return _read_out(g, z, hidden.weights)
    return _read_out(g, z, hidden.weights * hidden.out_taps[0, 0])


def _layer(g: _Builder, z: str, weight: Samples, bias: Samples) -> str:
    if weight.ndim == 2:
        return g.add("Gemm", [z, g.f32(weight.T), g.f32(bias)])
    n_blocks, n_out, n_in = weight.shape
    apart = g.add("Reshape", [z, g.ints(-1, n_blocks, n_in)])
    by_block = g.add("Transpose", [apart], perm=[1, 0, 2])
    product = g.add("MatMul", [by_block, g.f32(weight.swapaxes(1, 2))])
    by_time = g.add("Transpose", [product], perm=[1, 0, 2])
    joined = g.add("Reshape", [by_time, g.ints(-1, n_blocks * n_out)])
    return g.add("Add", [joined, g.f32(bias)])


def _blocks(g: _Builder, z: str, blocks: Blocks, activation: Activation) -> str:
    """Dilated blocks on (n_times, width), see :mod:`emag_rt.core.dilated`; each cuts its memory."""
    n_nets, n_units, _ = blocks[0].weight.shape
    apart = g.add("Reshape", [z, g.ints(-1, n_nets, n_units)])
    h = g.add("Transpose", [apart], perm=[1, 0, 2])  # (n_nets, n_times, n_units)
    for block in blocks:
        newest = g.rows(h, block.dilation, 0, axis=1)
        both = g.add("Concat", [g.rows(h, 0, -block.dilation, axis=1), newest], axis=2)
        bias = g.f32(block.bias.reshape(n_nets, 1, n_units))
        product = g.add("MatMul", [both, g.f32(block.weight.swapaxes(1, 2))])
        inner = _activate(g, activation, g.add("Add", [product, bias]))
        added = g.add("MatMul", [inner, g.f32(block.mix.swapaxes(1, 2))])
        level = g.add("Add", [newest, g.f32(block.mix_bias.reshape(n_nets, 1, n_units))])
        h = g.add("Add", [level, added])
    by_time = g.add("Transpose", [_activate(g, activation, h)], perm=[1, 0, 2])
    return g.add("Reshape", [by_time, g.ints(-1, n_nets * n_units)])


def _activate(g: _Builder, activation: Activation, x: str) -> str:
    if activation == "relu":
        return g.add("Relu", [x])
    inner = g.add("Erf", [g.add("Mul", [x, g.f32(np.array(np.sqrt(0.5)))])])
    half = g.add("Mul", [x, g.f32(np.array(0.5))])
    return g.add("Mul", [half, g.add("Add", [inner, g.f32(np.array(1.0))])])


def _serialise(g: _Builder, operator: PackedOperator, notes: Mapping[str, str]) -> bytes:
    ld = helper.make_tensor_value_info("ld", TensorProto.FLOAT, ["n_rows", operator.n_ld])
    hd = helper.make_tensor_value_info("hd", TensorProto.FLOAT, ["n_times", operator.n_out])
    inputs = [ld]
    if operator.n_positions > 1:
        inputs.append(helper.make_tensor_value_info("position", TensorProto.INT64, ["n_times"]))
    graph = helper.make_graph(g.nodes, "emag_rt", inputs, [hd], g.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="emag_rt"
    )
    own = {
        "n_context": str(operator.n_context),
        "look_ahead": str(operator.look_ahead),
        "n_window": str(operator.n_positions),
        "unit": "µV",
    }
    helper.set_model_props(model, own | dict(notes))
    blob: bytes = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(blob, full_check=True)
    return blob
