"""The mixture equation as written, in float64: the oracle every fast path must match."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.core.drive import causal_fir, reference_free
from emag_rt.core.forward import mixture_kernel
from emag_rt.core.model import FieldModel


def render_direct(
    model: FieldModel, positions_mm: ArrayLike, ld: ArrayLike, first_position: int = 0
) -> FloatArray:
    """Render by summing every Gaussian at every lag.

    Parameters
    ----------
    model : FieldModel
        The field, its drive and its time axis.
    positions_mm : array_like, shape (n_electrodes, 3)
        Electrodes to render.
    ld : array_like, shape (n_context + n_times, n_ld)
        Filtered LD channels in µV with ``model.n_context`` samples of context in front.
    first_position : int
        Window position of the first sample rendered (``window`` only).

    Returns
    -------
    ndarray, shape (n_times, n_electrodes), float64
        µV relative to the LD mean. Row i belongs to LD row ``i + n_context - look_ahead``.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    x = reference_free(ld)[0] / model.scale_uv
    n_times = len(x) - model.n_context
    if model.anchor == "window":
        return _render_window(model, positions, x, n_times, first_position)
    out = np.zeros((n_times, len(positions)))
    for lag, tau in enumerate(model.tau_s):
        kernel = mixture_kernel(model.field, model.forward, positions, float(tau))
        causal_part = lag >= model.look_ahead
        amplitudes = _amplitudes(model, x, n_times, lag, causal_part)
        out += np.tensordot(amplitudes, kernel, axes=([1, 2], [1, 2]))
    return out


def _amplitudes(
    model: FieldModel, x: FloatArray, n_times: int, lag: int, with_hidden: bool
) -> FloatArray:
    """a_ng + Delta_ng at ``lag`` samples before the newest one of each output."""
    drive = model.drive
    total = model.field.amplitudes[None] + np.tensordot(
        causal_fir(drive.taps, _tail(x, n_times, lag, drive.taps.shape[1])),
        drive.readout,
        axes=(1, 2),
    )
    hidden = drive.hidden
    if hidden is not None and with_hidden:
        back = lag - model.look_ahead if model.anchor == "stream" else 0
        h = hidden.features(_tail(x, n_times, back, hidden.n_lags))
        total = total + (h @ hidden.readout.T)[:, :, None] * hidden.gains
    return np.asarray(total)


def _tail(x: FloatArray, n_times: int, lag: int, n_memory: int) -> FloatArray:
    """The rows a filter of ``n_memory`` lags needs to end ``lag`` samples before the newest."""
    stop = len(x) - lag
    return x[stop - n_times - n_memory + 1 : stop]


def _render_window(
    model: FieldModel, positions: FloatArray, x: FloatArray, n_times: int, first_position: int
) -> FloatArray:
    amplitudes = _amplitudes(model, x, n_times, 0, True)
    out = np.empty((n_times, len(positions)))
    for i in range(n_times):
        tau = ((first_position + i) % model.n_window) / model.sfreq
        kernel = mixture_kernel(model.field, model.forward, positions, tau)
        out[i] = np.tensordot(kernel, amplitudes[i], axes=([1, 2], [0, 1]))
    return out
