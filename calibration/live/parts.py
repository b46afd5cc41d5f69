"""What was recorded of a live stream: its stretches, and what happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calibration.live.channels import LiveChannels
from emag_rt.array_types import BoolArray, Samples, Stamps
from emag_rt.daemon.pieces import Kind


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of what was recorded.

    Attributes
    ----------
    kind : {"data", "bridge", "gap", "jump"}
        Samples that came; a straight line over a few lost ones; the last sample held while the
        source was away; a jump of its clock (no samples).
    samples : ndarray, shape (n_times, n_channels)
        In µV (``misc`` channels as sent).
    stamps : ndarray, shape (n_times,)
        On this host's LSL clock, in s.
    """

    kind: Kind
    samples: Samples
    stamps: Stamps


@dataclass
class Counts:
    """What happened to the stream while it was recorded.

    Attributes
    ----------
    gaps, missing, bridged, jumps : int
        Long gaps; samples missing in them; samples bridged in short ones; jumps of the clock.
    silences : int
        Times the source sent nothing for a second or more.
    duplicates, out_of_order, restamped : int
        As in :class:`emag_rt.daemon.timeline.Timeline`.
    remapped : int
        Times it came back with its channels in another order.
    """

    gaps: int = 0
    missing: int = 0
    bridged: int = 0
    jumps: int = 0
    silences: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    restamped: int = 0
    remapped: int = 0


@dataclass(frozen=True, eq=False)
class Recorded:
    """What was recorded so far.

    Attributes
    ----------
    channels : LiveChannels
        The channels.
    sfreq : float
        Nominal rate in Hz.
    parts : tuple of Part
        In order of time, but for jumps.
    doubtful : tuple of (float, float)
        First and last stamp of what came while the source, back from a silence, did not say
        what it is.
    """

    channels: LiveChannels
    sfreq: float
    parts: tuple[Part, ...]
    doubtful: tuple[tuple[float, float], ...] = ()


def cut(part: Part, keep: BoolArray) -> Part:
    """The samples of a part for which ``keep``, shape (n_times,), is true."""
    return Part(part.kind, part.samples[keep], part.stamps[keep])


def sure(parts: Sequence[Part], doubtful: Sequence[tuple[float, float]]) -> list[Part]:
    """Parts that did not begin while it was unknown what the source is."""
    return [
        part
        for part in parts
        if not any(len(part.stamps) and a <= part.stamps[0] <= b for a, b in doubtful)
    ]


def n_to_jump(parts: list[Part]) -> int:
    """Number of parts up to the last jump of the clock, with it."""
    return max((i + 1 for i, part in enumerate(parts) if part.kind == "jump"), default=0)


def n_signal(parts: list[Part]) -> int:
    """Samples of signal, made-up ones in gaps not counted."""
    return sum(len(part.stamps) for part in parts if part.kind in ("data", "bridge"))
