"""A numeric LSL stream of labelled status values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.streams.base import Clock, Sink
from emag_rt.streams.metadata import OutletSpec

STATUS_NUMBERS = (
    "samples_in",
    "samples_out",
    "gaps",
    "filled",
    "skipped",
    "latency_p50_ms",
    "latency_p99_ms",
    "latency_max_ms",
    "input_age_s",
    "render_ms",
    "n_bad_channels",
    "bridged",
    "unfilled",
    "jumps",
    "recovered",
    "overdue",
    "duplicates",
    "out_of_order",
    "restamped",
    "refused",
    "too_many_bad",
    "unrenderable",
    "steps",
    "ld_misfit",
    "unfit",
    "adapted",
    "adaptations",
)
BAD_REASONS = (
    "no number, or railed",
    "flat",
    "dead",
    "clipped",
    "line noise",
    "at odds with the others",
    "swapped",
    "jumped",
)
"""What the numbers 1, 2, ... mean in the channels ``bad:LABEL`` of the status outlet."""


class StatusOutlet:
    """A numeric stream of labelled status values.

    Parameters
    ----------
    name, source_id : str
        Of the HD outlet it goes with.
    clock : callable
        Stamps, in s.
    make_sink : callable
        From an :class:`OutletSpec` to a sink.
    channels : sequence of str
        LD labels. Each has a channel ``bad:LABEL`` after the numbers: 0 good, else one more than
        the index of the reason in :data:`BAD_REASONS`. So a receiver that comes late, or a
        recording, knows of every channel without the events.
    """

    def __init__(
        self,
        name: str,
        source_id: str,
        clock: Clock,
        make_sink: Callable[[OutletSpec], Sink],
        channels: Sequence[str] = (),
    ) -> None:
        self._clock = clock
        self._channels = tuple(channels)
        self._sink = make_sink(
            OutletSpec(
                name=f"{name}-status",
                source_id=f"{source_id}:status",
                labels=(*STATUS_NUMBERS, *(f"bad:{label}" for label in self._channels)),
                sfreq=0.0,
                type="Quality",
                units="none",
            )
        )

    def __call__(self, status: ServerStatus) -> None:
        """Publish a status; numbers that are not known yet are NaN."""
        known = {
            **status.numbers(),
            "n_bad_channels": len(status.bad_channels),
            "too_many_bad": status.too_many_bad,
            "unfit": status.unfit,
        }
        told = [known[key] for key in STATUS_NUMBERS]
        values = [np.nan if value is None else float(value) for value in told]
        values += [self._verdict(label, status) for label in self._channels]
        self._sink.push(np.array([values], dtype=np.float32), np.array([self._clock()]))

    @staticmethod
    def _verdict(label: str, status: ServerStatus) -> float:
        if label not in status.bad_channels:
            return 0.0
        reason = status.bad_reasons.get(label, "")
        known = reason in BAD_REASONS
        return 1.0 + (BAD_REASONS.index(reason) if known else len(BAD_REASONS))

    def finish(self, status: ServerStatus) -> None:
        """Publish the last status."""
        self(status)

    def close(self) -> None:
        """Take the stream off the network."""
        self._sink.close()
