"""The daemon: a server wired to LSL, with status for programs and for people."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import logging
import math
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emag_rt import __version__
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.engine.matching import match_input
from emag_rt.engine.reporting import LiveView, StatusFile, StatusOutlet, ready_line
from emag_rt.engine.server import Server
from emag_rt.engine.settings import ServeSettings
from emag_rt.engine.statistics import ServerStatus
from emag_rt.engine.trace import Trace
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import SettingsError, StreamNotFound
from emag_rt.frontend.units import unit_to_uv
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import (
    LslMarkerSink,
    LslSink,
    LslSource,
    OutletSpec,
    StreamQuery,
    configure,
    local_clock,
)

log = logging.getLogger(__name__)
# Outlets drop what is on its way when they are destroyed; receivers on this host need far less.
_LINGER_S = 0.3


def run_daemon(
    bundle_path: str, settings: ServeSettings, *, quiet: bool = False
) -> ServerStatus | None:
    """Serve until SIGINT, SIGTERM or the set duration.

    Parameters
    ----------
    bundle_path : str
        An ``.emag`` file.
    settings : ServeSettings
        What to read, how to render, where to publish.
    quiet : bool
        No live status on the terminal.

    Returns
    -------
    ServerStatus or None
        The last status; None when told to end before there was a source.

    Raises
    ------
    EmagError
        If the bundle, the engine or the stream fails.
    """
    bundle = load_bundle(bundle_path)
    upsampler = _make_upsampler(bundle, settings)
    configure(settings.lsl.scope, settings.lsl.session_id)
    with _stop_signals() as stop, contextlib.ExitStack() as stack:
        try:
            source = _open_source(settings, stop)
        except StreamNotFound:
            if stop.is_set():  # told to end while waiting: that is no failure
                return None
            raise
        stack.callback(source.close)
        _attach(upsampler, source.format, settings)
        spec = outlet_spec(bundle, upsampler, source.format, settings)
        sink = LslSink(spec)
        stack.callback(sink.close)
        markers = None
        if settings.output.marker_outlet:
            markers = LslMarkerSink(f"{spec.name}-markers", f"{spec.source_id}:markers")
            stack.callback(markers.close)
        reporters = _reporters(settings, spec, quiet, stack)

        def report_all(status: ServerStatus) -> None:
            for report in reporters:
                report(status)
            gc.collect()  # what little there is since it was switched off, at a quiet moment

        trace = Trace(local_clock) if settings.status.trace_path else None
        server = Server(
            upsampler,
            source,
            sink,
            local_clock,
            settings,
            markers,
            on_status=report_all,
            trace=trace,
        )
        _quiet_collector()
        print(ready_line(spec, source.format, upsampler), file=sys.stderr, flush=True)
        status = server.run(stop.is_set, settings.duration_s)
        for report in reporters:
            report.finish(status)
        if trace is not None and settings.status.trace_path is not None:
            trace.save(settings.status.trace_path)
        threading.Event().wait(_LINGER_S)
    return status


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM ask the loop to end; a second SIGINT ends it at once."""
    stop = threading.Event()

    def ask(signum: int, _frame: object) -> None:
        if stop.is_set() and signum == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _open_source(settings: ServeSettings, stop: threading.Event) -> LslSource:
    wanted = settings.source
    kind = wanted.type
    if not (wanted.source_id or wanted.name or wanted.type):
        kind = "EEG"
    query = StreamQuery(source_id=wanted.source_id, name=wanted.name, type=kind)
    timeout_s = math.inf if wanted.wait else wanted.timeout_s
    log.info("waiting for the source: %s", query)
    return LslSource.open(query, timeout_s, stop=stop.is_set)


def _make_upsampler(bundle: Bundle, settings: ServeSettings) -> Upsampler:
    """The signal path up to its input, which is not known yet.

    Whatever is wrong without a stream is said before waiting for one, and the engine is warm
    before the first sample can queue up.
    """
    if settings.source.unit is not None:
        unit_to_uv(settings.source.unit)
    for key in ("json_path", "trace_path"):
        path = getattr(settings.status, key)
        if path not in (None, "-") and not Path(str(path)).parent.is_dir():
            raise SettingsError(f"status.{key} {path}: the folder must exist. Make it first.")
    upsampler = Upsampler(
        bundle,
        engine=settings.engine.name,
        reference=settings.output.reference,
        measured=settings.output.measured,
        montage=settings.output.montage,
        hop=settings.engine.hop,
        require_gpu=settings.engine.require_gpu,
        max_bad_share=settings.bads.max_share,
        too_many_bad=settings.bads.policy,
    )
    if settings.output.montage is not None:
        log.info("montage: %s", upsampler.montage_note)
        for warning in upsampler.placement.warnings:
            log.warning("montage: %s", warning)
    _warm_up(upsampler)
    return upsampler


