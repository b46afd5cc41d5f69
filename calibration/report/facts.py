"""What the verdict rests on, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from emag_rt.bundle import Manifest

Grade = Literal["good", "fair", "poor"]


@dataclass(frozen=True)
class Facts:
    """What the verdict rests on.

    Attributes
    ----------
    nmse : float
        Of the field on unseen channels.
    spline, lagged_ridge : float or None
        Of the baselines, on the same channels.
    channels : mapping of str to float
        NMSE of each unseen channel.
    bands : mapping of str to float
        NMSE of each band; empty where it is not known.
    seconds : float or None
        Seconds of signal that the calibration used; None where it does not say.
    held_out : bool
        Whether calibration has not seen the recordings.
    n_channels : int
        Channels of the cap.
    bad : sequence of str
        Channels that were bad in the calibration.
    bad_here : sequence of str
        Channels that are bad only in the recordings that are reported on.
    noisy : sequence of str
        Channels of these recordings with loud line noise.
    nearest_ld_mm : mapping of str to float
        Distance of each channel to the nearest LD electrode.
    interpolated : bool
        Whether channels of these recordings were made from others.
    hd_measured : bool
        False where the field is other people's: nobody's HD was measured.
    longer_gain, waiting_gain : float or None
        Share of the error that twice the length of the calibration took away, and that 50 ms of
        waiting would; None where it is not known, or has no meaning.
    """

    nmse: float
    spline: float | None
    lagged_ridge: float | None
    channels: Mapping[str, float]
    bands: Mapping[str, float]
    seconds: float | None
    held_out: bool
    n_channels: int
    bad: Sequence[str] = ()
    bad_here: Sequence[str] = ()
    noisy: Sequence[str] = ()
    nearest_ld_mm: Mapping[str, float] = field(default_factory=dict)
    interpolated: bool = False
    hd_measured: bool = True
    longer_gain: float | None = None
    waiting_gain: float | None = None


def calibrated_s(manifest: Manifest) -> float | None:
    """Seconds of a person's HD signal that a bundle was calibrated on, where it says so."""
    told = manifest.calibration.get("duration_s") if manifest.hd_measured else None
    return float(told) if isinstance(told, int | float) else None


@dataclass(frozen=True)
class Verdict:
    """What to tell the user.

    Attributes
    ----------
    grade : {"good", "fair", "poor"}
        Of the whole.
    headline : str
        One sentence.
    channels, bands : dict of str to tuple of str
        Which are good, fair and poor.
    advice : tuple of str
        What to do, most important first.
    caveats : tuple of str
        How far the numbers can be believed.
    """

    grade: Grade
    headline: str
    channels: dict[Grade, tuple[str, ...]]
    bands: dict[Grade, tuple[str, ...]]
    advice: tuple[str, ...]
    caveats: tuple[str, ...]
