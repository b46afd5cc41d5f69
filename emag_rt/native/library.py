"""Loading the compiled library, and its structures: a mirror of ``kernel.c``."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PADDING = 16
"""Rows of channels and units are padded to multiples of so many floats."""
BLOCK = 32
"""Samples that the library works on together."""
_FOLDER = Path(__file__).parent
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
_SOURCE, _HOOK = _FOLDER / "kernel.c", _FOLDER / "build_hook.py"
_I, _P = ctypes.c_int64, ctypes.c_void_p


class Ring(ctypes.Structure):
    """``ring``: rows of a stream, each written twice."""

    _fields_ = (("rows", _P), ("size", _I), ("width", _I))


class FrontEndStruct(ctypes.Structure):
    """``front_end``."""

    _fields_ = (
        *((name, _I) for name in ("n_inputs", "n_ld", "n_sections")),
        *((name, _P) for name in ("columns", "gains", "sections", "state", "offset", "last")),
        ("rail", ctypes.c_double),
        ("step", ctypes.c_double),
    )


class Segment(ctypes.Structure):
    """``segment``: lags at one stride."""

    _fields_ = (("first", _I), ("stride", _I), ("n_lags", _I), ("taps", _P), ("rows", _P))


class NearLag(ctypes.Structure):
    """``near_lag``: what one of the newest samples counts."""

    _fields_ = (("lag", _I), ("rows", _P), ("weights", _P))


class Dilated(ctypes.Structure):
    """``dilated``: one block of the networks."""

    _fields_ = (
        ("dilation", _I),
        *((name, _P) for name in ("old", "now", "bias", "mix", "mix_bias", "prepared")),
        ("rows", Ring),
    )


class FieldStruct(ctypes.Structure):
    """``field``."""

    _fields_ = (
        *((name, _I) for name in ("n_ld", "n_in", "n_out", "width_out", "n_taps")),
        *((name, _I) for name in ("n_segments", "n_levels", "n_smooth")),
        *((name, _P) for name in ("segments", "levels", "smooth", "weights", "bias")),
        ("n_near", _I),
        ("near", _P),
        ("n_measured", _I),
        *((name, _P) for name in ("rows", "columns")),
        ("look_ahead", _I),
        ("delay", _P),
        *((name, _I) for name in ("n_blocks", "n_nets", "n_units", "relu", "width")),
        *((name, _I) for name in ("n_encoder", "n_encoder_lags")),
        *((name, _P) for name in ("encoder", "first", "first_bias", "blocks")),
        *((name, _I) for name in ("n_read", "n_read_lags")),
        ("read_taps", _P),
        ("units", Ring),
        ("readout", _P),
        *((name, _P) for name in ("x", "z", "h", "inner", "out", "prepared")),
        *((name, _I) for name in ("time", "n_prepared")),
    )


def library_path(level: int) -> Path:
    """Where installing the package puts the library for a level of the CPU.

    The name tells what it was compiled from, so a library left from other source is not found.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes() + _HOOK.read_bytes()).hexdigest()[:12]
    return _FOLDER / f"_kernel-{digest}-{level}{SUFFIX}"


@functools.cache
def load() -> ctypes.CDLL | str:
    """The library for this CPU, or why it cannot be used."""
    if os.environ.get("EMAG_RT_NATIVE") == "0":
        return "switched off by EMAG_RT_NATIVE=0"
    try:
        path = library_path(1)
        if not path.exists():
            return (
                "is not compiled for this source: there was no C compiler (gcc or clang) when "
                "emag_rt was installed, or the source has changed since. With a compiler, install "
                "emag_rt again"
            )
        lib = _open(path)
        wider = library_path(lib.emag_cpu_level())
        lib = _open(wider) if wider.exists() else lib
    except (OSError, AttributeError) as error:
        return f"cannot be loaded ({error}). Install emag_rt again"
    if lib.emag_layout() != _layout():
        return "was compiled with another layout of its structures. Install emag_rt again"
    return lib


def _layout() -> int:
    sizes = (ctypes.sizeof(FieldStruct), ctypes.sizeof(FrontEndStruct))
    return sizes[0] << 32 | sizes[1] << 16 | BLOCK << 8 | PADDING


def _open(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    lib.emag_cpu_level.restype = lib.emag_layout.restype = _I
    lib.emag_filter.argtypes = (_P, _P, _I, _I, _P, _P, _P)
    lib.emag_filter.restype = _I
    lib.emag_render.argtypes = (_P, _P, _I, _P)
    lib.emag_render.restype = None
    lib.emag_step.argtypes = (_P, _P, _P, _I, _P, _P, _P)
    lib.emag_step.restype = _I
    lib.emag_prepare.argtypes = (_P, _I)
    lib.emag_prepare.restype = None
    return lib


def why_not() -> str:
    """Why the compiled library is not used; an empty string where it is."""
    found = load()
    return found if isinstance(found, str) else ""


def padded(n: int) -> int:
    """The next multiple of PADDING."""
    return -(-n // PADDING) * PADDING


class Memory:
    """Arrays that a structure points to: kept alive together, aligned to cache lines."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def array(self, values: NDArray[Any] | Iterable[Any], dtype: DTypeLike) -> NDArray[Any]:
        """A contiguous copy of ``values``."""
        given = np.asarray(values, dtype=dtype)
        copy = self.zeros(given.shape, dtype)
        copy[...] = given
        return copy

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Zeros."""
        kind = np.dtype(dtype)
        n_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        raw = np.zeros(n_bytes + 64, dtype=np.uint8)
        start = -raw.ctypes.data % 64
        values = raw[start : start + n_bytes].view(kind).reshape(shape)
        self._kept.append(values)
        return values

    def structures(self, values: list[Any]) -> int:
        """Address of structures behind each other."""
        if not values:
            return 0
        block = (type(values[0]) * len(values))(*values)
        self._kept.append(block)
        return ctypes.addressof(block)
