"""Writing ONNX messages: the few fields of ``onnx.proto`` that a folded graph needs.

Loading a bundle writes its graph anew and compares (:mod:`emag_rt.bundle.archive`), on serving
machines too, which shall not need the ``onnx`` package. The bytes are those that package gives;
a test compares. Field numbers are those of ``onnx.proto`` (they never change).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emag_rt.errors import BundleError

FLOAT, INT64 = 1, 7
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
_INT, _INTS = 2, 7  # AttributeProto.AttributeType
_LARGEST = 2**31 - 1


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as their two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _data(field: int, value: bytes | str) -> bytes:
    blob = value.encode() if isinstance(value, str) else value
    return b"".join((_varint(field << 3 | 2), _varint(len(blob)), blob))


def node(
    op: str,
    inputs: Sequence[str],
    output: str,
    name: str,
    attributes: Mapping[str, int | Sequence[int]],
) -> bytes:
    """A ``NodeProto`` of the default domain, whose attributes are whole numbers or lists."""
    parts = [*(_data(1, one) for one in inputs), _data(2, output), _data(3, name), _data(4, op)]
    for key, value in sorted(attributes.items()):
        if isinstance(value, int):
            content = _number(3, value) + _number(20, _INT)
        else:
            content = b"".join(_number(8, one) for one in value) + _number(20, _INTS)
        parts.append(_data(5, _data(1, key) + content))
    return b"".join(parts)


def tensor(name: str, values: NDArray[np.generic]) -> bytes:
    """A ``TensorProto`` that holds float32 or int64 values in itself; at least one-dimensional."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    dims = b"".join(_number(1, n) for n in little.shape)
    return dims + _number(2, _TYPES[values.dtype]) + _data(8, name) + _data(9, little.tobytes())


def value_info(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """A ``ValueInfoProto``: a tensor whose lengths are numbers, or names of free ones."""
    dims = [_data(2, n) if isinstance(n, str) else _number(1, n) for n in shape]
    described = _number(1, kind) + _data(2, b"".join(_data(1, dim) for dim in dims))
    return _data(1, name) + _data(2, _data(1, described))


def model(
    name: str,
    nodes: Sequence[bytes],
    constants: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    notes: Mapping[str, str],
    *,
    opset: int,
    ir_version: int,
) -> bytes:
    """A ``ModelProto`` around one graph.

    Raises
    ------
    BundleError
        If it would be larger than protobuf allows.
    """
    size = sum(len(part) for part in constants)
    if size > _LARGEST - (1 << 24):
        raise BundleError(f"render.onnx must stay below 2 GiB, got {size >> 20} MiB of weights.")
    graph = b"".join(
        (
            *(_data(1, part) for part in nodes),
            _data(2, name),
            *(_data(5, part) for part in constants),
            *(_data(11, part) for part in inputs),
            *(_data(12, part) for part in outputs),
        )
    )
    metadata = (_data(14, _data(1, key) + _data(2, text)) for key, text in notes.items())
    opsets = _data(8, _data(1, "") + _number(2, opset))
    return b"".join((_number(1, ir_version), _data(2, name), _data(7, graph), opsets, *metadata))
