"""Folding: everything after the last non-linearity is linear, so it becomes one operator.

``stream``: v(t) = b + sum_l M_l h(t - l);  ``window``: v(t) = b_p + M_p h(t).  M sums the
kernel against the readouts once, at export, so serving does not pay for the Gaussians. The
lag axis of M has low rank (exactly ``n_gaussians`` for a separable field), so M is kept as a
few temporal taps and one matrix, cut at 1e-10 of the largest singular value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.core.activation import Activation
from emag_rt.core.dilated import Blocks, memory_of
from emag_rt.core.drive import HiddenBranch
from emag_rt.core.field import GaussianField
from emag_rt.core.forward import ForwardMatrix
from emag_rt.core.model import Anchor, FieldModel

RANK_TOLERANCE = 1e-10
_BLOCK_BYTES = 128e6


@dataclass(frozen=True, eq=False)
class PackedHidden:
    """Folded non-linear branch.

    Attributes
    ----------
    taps : ndarray, shape (n_taps, n_lags)
        Encoder taps on the reference-free LD channels; lag 0 is the newest sample.
    layers : tuple of (weight, bias)
        Dense layers, with the feature scale folded into the first.
    activation : {"gelu", "relu"}
        Non-linearity.
    out_taps : ndarray, shape (n_out_taps, n_out_lags)
        Temporal taps on the hidden units.
    weights : ndarray, shape (n_positions, n_out, n_out_taps * n_hidden)
        Readout for each window position (one position for ``stream``), tap-major.
    blocks : tuple of DilatedBlock
        Dilated blocks after the layers, see :class:`emag_rt.core.drive.HiddenBranch`.
    """

    taps: FloatArray
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    activation: Activation
    out_taps: FloatArray
    weights: FloatArray
    blocks: Blocks = ()

    @property
    def n_lags(self) -> int:
        """Samples that a hidden unit depends on, the newest included."""
        return self.taps.shape[1] + memory_of(self.blocks)


@dataclass(frozen=True, eq=False)
class PackedOperator:
    """The folded field: from filtered LD in µV to rendered channels in µV.

    Input and output are relative to the LD mean, which the renderers take out and add back.

    Attributes
    ----------
    anchor : {"stream", "window"}
        Where time starts.
    n_ld, n_out, look_ahead, n_context : int
        Channels in and out, samples waited for, samples of context in front of the newest.
    taps : ndarray, shape (n_taps, n_lags)
        Temporal taps; lag 0 is the newest sample.
    weights : ndarray, shape (n_positions, n_out, n_taps * n_ld)
        Spatial readout for each window position (one for ``stream``), tap-major, in µV per µV.
    bias : ndarray, shape (n_positions, n_out)
        Base amplitudes, in µV.
    hidden : PackedHidden or None
        Non-linear branch.
    """

    anchor: Anchor
    n_ld: int
    n_out: int
    look_ahead: int
    n_context: int
    taps: FloatArray
    weights: FloatArray
    bias: FloatArray
    hidden: PackedHidden | None = None

    @property
    def n_positions(self) -> int:
        """Window length in samples for ``window``, 1 for ``stream``."""
        return int(self.weights.shape[0])


def fold(model: FieldModel, positions_mm: ArrayLike) -> PackedOperator:
    """Fold a model for electrodes anywhere on (or in) the head.

    Parameters
    ----------
    model : FieldModel
        The field, its drive and its time axis.
    positions_mm : array_like, shape (n_electrodes, 3)
        Electrodes to render, origin at the centre of the head sphere.

    Returns
    -------
    PackedOperator
        Agrees with :func:`emag_rt.core.direct.render_direct` to 1e-5 relative in float32.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    field, tau_s, forward = model.field, model.tau_s, model.forward
    linear = fold_readout(field, positions, tau_s, model.drive.readout, forward)
    base = fold_readout(field, positions, tau_s, field.amplitudes[..., None], forward)[..., 0]
    stream = model.anchor == "stream"
    if stream:
        taps, weights = _compress(_compose(linear, model.drive.taps, model.n_ld))
        bias = base.sum(axis=0)[None]
    else:
        taps = model.drive.taps
        weights, bias = linear, base
    weights = weights / np.tile(model.scale_uv, len(taps))
    hidden = _fold_hidden(model, positions) if model.drive.hidden is not None else None
    return PackedOperator(
        anchor=model.anchor,
        n_ld=model.n_ld,
        n_out=len(positions),
        look_ahead=model.look_ahead,
        n_context=context_of(taps, hidden, model.look_ahead),
        taps=taps,
        weights=weights,
        bias=bias,
        hidden=hidden,
    )


