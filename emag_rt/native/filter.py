"""The usual case of the front end in compiled code: every channel good for a number."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from emag_rt.array_types import FloatArray, Samples
from emag_rt.errors import EngineError
from emag_rt.native.library import FrontEndStruct, Memory, load


class NativeFilter:
    """Select, convert, check and filter a chunk in one call, on arrays that NumPy works on too.

    The arrays are kept, read and written in place; between two calls others may change them.

    Parameters
    ----------
    n_inputs : int
        Columns of the chunks.
    columns : sequence of int
        Column of each LD channel.
    gains : ndarray, shape (n_ld,), float64
        To µV.
    sos : ndarray, shape (n_sections, 6), float64
        Filter; copied.
    state : ndarray, shape (2 * n_sections, n_ld), float64
        Of the filter, in transposed direct form II.
    offset, last : ndarray, shape (n_ld,), float64
        What is taken off each channel, and its newest raw value, µV.
    raw, filtered : ndarray, shape (n_block, n_ld), float64
        Block of samples before and after the filter, written to.
    rail_uv, jump_uv : float
        Samples beyond the first, or further than the second from the one before, are not taken.

    Attributes
    ----------
    address, raw_address, filtered_address, row_bytes : int
        Of the structure and of the block, for this package alone.
    n_inputs, n_rows : int
        Columns of the chunks; rows of the block.

    Raises
    ------
    EngineError
        If the library is not there.
    """

    def __init__(
        self,
        n_inputs: int,
        columns: Sequence[int],
        gains: FloatArray,
        *,
        sos: FloatArray,
        state: FloatArray,
        offset: FloatArray,
        last: FloatArray,
        raw: FloatArray,
        filtered: FloatArray,
        rail_uv: float,
        jump_uv: float,
    ) -> None:
        lib = load()
        if isinstance(lib, str):
            raise EngineError(f"compiled filter: {lib}.")
        for shared in (state, offset, last, raw, filtered):
            assert shared.flags.c_contiguous
            assert shared.dtype == np.float64
        self._filter = lib.emag_filter
        self.n_inputs, self._n_ld, self.n_rows = n_inputs, len(columns), len(raw)
        self._memory = Memory()
        self._shared = (state, offset, last, raw, filtered)
        self._struct = FrontEndStruct(
            n_inputs=n_inputs,
            n_ld=self._n_ld,
            n_sections=len(sos),
            columns=self._memory.array(columns, np.int64).ctypes.data,
            gains=self._memory.array(gains, np.float64).ctypes.data,
            sections=self._memory.array(sos[:, [0, 1, 2, 4, 5]], np.float64).ctypes.data,
            state=state.ctypes.data,
            offset=offset.ctypes.data,
            last=last.ctypes.data,
            rail=rail_uv,
            step=jump_uv,
        )
        self.address = ctypes.addressof(self._struct)
        self.raw_address, self.filtered_address = raw.ctypes.data, filtered.ctypes.data
        self.row_bytes = raw.strides[0]

    def process(self, chunk: Samples, at: int) -> FloatArray | None:
        """Filter a chunk, once all channels have started.

        Parameters
        ----------
        chunk : ndarray, shape (n_times, n_inputs)
            Raw samples.
        at : int
            Row of the block that the first of them goes to.

        Returns
        -------
        ndarray, shape (n_times, n_ld), float64, or None
            Filtered, µV. None, and nothing has changed, for a sample that is not finite,
            beyond the rail, or a jump away from the one before, and where the block ends.
        """
        n = len(chunk)
        if not 0 <= at <= self.n_rows - n:
            return None
        is_float = chunk.dtype == np.float32
        chunk = np.ascontiguousarray(chunk, None if is_float else np.float64)
        out = np.empty((n, self._n_ld))
        offset = at * self.row_bytes
        done = self._filter(
            self.address,
            chunk.ctypes.data,
            is_float,
            n,
            self.raw_address + offset,
            self.filtered_address + offset,
            out.ctypes.data,
        )
        return out if done else None
