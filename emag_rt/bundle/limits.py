"""What a bundle may ask of the machine that loads it.

Lengths in the manifest and dilations cost nothing to claim, but buffers as long as they say are
made from them. They are bounded together, before anything is allocated.
"""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.folding import PackedHidden, PackedOperator
from emag_rt.core.model import FieldModel
from emag_rt.errors import BundleError

MAX_MAGNITUDE = 1e15
"""Largest number in an array: products of a few of them still fit float64."""
MAX_LAGS = 100_000
"""Taps of a filter; as many as the manifest's ``n_lags`` may say."""
MAX_STATE_BYTES = 1 << 30
MAX_GAIN = 1e12
MAX_FILTER_GAIN = 100.0
"""Of the front end, whose pass band is at 1."""
MAX_FOLD_BYTES = 8 << 30
_BLOCK_S = 0.5  # what the front end judges channels by
_AT_ONCE = 32  # samples that the compiled engine takes in one go


def check_state(model: FieldModel, operator: PackedOperator) -> None:
    """Refuse a bundle whose engines would keep more than 1 GiB of signal.

    Raises
    ------
    BundleError
        If lags, look-ahead, dilations and widths ask for more.
    """
    for what, taps in _filters(model, operator):
        if taps.shape[1] > MAX_LAGS:
            raise BundleError(
                f"field.safetensors: '{what}' must have at most {MAX_LAGS} lags, got "
                f"{taps.shape[1]}."
            )
    longest = max(operator.n_context, model.n_context) + operator.look_ahead
    rows = longest + _BLOCK_S * model.sfreq
    # Histories are twice as long as what they keep (render/base.py).
    wanted = max(2 * 8 * rows * operator.n_ld, _compiled_bytes(operator))
    if operator.hidden is not None:
        wanted += 2 * 4 * _units_kept(operator.hidden)
    if wanted > MAX_STATE_BYTES:
        raise BundleError(
            f"the bundle's lags, look-ahead, rate and dilations must need at most "
            f"{MAX_STATE_BYTES >> 20} MiB of memory, they need {wanted / (1 << 20):.0f} MiB."
        )


def filter_gain(sos: FloatArray) -> float:
    """An upper bound of what a filter makes of 1 µV at any frequency.

    Sections, shape (n_sections, 6), are taken each at its own loudest: between the frequencies of
    a fine grid, a section can only peak at the angle of its poles.
    """
    gain = 1.0
    for section in sos:
        angles = np.concatenate([np.linspace(0.0, np.pi, 2049), np.angle(np.roots(section[3:]))])
        z = np.exp(-1j * angles)[:, None] ** np.arange(3)
        gain *= float(np.abs((z @ section[:3]) / (z @ section[3:])).max())
    return gain


def check_gain(operator: PackedOperator, sos: FloatArray) -> None:
    """Refuse a front end and a linear part that amplify beyond what float32 holds.

    Raises
    ------
    BundleError
        If the filter amplifies a hundredfold, or 1 µV in all channels could become 1e12 µV.
    """
    front_end = filter_gain(sos)
    if not front_end <= MAX_FILTER_GAIN:
        raise BundleError(
            f"manifest.json: frontend.sos must amplify by at most {MAX_FILTER_GAIN:g}, got "
            f"{front_end:.3g}. Calibrate again."
        )
    per_tap = float(np.abs(operator.taps).sum(axis=1).max())
    gain = front_end * per_tap * float(np.abs(operator.weights).sum(axis=-1).max())
    largest = max(gain, float(np.abs(operator.bias).max()))
    if largest > MAX_GAIN:
        raise BundleError(
            f"field.safetensors: 'packed.taps', 'packed.weights' and 'packed.bias' must amplify by "
            f"at most {MAX_GAIN:g}, got {largest:.3g}. Calibrate again."
        )


def check_fold(model: FieldModel, n_electrodes: int) -> None:
    """Refuse to fold a field for more electrodes than memory is likely to hold.

    Raises
    ------
    BundleError
        If it would take more than 8 GiB.
    """
    n_tau = model.n_lags if model.anchor == "stream" else model.n_window
    n_features = model.drive.readout.shape[2]
    if model.drive.hidden is not None:
        n_features += model.drive.hidden.readout.shape[1]
    wanted = 8 * n_tau * n_electrodes * n_features
    if wanted > MAX_FOLD_BYTES:
        raise BundleError(
            f"folding the bundle's {n_tau} lags for {n_electrodes} electrodes must take at most "
            f"{MAX_FOLD_BYTES >> 30} GiB, it takes {wanted / (1 << 30):.0f}. Name fewer electrodes."
        )


def _filters(model: FieldModel, operator: PackedOperator) -> list[tuple[str, FloatArray]]:
    found = [("packed.taps", operator.taps), ("drive.taps", model.drive.taps)]
    if model.drive.hidden is not None:
        found.append(("hidden.taps", model.drive.hidden.taps))
    if operator.hidden is not None:
        found.append(("packed.hidden.taps", operator.hidden.taps))
        found.append(("packed.hidden.out_taps", operator.hidden.out_taps))
    return found


def _compiled_bytes(operator: PackedOperator) -> int:
    """What the compiled engine keeps of the stream at most, on all its levels."""
    deepest = max(operator.n_context, operator.look_ahead) + 1
    # A level's functions are six of its strides long, and none is longer than the filter.
    n_levels = 1 + (deepest // 6).bit_length()
    return 2 * 4 * (deepest + _AT_ONCE) * n_levels * (operator.n_ld + 15)


def _units_kept(hidden: PackedHidden) -> int:
    width = len(hidden.layers[-1][1])
    return width * (sum(b.dilation for b in hidden.blocks) + hidden.out_taps.shape[1])
