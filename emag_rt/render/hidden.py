"""The non-linear branch sample by sample: each layer keeps what it will need again.

The branch itself is stateless (:mod:`emag_rt.core.drive`): its blocks look one or two seconds
back. Evaluating that for every new sample would repeat nearly all of the work, so each block
keeps the newest inputs that it has seen.
"""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Samples
from emag_rt.core.activation import Activation, activate
from emag_rt.core.dilated import Blocks
from emag_rt.core.drive import causal_fir, dense, run_layers
from emag_rt.render.history import History

Layers = tuple[tuple[Samples, Samples], ...]


class HiddenStream:
    """Hidden units of a live stream.

    Parameters
    ----------
    taps : ndarray, shape (n_taps, n_lags)
        Encoder taps.
    layers : tuple of (weight, bias)
        As in :class:`emag_rt.core.drive.HiddenBranch`.
    blocks : tuple of DilatedBlock
        Dilated blocks; may be empty.
    activation : {"gelu", "relu"}
        Non-linearity.
    n_before : int
        Rows of hidden units to give in front of each chunk's own.
    dtype : type
        Precision.
    """

    def __init__(
        self,
        taps: Samples,
        layers: Layers,
        blocks: Blocks,
        activation: Activation,
        n_before: int,
        dtype: type[np.floating],
    ) -> None:
        def cast(values: Samples) -> Samples:
            return np.ascontiguousarray(values, dtype=dtype)

        self._taps = cast(taps)
        self._layers = tuple((cast(weight), cast(bias)) for weight, bias in layers)
        self._blocks = tuple(block.astype(dtype) for block in blocks)
        self._activation = activation
        n_ld = layers[0][0].shape[-1] // len(taps)
        silence = np.zeros((taps.shape[1], n_ld), dtype=dtype)
        self._histories: list[History] = []
        units = self._first(silence)
        for block in self._blocks:
            self._histories.append(History(block.dilation, block.width, dtype, units[0]))
            units = block.settled(units, activation)
        if self._blocks:
            units = activate(activation, units)
        self._out = History(n_before, units.shape[1], dtype, units[0])

    @property
    def n_lags(self) -> int:
        """Rows of features that the newest hidden unit needs, itself included."""
        return self._taps.shape[1]

    def reset(self) -> None:
        """Start from silence."""
        for history in (*self._histories, self._out):
            history.reset()

    def push(self, x: Samples) -> Samples:
        """Take samples.

        Parameters
        ----------
        x : ndarray, shape (n_lags - 1 + n_times, n_ld)
            Features, with the encoder's context in front.

        Returns
        -------
        ndarray, shape (n_before + n_times, n_hidden)
            Hidden units.
        """
        h = self._first(x)
        for block, history in zip(self._blocks, self._histories, strict=True):
            h = block.run(history.append(h), self._activation)
        if self._blocks:
            h = activate(self._activation, h)
        return self._out.append(h)

    def _first(self, x: Samples) -> Samples:
        z = causal_fir(self._taps, x)
        if self._blocks:
            return dense(z, *self._layers[0])
        return run_layers(self._layers, self._activation, z)
