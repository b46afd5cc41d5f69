"""A field with its drive and time axis: everything the mixture equation needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.drive import Drive
from emag_rt.core.field import GaussianField
from emag_rt.core.forward import ForwardMatrix
from emag_rt.errors import SettingsError

Anchor = Literal["stream", "window"]


@dataclass(frozen=True, eq=False)
class FieldModel:
    """The mixture and what drives it.

    With features x = (ld - mean over LD) / scale, and tau_l = (l - look_ahead) / sfreq:

    ``stream``
        v_e(t) = sum_l sum_ng [a_ng + Delta_ng(t - l + look_ahead)] kernel_ng(e, tau_l),
        l = 0 .. n_lags - 1. The non-linear part of Delta acts from its own time on
        (tau_l >= 0 only), because its encoder has used up the look-ahead.
    ``window``
        v_e(t) = sum_ng [a_ng + Delta_ng(t)] kernel_ng(e, p / sfreq), p = the position of t in
        its window of ``n_window`` samples; windows tile the stream. Lag 0 of all the drive's
        taps is the newest sample waited for.

    Attributes
    ----------
    field : GaussianField
        The mixture.
    drive : Drive
        From features to amplitude changes.
    scale_uv : ndarray, shape (n_ld,), float64
        Calibration standard deviation of each reference-free LD channel in µV.
    sfreq : float
        Sampling rate in Hz.
    anchor : {"stream", "window"}
        Where time starts.
    n_lags : int
        Length of the sum over l (``stream``), look-ahead included.
    look_ahead : int
        Samples waited for.
    n_window : int
        Samples in a window (``window``).
    forward : ForwardMatrix or None
        A matrix in the place of the spatial kernel. Only its electrodes can be rendered.
    """

    field: GaussianField
    drive: Drive
    scale_uv: FloatArray
    sfreq: float
    anchor: Anchor = "stream"
    n_lags: int = 1
    look_ahead: int = 0
    n_window: int = 1
    forward: ForwardMatrix | None = None

    def __post_init__(self) -> None:
        if self.anchor not in ("stream", "window"):
            raise SettingsError(f"anchor must be 'stream' or 'window', got {self.anchor!r}.")
        shape = (self.field.n_points, self.field.n_gaussians)
        if self.drive.readout.shape[:2] != shape:
            raise SettingsError(
                f"drive readout must match the field's {shape}, got {self.drive.readout.shape[:2]}."
            )
        if self.forward is not None and self.forward.matrix.shape[1] != self.field.n_points:
            raise SettingsError(
                f"forward matrix must have {self.field.n_points} columns, one a grid point, "
                f"got {self.forward.matrix.shape[1]}."
            )
        scale = np.ascontiguousarray(self.scale_uv, dtype=np.float64)
        if scale.shape != (self.drive.n_ld,) or not (np.isfinite(scale) & (scale > 0)).all():
            raise SettingsError(
                f"scale_uv must hold {self.drive.n_ld} positive numbers, got shape {scale.shape}."
            )
        object.__setattr__(self, "scale_uv", scale)
        if not (np.isfinite(self.sfreq) and self.sfreq > 0):
            raise SettingsError(f"sfreq must be positive, got {self.sfreq}.")
        if self.look_ahead < 0:
            raise SettingsError(f"look_ahead must not be negative, got {self.look_ahead}.")
        if self.n_lags < 1 or self.n_window < 1:
            raise SettingsError(
                f"n_lags and n_window must be at least 1, got {self.n_lags} and {self.n_window}."
            )
        if self.anchor == "stream" and self.look_ahead >= self.n_lags:
            raise SettingsError(
                f"look_ahead must be below n_lags ({self.n_lags}), got {self.look_ahead}."
            )

    @property
    def n_ld(self) -> int:
        """Number of LD channels."""
        return self.drive.n_ld

    @property
    def tau_s(self) -> FloatArray:
        """Times at which the kernel is taken: lags (``stream``) or window positions, in s."""
        if self.anchor == "stream":
            return (np.arange(self.n_lags) - self.look_ahead) / self.sfreq
        return np.arange(self.n_window) / self.sfreq

    @property
    def n_context(self) -> int:
        """Samples before the newest one that an output sample depends on."""
        hidden = self.drive.hidden
        memory = self.drive.taps.shape[1]
        encoder = hidden.n_lags if hidden is not None else 1
        if self.anchor == "stream":
            after = self.n_lags - self.look_ahead
            return max(memory + self.n_lags - 1, encoder + after - 1) - 1
        return max(memory - 1, encoder - 1, self.look_ahead)
