"""Front end and field in one compiled call: what a sample costs when nothing is amiss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import Float32Array
from emag_rt.frontend import FrontEnd
from emag_rt.native import BLOCK, Memory, NativeField, load


class QuickStep:
    """Takes a few good samples from raw to rendered, on the state of the two stages.

    Every array of NumPy costs microseconds after a sleep, so memory and addresses are made once.

    Parameters
    ----------
    frontend : FrontEnd
        First stage.
    field : NativeField
        Second stage.
    """

    def __init__(self, frontend: FrontEnd, field: NativeField) -> None:
        lib = load()
        assert not isinstance(lib, str), "a field is there, so the library is"
        self._step = lib.emag_step
        self._frontend, self._field = frontend, field
        self._memory = Memory()
        self._n_inputs = frontend.n_inputs
        self._samples = self._memory.zeros((BLOCK, frontend.n_inputs), np.float64)
        self._hd = self._memory.zeros((BLOCK, field.n_out))
        # Views of every length, so that none is made for a sample.
        self._parts = [(self._samples[:n], self._hd[:n]) for n in range(BLOCK + 1)]
        self._addresses = (self._samples.ctypes.data, self._hd.ctypes.data)

    def push(self, chunk: NDArray[Any]) -> Float32Array | None:
        """Filter and render.

        Parameters
        ----------
        chunk : ndarray, shape (n_times, n_inputs)
            Raw samples.

        Returns
        -------
        ndarray, shape (n_times, n_out), float32, or None
            µV. None, and nothing has changed, for a chunk that is not plain: too long, of
            another shape, with samples that are not good, or while channels are bad.
        """
        n, n_inputs = chunk.shape if chunk.ndim == 2 else (0, 0)
        if not 0 < n <= BLOCK or n_inputs != self._n_inputs:
            return None
        native = self._frontend.plain(n)
        if native is None:
            return None
        here, hd_here = self._parts[n]
        here[...] = chunk
        samples, hd = self._addresses
        raw, filtered = native.places()
        if not self._step(native.address, self._field.address, samples, n, raw, filtered, hd):
            return None
        native.took(n)
        self._field.took(n)
        return hd_here.copy()
