"""Counters and latencies of a running daemon."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from emag_rt.array_types import FloatArray

State = Literal["waiting", "running", "dead", "stale", "stopped"]
"""Nothing yet; samples flow; the source is silent; told to end."""
AdaptState = Literal["off", "learning", "adapted", "undone", "ended"]
"""Not asked for; the bundle as it is; as adapted; undone by somebody; it learns no more."""


@dataclass
class Counters:
    """What happened to samples.

    Two balances hold, the first at every status::

        samples_in = samples_out + skipped + duplicates + out_of_order + refused
        rows published = samples_out + skipped + bridged + filled

    The second holds at the end; before, the newest rows may wait for look-ahead or hop. What the
    source sent and the daemon never got is missing in the stamps: in ``bridged``, ``filled`` or
    ``unfilled``.

    Attributes
    ----------
    samples_in, samples_out : int
        Samples received, and those of them that were rendered.
    bridged, filled : int
        Rows made up to bridge short gaps and to fill long ones.
    unfilled : int
        Missing samples left out of long gaps (policy ``skip``, or beyond the fill limit).
    gaps, jumps, recovered : int
        Long gaps, clock jumps, returns of the source.
    skipped, overdue : int
        Samples beyond the latency budget: not rendered (policy ``skip_to_newest``), or rendered
        all the same (``catch_up``; these are in ``samples_out`` as well).
    duplicates, out_of_order : int
        Samples dropped: the one before repeated, or time that was answered before.
    restamped : int
        Samples in ``samples_out`` or ``skipped`` whose stamp stood still, was no number, or was
        ahead of the time that can have gone by.
    refused : int
        Samples of a source that came back as something else.
    status_lost : int
        Lines of the status file that could not be written.
    unrenderable : int
        Rows during which too many LD channels were bad.
    steps : int
        Jumps of channels or of the reference that were taken out.
    adaptations : int
        How often a state of the wearer was put into use (``--adapt``).
    """

    samples_in: int = 0
    samples_out: int = 0
    bridged: int = 0
    filled: int = 0
    unfilled: int = 0
    gaps: int = 0
    jumps: int = 0
    recovered: int = 0
    skipped: int = 0
    overdue: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    restamped: int = 0
    refused: int = 0
    status_lost: int = 0
    unrenderable: int = 0
    steps: int = 0
    adaptations: int = 0


class LatencyWindow:
    """Latencies of the newest samples, in a ring.

    Parameters
    ----------
    size : int
        Samples to remember.
    """

    def __init__(self, size: int = 8192) -> None:
        self._values = np.zeros(size)
        self._count = 0
        self.max_s = float("-inf")

    def add(self, seconds: FloatArray) -> None:
        """Add the latencies of a chunk, shape (n_times,), in s."""
        values = seconds[-len(self._values) :]
        start = self._count % len(self._values)
        room = len(self._values) - start
        self._values[start : start + len(values)] = values[:room]
        if len(values) > room:
            self._values[: len(values) - room] = values[room:]
        self._count += len(values)
        # Latency falls within a chunk, so its first sample waited longest.
        self.max_s = max(self.max_s, float(seconds[0]))

    def summary_ms(self) -> dict[str, float | None]:
        """Median, 99th centile and overall maximum in ms; None before the first sample."""
        known = self._values[: min(self._count, len(self._values))]
        if not len(known):
            return {"latency_p50_ms": None, "latency_p99_ms": None, "latency_max_ms": None}
        p50, p99 = np.percentile(known, [50, 99]) * 1e3
        return {
            "latency_p50_ms": round(float(p50), 4),
            "latency_p99_ms": round(float(p99), 4),
            "latency_max_ms": round(self.max_s * 1e3, 4),
        }


@dataclass
class ServerStatus:
    """A snapshot for status lines, outlets and people.

    Attributes
    ----------
    state, engine : str
        Of the loop, and of rendering.
    bad_channels : tuple of str
        LD channels that are bad now; ``bad_reasons`` has the reasons.
    counters : Counters
        They go on counting.
    uptime_s, input_age_s : float
        Since serving began, and since the newest sample's stamp.
    render_ms : float or None
        Front end and rendering of the last chunk, without publishing.
    latency : dict of str to (float or None)
        Of the newest samples, as :meth:`LatencyWindow.summary_ms` has it.
    too_many_bad : bool
        Whether too many LD channels are bad to render.
    ld_misfit : float or None
        How badly LD fits the bundle, 1 being the limit; None while it is not known.
    unfit : bool
        Whether it was told that it does not fit.
    adapting : str
        As :data:`AdaptState` has it: ``off`` without ``--adapt``.
    adapted : float or None
        By how much of themselves rendered channels differ from the bundle's; None: not adapting.
    """

    state: State
    engine: str
    bad_channels: tuple[str, ...]
    counters: Counters
    uptime_s: float
    input_age_s: float | None
    render_ms: float | None
    latency: dict[str, float | None] = field(default_factory=dict)
    bad_reasons: dict[str, str] = field(default_factory=dict)
    too_many_bad: bool = False
    ld_misfit: float | None = None
    unfit: bool = False
    adapting: AdaptState = "off"
    adapted: float | None = None

    def numbers(self) -> dict[str, float | None]:
        """Everything that is a number; None where it is not known yet."""
        return {
            "uptime_s": round(self.uptime_s, 3),
            **asdict(self.counters),
            **self.latency,
            "input_age_s": self.input_age_s,
            "render_ms": self.render_ms,
            "ld_misfit": None if self.ld_misfit is None else round(self.ld_misfit, 3),
            "adapted": None if self.adapted is None else round(self.adapted, 4),
        }

    def as_dict(self) -> dict[str, object]:
        """Flat form for JSON."""
        return {
            "state": self.state,
            **self.numbers(),
            "engine": self.engine,
            "bad_channels": list(self.bad_channels),
            "bad_reasons": dict(self.bad_reasons),
            "too_many_bad": self.too_many_bad,
            "unfit": self.unfit,
            "adapting": self.adapting,
        }
