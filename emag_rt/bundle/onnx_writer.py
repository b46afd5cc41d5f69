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


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte."""
    value &= (1 << 64) - 1  # negative numbers are written as their two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def framed(field: int, value: bytes | str) -> bytes:
    """A field that holds bytes, text or another message."""
    blob = value.encode() if isinstance(value, str) else value
    return b"".join((varint(field << 3 | 2), varint(len(blob)), blob))


def node(
    op: str,
    inputs: Sequence[str],
    output: str,
    name: str,
    attributes: Mapping[str, int | Sequence[int]],
) -> bytes:
    """A ``NodeProto`` of the default domain, whose attributes are whole numbers or lists."""
    parts = [*(framed(1, one) for one in inputs), framed(2, output), framed(3, name), framed(4, op)]
    for key, value in sorted(attributes.items()):
        if isinstance(value, int):
            content = _number(3, value) + _number(20, _INT)
        else:
            content = b"".join(_number(8, one) for one in value) + _number(20, _INTS)
        parts.append(framed(5, framed(1, key) + content))
    return b"".join(parts)


def tensor(name: str, values: NDArray[np.generic]) -> bytes:
    """A ``TensorProto`` that holds float32 or int64 values in itself; at least one-dimensional."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    dims = b"".join(_number(1, n) for n in little.shape)
    return dims + _number(2, _TYPES[values.dtype]) + framed(8, name) + framed(9, little.tobytes())


def value_info(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """A ``ValueInfoProto``: a tensor whose lengths are numbers, or names of free ones."""
    dims = [framed(2, n) if isinstance(n, str) else _number(1, n) for n in shape]
    described = _number(1, kind) + framed(2, b"".join(framed(1, dim) for dim in dims))
    return framed(1, name) + framed(2, framed(1, described))


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
            *(framed(1, part) for part in nodes),
            framed(2, name),
            *(framed(5, part) for part in constants),
            *(framed(11, part) for part in inputs),
            *(framed(12, part) for part in outputs),
        )
    )
    metadata = (framed(14, framed(1, key) + framed(2, text)) for key, text in notes.items())
    opsets = framed(8, framed(1, "") + _number(2, opset))
    return b"".join((_number(1, ir_version), framed(2, name), framed(7, graph), opsets, *metadata))
