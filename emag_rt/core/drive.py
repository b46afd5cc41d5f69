"""What drives the amplitudes: a linear part and a small network on the LD features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray, Samples
from emag_rt.core.activation import Activation, activate
from emag_rt.core.dilated import Blocks, memory_of, run_blocks
from emag_rt.errors import SettingsError

Layers = tuple[tuple[FloatArray, FloatArray], ...]


def causal_fir(taps: Samples, x: Samples) -> Samples:
    """Filter every channel with every tap sequence, 'valid' part only.

    Parameters
    ----------
    taps : ndarray, shape (n_taps, n_lags)
        ``taps[r, l]`` multiplies the sample l steps before the newest.
    x : ndarray, shape (n_lags - 1 + n_times, n_channels)
        Samples, with the context in front.

    Returns
    -------
    ndarray, shape (n_times, n_taps * n_channels)
        Filtered channels, tap-major: column ``r * n_channels + c``.
    """
    n_taps, n_lags = taps.shape
    n_times = len(x) - n_lags + 1
    if n_lags == 1:
        out = taps[:, 0][None, :, None] * x[:, None, :]
        return out.reshape(n_times, -1)
    # (n_times, n_channels, n_lags) view, newest sample last: flip the taps instead of the data.
    history = np.lib.stride_tricks.sliding_window_view(x, n_lags, axis=0)
    filtered = history @ taps[:, ::-1].T
    return np.swapaxes(filtered, 1, 2).reshape(n_times, n_taps * x.shape[1])


def n_units(weight: Samples) -> tuple[int, int]:
    """Outputs and inputs of a layer's weight, dense (2-D) or block-diagonal (3-D)."""
    n_blocks = weight.shape[0] if weight.ndim == 3 else 1
    return n_blocks * weight.shape[-2], n_blocks * weight.shape[-1]


def dense(z: Samples, weight: Samples, bias: Samples) -> Samples:
    """One linear layer.

    Parameters
    ----------
    z : ndarray, shape (n_times, n_in)
        Input.
    weight : ndarray, shape (n_out, n_in), or (n_blocks, n_out / n_blocks, n_in / n_blocks)
        Dense, or the blocks of a block-diagonal matrix.
    bias : ndarray, shape (n_out,)
        Bias.

    Returns
    -------
    ndarray, shape (n_times, n_out)
        ``z @ weight.T + bias``.
    """
    if weight.ndim == 2:
        return z @ weight.T + bias
    n_blocks, _, n_in = weight.shape
    parts = z.reshape(len(z), n_blocks, n_in).swapaxes(0, 1) @ weight.swapaxes(1, 2)
    return parts.swapaxes(0, 1).reshape(len(z), -1) + bias


def run_layers(
    layers: tuple[tuple[Samples, Samples], ...],
    activation: Activation,
    z: Samples,
) -> Samples:
    """Apply layers (see :func:`dense`), each followed by the activation.

    Parameters
    ----------
    layers : tuple of (weight, bias)
        Linear layers, dense or block-diagonal.
    activation : {"gelu", "relu"}
        Non-linearity.
    z : ndarray, shape (n_times, n_in)
        Input.

    Returns
    -------
    ndarray, shape (n_times, n_hidden)
        Activations of the last layer.
    """
    for weight, bias in layers:
        z = activate(activation, dense(z, weight, bias))
    return z


def run_hidden(
    layers: tuple[tuple[Samples, Samples], ...],
    blocks: Blocks,
    activation: Activation,
    z: Samples,
) -> Samples:
    """Hidden units from filtered features.

    Parameters
    ----------
    layers : tuple of (weight, bias)
        Without blocks as for :func:`run_layers`; with blocks one layer, without activation.
    blocks : tuple of DilatedBlock
        Memory; may be empty.
    activation : {"gelu", "relu"}
        Non-linearity.
    z : ndarray, shape (memory_of(blocks) + n_times, n_in)
        Features, with the context in front.

    Returns
    -------
    ndarray, shape (n_times, n_hidden)
        Hidden units.
    """
    if not blocks:
        return run_layers(layers, activation, z)
    return run_blocks(blocks, dense(z, *layers[0]), activation)


