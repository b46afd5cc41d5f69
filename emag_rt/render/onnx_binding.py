"""One sample through ONNX Runtime with its input and output bound where the graph runs.

A plain ``session.run`` on a GPU allocates and copies on every call. Bound tensors are made once;
only the newest rows are written over the old ones, in place, and a captured CUDA graph can then
replay on the same addresses. (Inputs bound on the CPU would be copied at capture alone.)
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from emag_rt.array_types import Float32Array
from emag_rt.core.folding import PackedOperator
from emag_rt.errors import EngineError

Feeds = dict[str, NDArray[np.generic]]
"""What a graph is given: arrays by the names of its inputs."""


class BoundSample:
    """One output sample from the rows it needs, through bound tensors.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of the folded graph; with CUDA graphs enabled it must run nothing else.
    operator : PackedOperator
        What the graph holds.
    device : {"cuda", "cpu"}
        Where the session runs.

    Raises
    ------
    Exception
        ONNX Runtime's own, when something cannot be bound or run.
    """

    def __init__(
        self, session: ort.InferenceSession, operator: PackedOperator, device: str
    ) -> None:
        self._session = session
        rows = np.zeros((operator.n_context + 1, operator.n_ld), dtype=np.float32)
        # Number 0: sessions are made on the first GPU that the process sees.
        self._ld = ort.OrtValue.ortvalue_from_numpy(rows, device, 0)
        self._hd = ort.OrtValue.ortvalue_from_numpy(
            np.zeros((1, operator.n_out), dtype=np.float32), device, 0
        )
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("ld", self._ld)
        self._binding.bind_ortvalue_output("hd", self._hd)
        self._position = None
        if operator.n_positions > 1:
            place = np.zeros(1, dtype=np.int64)
            self._position = ort.OrtValue.ortvalue_from_numpy(place, device, 0)
            self._binding.bind_ortvalue_input("position", self._position)

    def run(self, feeds: Feeds) -> Float32Array:
        """Render.

        Parameters
        ----------
        feeds : dict
            ``ld`` (n_context + 1, n_ld), float32, contiguous; for a window also ``position``
            (1,), int64.

        Returns
        -------
        ndarray, shape (1, n_out), float32
            The caller's own.
        """
        self._ld.update_inplace(feeds["ld"])
        if self._position is not None:
            self._position.update_inplace(feeds["position"])
        self._session.run_with_iobinding(self._binding)
        return np.array(self._hd.numpy(), dtype=np.float32)

    def check(self, plain: ort.InferenceSession, operator: PackedOperator) -> None:
        """Compare with plain runs, on other numbers each time.

        A captured graph that does not see its new input would pass any single comparison.

        Raises
        ------
        EngineError
            If an answer differs.
        """
        rng = np.random.default_rng(0)
        for i in range(4):
            rows = 10 * rng.standard_normal((operator.n_context + 1, operator.n_ld))
            feeds: Feeds = {"ld": rows.astype(np.float32)}
            if self._position is not None:
                feeds["position"] = np.array([i % operator.n_positions], dtype=np.int64)
            (wanted,) = plain.run(None, feeds)
            error = float(np.abs(self.run(feeds) - wanted).max())
            if not error <= 1e-4 * float(np.abs(wanted).max()) + 1e-6:
                raise EngineError(f"bound tensors gave another answer, off by {error:.1e} µV")
