"""A rehearsal: everything that serving checks, for a few seconds, with nothing published."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bundle import load_bundle
from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import ServeSettings
from emag_rt.daemon.signal_path import attach, make_upsampler, open_source
from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.daemon.stopping import stop_signals
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import configure, quick_clock
from emag_rt.streams.memory import MemoryMarkerSink

CHECK_S = 6.0
"""Scale is judged after three seconds of signal, rate within five."""


class _Nowhere:
    """A sink that publishes nothing."""

    def push(self, samples: Float32Array, timestamps: FloatArray) -> None:
        """Drop rows."""

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True)
class Verdict:
    """What a rehearsal found.

    Attributes
    ----------
    facts : tuple of str
        What was found, a line each.
    against : tuple of str
        What speaks against serving, with the remedy.
    """

    facts: tuple[str, ...]
    against: tuple[str, ...]

    @property
    def go(self) -> bool:
        """Whether serving would do."""
        return not self.against


def check_bundle(
    bundle_path: str, settings: ServeSettings, stop: threading.Event | None = None
) -> Verdict:
    """Serve to nobody for :data:`CHECK_S` seconds, or ``settings.duration_s``.

    Parameters
    ----------
    bundle_path : str
        An ``.emag`` file.
    settings : ServeSettings
        As for serving.
    stop : threading.Event, optional
        Ends it early when set, in place of signals.

    Returns
    -------
    Verdict
        What was found.

    Raises
    ------
    EmagError
        If serving would end with it: the bundle, the engine or the stream does not do.
    """
    with contextlib.ExitStack() as stack:
        if stop is None:
            stop = stack.enter_context(stop_signals())
        bundle = load_bundle(bundle_path)
        configure(settings.lsl.scope, settings.lsl.session_id)
        upsampler = make_upsampler(bundle, settings)
        source = open_source(settings, stop.is_set)
        stack.callback(source.close)
        match = attach(upsampler, source.format, settings)
        heard = MemoryMarkerSink()
        server = Server(upsampler, source, _Nowhere(), quick_clock(), settings, heard, match=match)
        seconds = settings.duration_s or CHECK_S
        server.serve(stop.is_set, seconds)
        # The loop says that it has stopped; what counts is the state before.
        state = server.last_state
        status = server.status()
        events = [json.loads(text) for text, _ in heard.events]
        facts = tuple(_facts(source.format, bundle_path, status, server.settled, events))
        n_ld = len(bundle.manifest.ld)
        return Verdict(facts, tuple(_against(state, status, server.settled, events, n_ld)))


def _facts(
    stream: StreamFormat,
    bundle_path: str,
    status: ServerStatus,
    settled: bool,
    events: list[dict[str, object]],
) -> Iterator[str]:
    counters = status.counters
    yield (
        f"stream {stream.name!r} (source_id {stream.source_id!r}): {stream.n_channels} channels, "
        f"{stream.sfreq:g} Hz; labels, units and rate fit {bundle_path}"
    )
    yield f"{counters.samples_in} samples in {status.uptime_s:.1f} s"
    named = {event["event"] for event in events}
    if settled and "wrong_scale" not in named:
        yield "amplitudes are those of the calibration"
    if status.bad_channels:
        reasons = (f"{name} ({status.bad_reasons[name]})" for name in status.bad_channels)
        yield f"bad channels, filled from the others: {', '.join(reasons)}"
    lost = counters.filled + counters.bridged + counters.unfilled
    if lost or counters.skipped:
        yield f"{lost} samples missing, {counters.skipped} too late"
    if counters.duplicates or counters.out_of_order or counters.restamped:
        yield (
            f"{counters.duplicates} samples repeated, {counters.out_of_order} out of order, "
            f"{counters.restamped} given a time by their count"
        )
    p50, p99 = status.latency["latency_p50_ms"], status.latency["latency_p99_ms"]
    if p50 is not None and p99 is not None:
        yield f"engine {status.engine}; stamp to row {p50:.1f} ms (p99 {p99:.1f} ms)"


def _against(
    state: str,
    status: ServerStatus,
    settled: bool,
    events: list[dict[str, object]],
    n_ld: int,
) -> Iterator[str]:
    if not status.counters.samples_in:
        yield "no sample came. Is the amplifier recording, and does the firewall let LSL through?"
        return
    if state == "stale":
        yield "the source fell silent. Is the amplifier on, and in reach?"
    if state == "dead":
        yield (
            "every LD channel is flat or the same as all others. Is the amplifier on, the cap "
            "plugged in, the reference connected?"
        )
    elif not settled:
        yield "too little signal came to judge its amplitude. Check longer: --duration 10."
    elif status.too_many_bad:
        yield f"{len(status.bad_channels)} of {n_ld} LD channels are bad. Mend the electrodes."
    for event in events:
        if event["event"] == "wrong_scale":
            factor = event["factor"]
            yield f"amplitudes are {factor:g} times the calibration's. {event['remedy']}."
        if event["event"] == "wrong_rate":
            yield (
                f"{event['measured_hz']:g} samples a second come, {event['declared_hz']:g} are "
                "declared. Set the amplifier's rate and that of its LSL outlet alike."
            )