def _attach(upsampler: Upsampler, stream: StreamFormat, settings: ServeSettings) -> None:
    """Read the stream's channels, in its units."""
    match = match_input(stream, upsampler.bundle, settings.source.unit)
    for warning in match.warnings:
        log.warning(warning)
    upsampler.attach(match.channels, match.units)


def _warm_up(upsampler: Upsampler) -> None:
    """Run every code path once before the first real sample has to wait for it."""
    n_inputs = upsampler.n_inputs
    for n in (1, 2, 8):
        upsampler.push(np.zeros((n, n_inputs)))
    upsampler.reset()


def _quiet_collector() -> None:
    """Collect by hand from now on, and only what is made from now on."""
    gc.collect()
    gc.freeze()
    gc.disable()


def outlet_spec(
    bundle: Bundle, upsampler: Upsampler, stream: StreamFormat, settings: ServeSettings
) -> OutletSpec:
    """Header and description of the HD outlet.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    upsampler : Upsampler
        The signal path.
    stream : StreamFormat
        The input.
    settings : ServeSettings
        Name, reference, policies.

    Returns
    -------
    OutletSpec
        With a ``source_id`` that is the same at every start with the same output name, bundle,
        montage and host, and differs otherwise.
    """
    manifest, output = bundle.manifest, settings.output
    identity = "|".join(
        [
            output.name,
            bundle.sha256,
            ",".join(upsampler.labels),
            output.reference,
            output.measured,
            socket.gethostname(),
        ]
    )
    if output.montage is not None:  # the same labels may stand for other places
        places = np.round(upsampler.montage.positions_mm, 3) + 0.0
        identity += "|" + hashlib.sha256(places.tobytes()).hexdigest()
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    measured = {row for row, _ in upsampler.plan.measured}
    low_hz, high_hz = manifest.frontend.band_hz
    reference = output.reference
    return OutletSpec(
        name=output.name,
        source_id=output.source_id or f"emag-rt:{digest}",
        labels=upsampler.labels,
        sfreq=stream.sfreq,
        positions_mm=upsampler.montage.positions_mm,
        origin_mm=manifest.head.origin_mm,
        channel_origin=tuple(
            "measured" if row in measured else "rendered" for row in range(len(upsampler.labels))
        ),
        expected_nmse=upsampler.expected_nmse,
        virtual=upsampler.virtual,
        reference={
            "label": (stream.reference or "input") if reference == "input" else reference,
            "subtracted": "No" if reference == "input" else "Yes",
            "common_average": "Yes" if reference == "average" else "No",
        },
        highpass=low_hz,
        lowpass=high_hz,
        compensated_lag_s=stream.compensated_lag_s,
        model=manifest.name or bundle.sha256[:12],
        can_drop_samples=settings.gaps.policy == "skip",
        vendor={
            "version": __version__,
            "bundle_sha256": bundle.sha256,
            "bundle_format": str(manifest.format),
            "calibration": json.dumps(manifest.provenance.get("inputs", [])),
            "input_name": stream.name,
            "input_source_id": stream.source_id,
            "input_uid": stream.uid,
            "input_hostname": stream.hostname,
            "ld_labels": ",".join(e.label for e in manifest.ld),
            "engine": upsampler.engine,
            "anchor": manifest.anchor,
            "look_ahead_s": f"{manifest.look_ahead_samples / manifest.sfreq:g}",
            "hop": str(upsampler.hop),
            "measured_channels": output.measured,
            "montage": upsampler.montage_note,
            "gap_policy": settings.gaps.policy,
            "too_many_bad_policy": settings.bads.policy,
            "latency_policy": settings.latency.policy,
            "latency_budget_s": f"{settings.latency.budget_s:g}",
        },
    )


def _reporters(
    settings: ServeSettings, spec: OutletSpec, quiet: bool, stack: contextlib.ExitStack
) -> list[StatusFile | StatusOutlet | LiveView]:
    reporters: list[StatusFile | StatusOutlet | LiveView] = []
    if settings.status.json_path:
        reporters.append(stack.enter_context(StatusFile(settings.status.json_path)))
    if settings.output.status_outlet:
        outlet = StatusOutlet(spec.name, spec.source_id, local_clock, LslSink)
        stack.callback(outlet.close)
        reporters.append(outlet)
    if sys.stderr.isatty() and not quiet:
        reporters.append(stack.enter_context(LiveView(spec.name)))
    return reporters
