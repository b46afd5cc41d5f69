"""What calibration can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emag_rt.core.grid import GridSupport
from emag_rt.core.model import Anchor
from emag_rt.errors import SettingsError


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of a calibration.

    Attributes
    ----------
    sfreq : float or None
        Rate of the LD amplifier in Hz; recordings are resampled to it. None: as recorded.
    band_hz : tuple of (float, float)
        Pass band of the causal front end in Hz.
    look_ahead_s : float
        Seconds waited for, 0 to 1: more is more accurate, and later.
    refine : bool
        Gradient refinement after the closed-form start, where torch is installed.
    anchor : {"stream", "window"}
        Where time starts: ``stream`` for serving, ``window`` for epochs (the paper's).
    window_s : float
        Length of a window (``window`` only).
    grid_resolution : int or None
        Points along an axis of the grid; None: enough for the montage.
    grid_support : {"cube", "sphere", "surface"}
        Shape of the grid.
    seed : int
        Of everything random.
    device : {"auto", "cpu", "cuda"}
        Where torch runs.
    settle_s : float
        Seconds left out at the start of each stretch while the filter settles.
    """

    sfreq: float | None = None
    band_hz: tuple[float, float] = (0.5, 45.0)
    look_ahead_s: float = 0.0
    refine: bool = True
    anchor: Anchor = "stream"
    window_s: float = 1.0
    grid_resolution: int | None = None
    grid_support: GridSupport = "sphere"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    settle_s: float = 1.0

    def __post_init__(self) -> None:
        if self.sfreq is not None and not 16 <= self.sfreq <= 100_000:
            raise SettingsError(f"sfreq must be from 16 to 100000 Hz, got {self.sfreq}.")
        if not 0 <= self.look_ahead_s <= 1:
            raise SettingsError(
                f"look_ahead_s must be from 0 to 1 s, got {self.look_ahead_s}. Every second of it "
                "is a second of latency."
            )
        if not 0.05 <= self.window_s <= 60:
            raise SettingsError(f"window_s must be from 0.05 to 60 s, got {self.window_s}.")
        if self.grid_resolution is not None and not 2 <= self.grid_resolution <= 64:
            raise SettingsError(
                f"grid_resolution must be from 2 to 64, got {self.grid_resolution}."
            )
        if self.anchor not in ("stream", "window"):
            raise SettingsError(f"anchor must be 'stream' or 'window', got {self.anchor!r}.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise SettingsError(f"device must be auto, cpu or cuda, got {self.device!r}.")
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"seed must be from 0 to 2**31 - 1, got {self.seed}.")
        if not 0 <= self.settle_s <= 60:
            raise SettingsError(f"settle_s must be from 0 to 60 s, got {self.settle_s}.")
