"""Front end and field in one compiled call: what a sample costs when nothing is amiss."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, Samples
from emag_rt.errors import EngineError
from emag_rt.native.field import NativeField
from emag_rt.native.filter import NativeFilter
from emag_rt.native.library import BLOCK, Memory, load


class FusedCall:
    """Takes a few good samples from raw to rendered, on the state of the two stages.

    Every array of NumPy costs microseconds after a sleep, so memory and addresses are made once.

    Parameters
    ----------
    stage : NativeFilter
        First stage.
    field : NativeField
        Second stage.

    Raises
    ------
    EngineError
        If the library is not there.
    """

    def __init__(self, stage: NativeFilter, field: NativeField) -> None:
        lib = load()
        if isinstance(lib, str):
            raise EngineError(f"engine native: {lib}; or use --engine packed.")
        self._call = lib.emag_step
        self._front_end, self._field = stage, field
        self._memory = Memory()
        self._samples = self._memory.zeros((BLOCK, stage.n_inputs), np.float64)
        self._hd = self._memory.zeros((BLOCK, field.n_out))
        # Views of every length, so that none is made for a sample.
        self._parts = [(self._samples[:n], self._hd[:n]) for n in range(BLOCK + 1)]
        self._addresses = (self._samples.ctypes.data, self._hd.ctypes.data)

    def push(self, chunk: Samples, at: int) -> Float32Array | None:
        """Filter and render, once all channels have started.

        Parameters
        ----------
        chunk : ndarray, shape (n_times, n_inputs)
            Raw samples.
        at : int
            Row of the front end's block that the first of them goes to.

        Returns
        -------
        ndarray, shape (n_times, n_out), float32, or None
            µV. None, and nothing has changed, for a chunk that is too long, of another shape,
            or holds samples that :meth:`NativeFilter.process` does not take.
        """
        n, n_inputs = chunk.shape if chunk.ndim == 2 else (0, 0)
        stage = self._front_end
        if not 0 < n <= BLOCK or n_inputs != stage.n_inputs or n > stage.n_rows - at:
            return None
        here, hd_here = self._parts[n]
        here[...] = chunk
        samples, hd = self._addresses
        offset = at * stage.row_bytes
        if not self._call(
            stage.address,
            self._field.address,
            samples,
            n,
            stage.raw_address + offset,
            stage.filtered_address + offset,
            hd,
        ):
            return None
        self._field.took(n)
        return hd_here.copy()