def fold_readout(
    field: GaussianField,
    positions_mm: FloatArray,
    tau_s: FloatArray,
    readout: FloatArray,
    forward: ForwardMatrix | None = None,
) -> FloatArray:
    """Sum of kernel times readout over the mixture, at each time.

    Parameters
    ----------
    field : GaussianField
        The mixture.
    positions_mm : ndarray, shape (n_electrodes, 3)
        Electrodes.
    tau_s : ndarray, shape (n_tau,)
        Times in s.
    readout : ndarray, shape (n_points, n_gaussians, n_features)
        What each Gaussian multiplies.
    forward : ForwardMatrix, optional
        In the place of the spatial kernel.

    Returns
    -------
    ndarray, shape (n_tau, n_electrodes, n_features), float64
        Folded matrices M.
    """
    if forward is not None:
        matrix = forward.matrix[forward.rows(positions_mm)]
        folded = [
            matrix @ (field.temporal_kernel(float(tau))[..., None] * readout).sum(axis=1)
            for tau in tau_s
        ]
        return np.array(folded)
    shared = field.shared_profiles()
    if shared is None:
        return _fold_general(field, positions_mm, tau_s, readout)
    mu_s, rate = shared
    profiles = np.exp(-0.5 * ((tau_s[:, None] - mu_s) * rate) ** 2)
    n_features = readout.shape[2]
    summed = np.zeros((field.n_gaussians, len(positions_mm), n_features))
    for rows in _blocks(field.n_points, len(positions_mm) * field.n_gaussians * 8 * 5):
        part = _rows(field, rows).spatial_kernel(positions_mm)
        summed += np.einsum("eng,ngf->gef", part, readout[rows], optimize=True)
    return np.asarray(np.tensordot(profiles, summed, axes=(1, 0)))


def _fold_general(
    field: GaussianField, positions: FloatArray, tau_s: FloatArray, readout: FloatArray
) -> FloatArray:
    """Space-time coupled mixtures: the exponent is a quadratic in tau, kept as three terms."""
    out = np.zeros((len(tau_s), len(positions), readout.shape[2]))
    for rows in _blocks(field.n_points, len(positions) * field.n_gaussians * 8 * 6):
        factor = field.cholesky[rows]
        offset = positions[:, None] - field.centers_mm[rows]
        space = np.einsum("ngij,eni->engj", factor[..., :3, :3], offset)
        row_t = factor[..., 3, :3]
        constant = (space**2).sum(axis=-1)
        linear = 2.0 * np.einsum("engj,ngj->eng", space, row_t)
        square = (factor[..., 3, :] ** 2).sum(axis=-1)
        weights = readout[rows].reshape(-1, readout.shape[2])
        for i, tau in enumerate(tau_s):
            since = tau - field.mu_s[rows]
            kernel = np.exp(-0.5 * (constant + since * (linear + since * square)))
            out[i] += kernel.reshape(len(positions), -1) @ weights
    return out


def _fold_hidden(model: FieldModel, positions: FloatArray) -> PackedHidden:
    hidden = model.drive.hidden
    assert isinstance(hidden, HiddenBranch)
    readout = hidden.readout[:, None, :] * hidden.gains[None, :, None]
    tau_s = model.tau_s[model.look_ahead :] if model.anchor == "stream" else model.tau_s
    folded = fold_readout(model.field, positions, tau_s, readout, model.forward)
    if model.anchor == "stream":
        out_taps, weights = _compress(folded)
    else:
        out_taps, weights = np.ones((1, 1)), folded
    weight, bias = hidden.layers[0]
    first = (weight / np.tile(model.scale_uv, len(hidden.taps)), bias)
    layers = (first, *hidden.layers[1:])
    return PackedHidden(hidden.taps, layers, hidden.activation, out_taps, weights, hidden.blocks)


def _compose(matrices: FloatArray, taps: FloatArray, n_ld: int) -> FloatArray:
    """Put the drive's own filters into the lag axis: (n_lags + n_memory - 1, n_e, n_ld)."""
    n_lags, n_out, _ = matrices.shape
    n_taps, n_memory = taps.shape
    by_tap = matrices.reshape(n_lags, n_out, n_taps, n_ld)
    out = np.zeros((n_lags + n_memory - 1, n_out, n_ld))
    for j in range(n_memory):
        out[j : j + n_lags] += np.einsum("letc,t->lec", by_tap, taps[:, j])
    return out


def _compress(matrices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Low-rank form of lagged matrices: taps (r, n_lags) and weights (1, n_out, r * n_in)."""
    n_lags, n_out, n_in = matrices.shape
    left, values, right = np.linalg.svd(matrices.reshape(n_lags, -1), full_matrices=False)
    rank = max(1, int((values > RANK_TOLERANCE * max(values[0], 1e-300)).sum()))
    taps = left[:, :rank].T
    # Taps beyond the last one that matters would only lengthen the context.
    size = np.abs(values[:rank, None] * taps).max(axis=0)
    kept = (
        int(np.flatnonzero(size > RANK_TOLERANCE * size.max(initial=1e-300))[-1]) + 1
        if size.any()
        else 1
    )
    weights = (values[:rank, None] * right[:rank]).reshape(rank, n_out, n_in)
    return taps[:, :kept].copy(), np.swapaxes(weights, 0, 1).reshape(1, n_out, rank * n_in)


def context_of(taps: FloatArray, hidden: PackedHidden | None, look_ahead: int) -> int:
    """Samples before the newest one that folded operators, or the LD mean added back, need."""
    longest = taps.shape[1]
    if hidden is not None:
        longest = max(longest, hidden.n_lags + hidden.out_taps.shape[1] - 1)
    return max(longest - 1, look_ahead)


def _blocks(n_points: int, bytes_per_point: int) -> list[slice]:
    size = max(1, int(_BLOCK_BYTES / max(1, bytes_per_point)))
    return [slice(i, min(i + size, n_points)) for i in range(0, n_points, size)]


def _rows(field: GaussianField, rows: slice) -> GaussianField:
    return GaussianField(
        field.centers_mm[rows], field.mu_s[rows], field.cholesky[rows], field.amplitudes[rows]
    )
