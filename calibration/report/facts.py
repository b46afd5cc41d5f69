"""What the verdict rests on, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emag_rt.core.grades import Grade


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
    misfits : sequence of str
        How LD does not fit the bundle in these recordings; empty where it does.
    missing_people : str
        Whom the bundle leans on and the scores do not; empty where there is nobody.
    interpolated : bool
        Whether channels of these recordings were made from others.
    hd_measured : bool
        False where the field is other people's: nobody's HD was measured.
    other_set : tuple of str
        As many electrodes as are worn, sought in the calibration's recordings.
    other_nmse : float or None
        Of the closed form with these; None where none were sought.
    other_cost_s : float
        Seconds that seeking them would have taken, where that was too long.
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
    misfits: Sequence[str] = ()
    missing_people: str = ""
    interpolated: bool = False
    hd_measured: bool = True
    other_set: tuple[str, ...] = ()
    other_nmse: float | None = None
    other_cost_s: float = 0.0
    longer_gain: float | None = None
    waiting_gain: float | None = None


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
