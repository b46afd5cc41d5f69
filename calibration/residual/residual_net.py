"""The residual's network in plain arrays: a bag as one, or that of other people, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.regression.profiles import apply_taps
from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.core.activation import Activation
from emag_rt.core.dilated import Blocks, memory_of
from emag_rt.core.drive import run_hidden

Layer = tuple[Float32Array, Float32Array]
_PREDICT_ROWS = 8192


@dataclass(frozen=True)
class ResidualNet:
    """The network, or the bag of them as one, in plain arrays.

    Attributes
    ----------
    kernel : ndarray, shape (n_taps, n_lags), float64
        Taps of the encoder; its lags count from -n_look_ahead.
    layers : tuple of (weight, bias)
        Float32; into the blocks and out of them, weight (n_outputs, n_inputs). The output is
        in µV.
    blocks : tuple of DilatedBlock
        In between.
    n_look_ahead : int
        Samples waited for.
    gains : ndarray, shape (n_out,), float64
        Shrink factor of each output, in [0, 1]; what the network gives is already shrunk.
    split_ratios : tuple of float
        Held-out squared error with the split's network over that without, a split; loud
        stretches count less, as in training.
    activation : {"gelu", "relu"}
        Of its units.
    trained_on : str
        Other people who trained it; empty: the session itself did.
    shares : tuple of (float, float), or None
        How much the session's own networks and that of the other people count; None: there is
        but one kind.
    """

    kernel: FloatArray
    layers: tuple[Layer, Layer]
    blocks: Blocks
    n_look_ahead: int
    gains: FloatArray
    split_ratios: tuple[float, ...]
    activation: Activation = "gelu"
    trained_on: str = ""
    shares: tuple[float, float] | None = None

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return len(self.layers[-1][1])

    def facts(self) -> dict[str, object]:
        """For the manifest."""
        facts: dict[str, object] = {"fold_ratios": list(self.split_ratios)}
        if self.trained_on:
            facts["trained_on"] = self.trained_on
        if self.shares:
            facts["shares"] = {"own": self.shares[0], "others": self.shares[1]}
        return facts

    def predict(self, x: FloatArray) -> FloatArray:
        """Correction to the linear fit for a segment: (n_times, n_ld) -> (n_times, n_out), µV."""
        rendered, memory = np.empty((len(x), self.n_out)), memory_of(self.blocks)
        (w_in, b_in), (w_out, b_out) = self.layers
        silent = np.concatenate([np.zeros((memory, x.shape[1])), x])
        for start in range(0, len(x), _PREDICT_ROWS):
            stop = min(start + _PREDICT_ROWS, len(x))
            z = apply_taps(silent, self.kernel, self.n_look_ahead, start, stop + memory)
            z = z.reshape(stop + memory - start, -1)
            first = ((w_in.astype(np.float64), b_in.astype(np.float64)),)
            h = run_hidden(first, self.blocks, self.activation, z)
            rendered[start:stop] = h @ w_out.T.astype(np.float64) + b_out
        return rendered
