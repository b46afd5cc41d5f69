"""Is a stream's unit what it says? There is no bundle to compare with, but EEG has its size."""

from __future__ import annotations

import numpy as np

from calibration.live.channels import LiveChannels
from calibration.live.quality import QualityWatch
from emag_rt.errors import StreamMismatch
from emag_rt.frontend.units import unit_to_uv
from emag_rt.recordings.read import PLAUSIBLE_UV
from emag_rt.streams.base import StreamFormat

UNIT_AFTER_S = 3.0
"""So many seconds of signal are judged."""

USUAL_UV = (1.0, 150.0)
"""Median amplitude of EEG within the pass band; what lies outside is worth a look."""

_FAR = 10.0  # so many times further out, it is no EEG: a wrong unit is off by a thousand


def check_unit(quality: QualityWatch, channels: LiveChannels, stream: StreamFormat) -> str | None:
    """Judge the newest seconds by the bounds that the fit has for files, and by nearer ones.

    Parameters
    ----------
    quality : QualityWatch
        Has the newest samples.
    channels : LiveChannels
        The channels, with the factors to µV that are judged.
    stream : StreamFormat
        What the stream says of itself.

    Returns
    -------
    str or None
        What to warn of, or an empty string; None where no channel has moved for so long.

    Raises
    ------
    StreamMismatch
        If no EEG is so small or so large.
    """
    raw, filtered = quality.amplitude_uv(UNIT_AFTER_S)
    if np.isnan(raw):
        return None
    (low, high), (least, most) = PLAUSIBLE_UV, USUAL_UV
    if not (low <= raw <= high and least / _FAR <= filtered <= _FAR * most):
        sent = filtered / float(np.median(channels.factors[channels.eeg]))
        raise StreamMismatch(
            f"stream {stream.name!r} (source_id {stream.source_id!r}): the median EEG amplitude "
            f"must lie between {least:g} and {most:g} µV, or near, got {filtered:.3g} µV: the "
            f"stream's unit or scale is not what it says. {_remedy(sent)}"
        )
    if least <= filtered <= most:
        return ""
    return (
        f"the median EEG amplitude is {filtered:.3g} µV, where {least:g} to {most:g} µV is usual: "
        "is the unit right? Say it with --unit"
    )


def _remedy(sent: float) -> str:
    """What to do, by the median amplitude in whatever the stream sends."""
    for unit in ("V", "mV", "µV", "nV"):
        if USUAL_UV[0] <= sent * unit_to_uv(unit) <= USUAL_UV[1]:
            return f"Mend it at the amplifier, or say it: --unit {unit}."
    return "Mend it at the amplifier, or say what one step of it is, such as --unit '0.0224 µV'."
