"""Front end and field in one compiled call: what a sample costs when nothing is amiss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emag_rt.frontend import FrontEnd
from emag_rt.native import BLOCK, Memory, NativeField, load

Float32 = NDArray[np.float32]


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
        self._shape = (BLOCK, frontend.n_inputs)
        self._samples = self._memory.zeros(self._shape, np.float64)
        self._hd = self._memory.zeros((BLOCK, field.n_out))
        self._addresses = (self._samples.ctypes.data, self._hd.ctypes.data)

    def push(self, chunk: NDArray[Any]) -> Float32 | None:
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
        n = len(chunk)
        if not 0 < n <= BLOCK or chunk.shape != (n, self._shape[1]):
            return None
        native = self._frontend.plain(n)
        if native is None:
            return None
        self._samples[:n] = chunk
        samples, hd = self._addresses
        raw, filtered = native.places()
        if not self._step(native.address, self._field.address, samples, n, raw, filtered, hd):
            return None
        self._frontend.took(n)
        self._field.alone = n == 1
        return self._hd[:n].copy()
