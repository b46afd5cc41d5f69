"""The usual case of the front end in compiled code: every channel good for a number."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import FloatArray
from emag_rt.frontend.bad_channels import BadChannelMonitor
from emag_rt.frontend.filters import CausalFilter
from emag_rt.native import FrontEndStruct, Memory, load


class NativeFilter:
    """Select, convert, check and filter a chunk in one call, on the state of the NumPy stages.

    Parameters
    ----------
    lib : ctypes.CDLL
        The compiled library.
    stage : CausalFilter
        Whose state is carried on; it may be used in between.
    monitor : BadChannelMonitor
        Gets the samples, as by :meth:`BadChannelMonitor.add`.
    n_inputs : int
        Columns of the chunks.
    columns : sequence of int
        Column of each LD channel.
    gains : ndarray, shape (n_ld,), float64
        To µV.

    Attributes
    ----------
    address : int
        Of the structure that the library works on.
    """

    def __init__(
        self,
        lib: ctypes.CDLL,
        stage: CausalFilter,
        monitor: BadChannelMonitor,
        n_inputs: int,
        columns: Sequence[int],
        gains: FloatArray,
    ) -> None:
        self._lib, self._monitor = lib, monitor
        self._n_ld = len(columns)
        self._row_bytes = monitor.raw.strides[0]
        memory = Memory()
        self._struct = FrontEndStruct(
            n_inputs=n_inputs,
            n_ld=self._n_ld,
            n_sections=len(stage.sos),
            columns=memory.array(columns, np.int64).ctypes.data,
            gains=memory.array(gains, np.float64).ctypes.data,
            sections=memory.array(stage.sos[:, [0, 1, 2, 4, 5]], np.float64).ctypes.data,
            state=stage.state.ctypes.data,
            offset=stage.offset.ctypes.data,
            last=stage.last.ctypes.data,
            rail=monitor.rail_uv,
            step=monitor.step_uv,
        )
        self._kept = (memory, stage)
        self.address = ctypes.addressof(self._struct)
        self._raw, self._filtered = monitor.raw.ctypes.data, monitor.filtered.ctypes.data

    def places(self) -> tuple[int, int]:
        """Addresses of the monitor's next row, raw and filtered."""
        offset = self._monitor.filled * self._row_bytes
        return self._raw + offset, self._filtered + offset

    def took(self, n_times: int) -> None:
        """Samples went through, by this object or by who works on its structure."""
        self._monitor.took(n_times)

    def process(self, chunk: NDArray[Any]) -> FloatArray | None:
        """Filter at most ``monitor.room`` samples, once all channels have started.

        Parameters
        ----------
        chunk : ndarray, shape (n_times, n_inputs)
            Raw samples.

        Returns
        -------
        ndarray, shape (n_times, n_ld), float64, or None
            Filtered, µV. None, and nothing has changed, for a sample that is not finite,
            beyond the rail, or a jump away from the one before.
        """
        is_float = chunk.dtype == np.float32
        chunk = np.ascontiguousarray(chunk, None if is_float else np.float64)
        n = len(chunk)
        out = np.empty((n, self._n_ld))
        raw, filtered = self.places()
        done = self._lib.emag_filter(
            self.address, chunk.ctypes.data, is_float, n, raw, filtered, out.ctypes.data
        )
        if not done:
            return None
        self.took(n)
        return out


def make_native(
    stage: CausalFilter,
    monitor: BadChannelMonitor,
    n_inputs: int,
    columns: Sequence[int],
    gains: FloatArray,
) -> NativeFilter | None:
    """The compiled path, where the library is there; arguments as for :class:`NativeFilter`."""
    lib = load()
    if isinstance(lib, str):
        return None
    return NativeFilter(lib, stage, monitor, n_inputs, columns, gains)