@dataclass(frozen=True, eq=False)
class HiddenBranch:
    """Non-linear part of the drive: Delta_n += gain_g * readout_n . h(LD history).

    Attributes
    ----------
    taps : ndarray, shape (n_taps, n_lags), float64
        Encoder taps; lag 0 is the newest sample waited for (the look-ahead).
    layers : tuple of (weight, bias)
        Layers on the filtered features (tap-major), each followed by the activation; the first
        is dense, further ones may be block-diagonal (see :func:`dense`).
    activation : {"gelu", "relu"}
        Non-linearity.
    readout : ndarray, shape (n_points, n_hidden), float64
        From hidden units to amplitudes in µV, shared by the Gaussians of a point.
    gains : ndarray, shape (n_gaussians,), float64
        How much of it each Gaussian of a point takes.
    blocks : tuple of DilatedBlock
        Dilated residual blocks after the layers, which are then one, without activation.
    """

    taps: FloatArray
    layers: Layers
    activation: Activation
    readout: FloatArray
    gains: FloatArray
    blocks: Blocks = ()

    def __post_init__(self) -> None:
        width = None
        for weight, bias in self.layers:
            if weight.ndim != 2 and (width is None or weight.ndim != 3):
                raise SettingsError(
                    "hidden weights must be matrices, or stacks of blocks after the first layer, "
                    f"got shape {weight.shape}."
                )
            n_out, n_in = n_units(weight)
            if width is not None and n_in != width:
                raise SettingsError(
                    f"hidden layers must chain, got input {n_in} after output {width}."
                )
            width = n_out
            if bias.shape != (width,):
                raise SettingsError(f"hidden bias must have shape ({width},), got {bias.shape}.")
        shapes = {b.weight.shape for b in self.blocks}
        if self.blocks and (
            len(self.layers) != 1 or {b.width for b in self.blocks} != {width} or len(shapes) > 1
        ):
            raise SettingsError(
                "hidden blocks must be of one shape and follow one layer of their width, got "
                f"{len(self.layers)} layers to {width} units and blocks of {sorted(shapes)}."
            )
        if width is None or self.readout.ndim != 2 or self.readout.shape[1] != width:
            raise SettingsError(
                f"hidden readout must have {width} columns, got shape {self.readout.shape}."
            )

    @property
    def n_lags(self) -> int:
        """Samples that a hidden unit depends on, the newest included."""
        return self.taps.shape[1] + memory_of(self.blocks)

    def features(self, x: Samples) -> Samples:
        """Hidden activations h for features with context.

        Parameters
        ----------
        x : ndarray, shape (n_lags - 1 + n_times, n_ld)
            Features.

        Returns
        -------
        ndarray, shape (n_times, n_hidden)
            Hidden units.
        """
        return run_hidden(self.layers, self.blocks, self.activation, causal_fir(self.taps, x))


@dataclass(frozen=True, eq=False)
class Drive:
    """From LD features to amplitude changes Delta.

    Attributes
    ----------
    taps : ndarray, shape (n_taps, n_lags), float64
        Causal filters on the features before the linear readout; ``[[1.]]`` for none.
    readout : ndarray, shape (n_points, n_gaussians, n_taps * n_ld), float64
        Linear readout in µV per unit of feature, tap-major.
    hidden : HiddenBranch or None
        Non-linear part.
    """

    taps: FloatArray
    readout: FloatArray
    hidden: HiddenBranch | None = None

    def __post_init__(self) -> None:
        n_taps = self.taps.shape[0]
        if self.readout.ndim != 3 or self.readout.shape[2] % n_taps:
            raise SettingsError(
                f"readout must have shape (n_points, n_gaussians, {n_taps} * n_ld), "
                f"got {self.readout.shape}."
            )
        hidden = self.hidden
        if hidden is None:
            return
        if hidden.readout.shape[0] != self.readout.shape[0]:
            raise SettingsError(
                f"hidden readout must have {self.readout.shape[0]} rows, one a grid point, "
                f"got {hidden.readout.shape[0]}."
            )
        if hidden.gains.shape != (self.readout.shape[1],):
            raise SettingsError(
                f"hidden gains must have shape ({self.readout.shape[1]},), "
                f"got {hidden.gains.shape}."
            )
        n_in = hidden.layers[0][0].shape[1]
        if n_in != hidden.taps.shape[0] * self.n_ld:
            raise SettingsError(
                f"first hidden layer must take {hidden.taps.shape[0] * self.n_ld} inputs, "
                f"got {n_in}."
            )

    @property
    def n_ld(self) -> int:
        """Number of LD channels."""
        return int(self.readout.shape[2] // self.taps.shape[0])


def reference_free(ld: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Take the LD mean out of each sample: a signal common to all channels changes nothing.

    Parameters
    ----------
    ld : array_like, shape (n_times, n_ld)
        LD channels in µV.

    Returns
    -------
    centred : ndarray, shape (n_times, n_ld)
        LD channels relative to their mean.
    mean : ndarray, shape (n_times, 1)
        The mean in µV.
    """
    values = np.asarray(ld, dtype=np.float64)
    mean = values.mean(axis=1, keepdims=True)
    return values - mean, mean


def contrasts(n: int) -> FloatArray:
    """Orthonormal contrasts of channels: all that is left of them without their mean.

    Parameters
    ----------
    n : int
        Channels.

    Returns
    -------
    ndarray, shape (n, n - 1), float64
        Columns are orthogonal, of length 1, and sum to 0.
    """
    return np.asarray(np.linalg.svd(np.eye(n) - 1.0 / n)[0][:, : n - 1])
