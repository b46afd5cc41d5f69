"""What calibration can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from calibration.settings.paper_options import PaperOptions
from emag_rt.core.grid import GridSupport
from emag_rt.core.model import Anchor
from emag_rt.core.naming import ChannelNames
from emag_rt.errors import SettingsError

NO_PRIOR = "none"
"""A prior that lets a session speak for itself alone."""
SETTLE_S = 1.0
"""Seconds at the start of a stretch in which the causal filter settles."""


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
    networks : {"bag", "one"}
        Keep the bag of networks that refinement trains, or one network that it taught.
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
    method : {"ridge_start", "paper"}
        ``ridge_start``: closed form, then refinement. ``paper``: everything by gradient, as in
        the paper (needs torch); always a ``window`` field, without look-ahead.
    paper : PaperOptions or None
        What ``paper`` learns, and how; its own grid counts. None: its defaults.
    names : ChannelNames or None
        What the channels of recordings are called, where these do not say.
    settle_s : float
        Seconds left out at the start of each stretch while the filter settles.
    prior : str or None
        Other people whose heads a short session leans on (``stream`` only): a population's name
        or file, or ``none``. None: the package's adults, where they can be used.
    """

    sfreq: float | None = None
    band_hz: tuple[float, float] = (0.5, 45.0)
    look_ahead_s: float = 0.0
    refine: bool = True
    networks: Literal["bag", "one"] = "bag"
    anchor: Anchor = "stream"
    window_s: float = 1.0
    grid_resolution: int | None = None
    grid_support: GridSupport = "sphere"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    settle_s: float = SETTLE_S
    method: Literal["ridge_start", "paper"] = "ridge_start"
    paper: PaperOptions | None = None
    names: ChannelNames | None = None
    prior: str | None = None

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
        if self.networks not in ("bag", "one"):
            raise SettingsError(f"networks must be bag or one, got {self.networks!r}.")
        refined = self.refine and self.anchor == "stream" and self.method == "ridge_start"
        if self.networks == "one" and not refined:
            raise SettingsError(
                "networks must be bag without refinement, with anchor window and with method "
                f"paper, which train none, got {self.networks!r}. Leave it out."
            )
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"seed must be from 0 to 2**31 - 1, got {self.seed}.")
        if self.method not in ("ridge_start", "paper"):
            raise SettingsError(f"method must be ridge_start or paper, got {self.method!r}.")
        if self.method == "paper":
            self._check_paper(self.paper_options)
        elif self.paper is not None:
            raise SettingsError(
                f"paper must be left out, or go with method paper, got method {self.method}."
            )
        windows = self.anchor == "window" or self.method == "paper"
        if windows and self.prior not in (None, NO_PRIOR):
            raise SettingsError(
                f"--prior must be {NO_PRIOR} or left out with windows (--anchor window, --method "
                f"paper), whose fits lean on no other people, got {self.prior}."
            )
        if not 0 <= self.settle_s <= 60:
            raise SettingsError(f"settle_s must be from 0 to 60 s, got {self.settle_s}.")

    @property
    def paper_options(self) -> PaperOptions:
        """What ``paper`` learns."""
        return PaperOptions() if self.paper is None else self.paper

    def n_look_ahead(self, sfreq: float) -> int:
        """Samples waited for at a rate in Hz."""
        return round(self.look_ahead_s * sfreq)

    def n_window(self, sfreq: float) -> int:
        """Samples in a window at a rate in Hz."""
        return max(2, round(self.window_s * sfreq))

    def _check_paper(self, own: PaperOptions) -> None:
        if self.look_ahead_s > 0:
            raise SettingsError(
                f"look_ahead_s must be 0 with method paper, whose encoder sees one sample at a "
                f"time, got {self.look_ahead_s}."
            )
        if self.grid_resolution not in (None, own.grid_resolution):
            raise SettingsError(
                f"grid_resolution must be that of the paper's options ({own.grid_resolution}) or "
                f"left out, got {self.grid_resolution}."
            )
        if self.grid_support not in ("sphere", own.grid_support):
            raise SettingsError(
                f"grid_support must be that of the paper's options ({own.grid_support}) or left "
                f"out, got {self.grid_support}."
            )
