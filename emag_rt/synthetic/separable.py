"""Folding a stand-in's field when its lag axis is thousands long.

``fold`` writes all lags out for every pair of channels, a gigabyte for 64 → 256 at 8 kHz. The
profiles of a separable field span the lag axis, so a decomposition of these is enough.
"""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.field import GaussianField
from emag_rt.core.folding import RANK_TOLERANCE, PackedHidden, PackedOperator, context_of
from emag_rt.core.model import FieldModel
from emag_rt.synthetic.layout import Layout


def fold_separable(
    model: FieldModel, layout: Layout, at_electrodes: FloatArray, positions_mm: FloatArray
) -> PackedOperator:
    """Fold by the profiles, not by every lag of every pair of channels.

    Parameters
    ----------
    model : FieldModel
        A ``stream`` field without coupling of space and time, its profiles those of the layout.
    layout : Layout
        For the profiles.
    at_electrodes : ndarray, shape (n_gaussians, n_ld, n_hd)
        What the linear readout gives at the electrodes.
    positions_mm : ndarray, shape (n_hd, 3)
        Electrodes.

    Returns
    -------
    PackedOperator
        :func:`emag_rt.core.folding.fold` of the model, to rounding.
    """
    profiles = layout.profiles(model.sfreq, model.look_ahead)
    summed = at_electrodes.transpose(0, 2, 1)  # K S is one: (n_gaussians, n_hd, n_ld)
    axes, triangle = np.linalg.qr(profiles.T)
    small = triangle @ summed.reshape(len(summed), -1)
    left, values, right = np.linalg.svd(small, full_matrices=False)
    rank = max(1, int((values > RANK_TOLERANCE * values[0]).sum()))
    taps = (axes @ left[:, :rank]).T
    size = np.abs(values[:rank, None] * taps).max(axis=0)
    kept = int(np.flatnonzero(size > RANK_TOLERANCE * size.max())[-1]) + 1
    n_hd, n_ld = summed.shape[1:]
    weights = (values[:rank, None] * right[:rank]).reshape(rank, n_hd, n_ld)
    weights = np.swapaxes(weights, 0, 1).reshape(1, n_hd, rank * n_ld)
    taps, weights = taps[:, :kept].copy(), weights / np.tile(model.scale_uv, rank)
    hidden = _fold_hidden(model, layout, positions_mm)
    return PackedOperator(
        anchor="stream",
        n_ld=n_ld,
        n_out=n_hd,
        look_ahead=model.look_ahead,
        n_context=context_of(taps, hidden, model.look_ahead),
        taps=taps,
        weights=weights,
        bias=np.zeros((1, n_hd)),
        hidden=hidden,
    )


def _fold_hidden(
    model: FieldModel, layout: Layout, positions_mm: FloatArray
) -> PackedHidden | None:
    branch = model.drive.hidden
    if branch is None:
        return None
    # One Gaussian has the whole gain, an exact delay of 0: its only tap is the present.
    kernel = _present_kernel(model.field, layout.now, positions_mm)
    weight, bias = branch.layers[0]
    first = (weight / np.tile(model.scale_uv, len(branch.taps)), bias)
    out = (kernel @ branch.readout)[None]
    return PackedHidden(branch.taps, (first,), "gelu", np.ones((1, 1)), out, branch.blocks)


def _present_kernel(field: GaussianField, now: int, positions_mm: FloatArray) -> FloatArray:
    present = GaussianField(
        field.centers_mm,
        field.mu_s[:, [now]],
        field.cholesky[:, [now]],
        field.amplitudes[:, [now]],
    )
    return present.spatial_kernel(positions_mm)[..., 0]
