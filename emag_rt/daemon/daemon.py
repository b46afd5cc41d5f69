"""The daemon: a server wired to LSL, with status for programs and for people."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import logging
import math
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emag_rt import __version__
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import ServeSettings
from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.daemon.status.reporting import LiveView, Reporter, StatusFile, StatusOutlet, ready_line
from emag_rt.daemon.status.systemd import Notifier
from emag_rt.daemon.stopping import stop_signals
from emag_rt.daemon.trace import Trace
from emag_rt.engine.matching import match_input
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import SettingsError, StreamError
from emag_rt.files import remove
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
    quick_clock,
)

if TYPE_CHECKING:
    from emag_rt.daemon.status.prometheus import Vitals

log = logging.getLogger(__name__)
# Outlets drop what is on its way when they are destroyed; receivers on this host need far less.
_LINGER_S = 0.3


def run_daemon(
    bundle_path: str,
    settings: ServeSettings,
    *,
    quiet: bool = False,
    stop: threading.Event | None = None,
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
    stop : threading.Event, optional
        Ends the daemon when set, in place of signals.

    Returns
    -------
    ServerStatus or None
        The last status; None when told to end before samples were served.

    Raises
    ------
    EmagError
        If the bundle, the engine or the stream fails, or an output cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        if stop is None:
            stop = stack.enter_context(stop_signals())
        bundle = load_bundle(bundle_path)
        configure(settings.lsl.scope, settings.lsl.session_id)
        _check_outputs(settings)
        upsampler = _make_upsampler(bundle, settings)
        outputs = _Outputs(settings, upsampler, stack)

        def stopped() -> bool:
            outputs.waiting()
            return stop.is_set()

        try:
            source = _open_source(settings, stopped)
            stack.callback(source.close)
            _attach(upsampler, source.format, settings)
        except StreamError:
            if stop.is_set():  # told to end while waiting: that is no failure
                return None
            raise
        if stop.is_set():
            return None
        return _serve(upsampler, source, settings, outputs, stop, quiet, stack)


def _serve(
    upsampler: Upsampler,
    source: LslSource,
    settings: ServeSettings,
    outputs: _Outputs,
    stop: threading.Event,
    quiet: bool,
    stack: contextlib.ExitStack,
) -> ServerStatus:
    spec = outlet_spec(upsampler.bundle, upsampler, source.format, settings)
    sink = LslSink(spec)
    stack.callback(sink.close)
    markers = None
    if settings.output.marker_outlet:
        markers = LslMarkerSink(f"{spec.name}-markers", f"{spec.source_id}:markers")
        stack.callback(markers.close)
    labels = [e.label for e in upsampler.bundle.manifest.ld]
    reporters = [*outputs.reporters, *_live_reporters(settings, spec, labels, quiet, stack)]

    def report_all(status: ServerStatus) -> None:
        for report in reporters:
            report(status)
        gc.collect()  # what little there is since it was switched off, at a quiet moment

    clock = quick_clock()
    trace = Trace(clock) if settings.status.trace_path else None
    server = Server(
        upsampler, source, sink, clock, settings, markers, on_status=report_all, trace=trace
    )
    _quiet_collector(stack)
    outputs.serving(server)
    _tell(ready_line(spec, source.format, upsampler))
    try:
        status = server.run(stop.is_set, settings.duration_s)
    finally:  # also after an error: the account is closed, and receivers get the last rows
        for report in reporters:
            report.finish(server.status())
        if trace is not None and settings.status.trace_path is not None:
            trace.save(settings.status.trace_path)
        threading.Event().wait(_LINGER_S)
    return status


class _Outputs:
    """What tells how it goes before there is a source: status file, HTTP, systemd.

    Opened before waiting, so that what cannot be opened is said at once, and nothing of an earlier
    run is taken for news.
    """

    def __init__(
        self, settings: ServeSettings, upsampler: Upsampler, stack: contextlib.ExitStack
    ) -> None:
        status = settings.status
        self.reporters: list[Reporter] = []
        self._vitals: Vitals | None = None
        if status.trace_path:
            remove(status.trace_path, "--trace")
        if status.json_path:
            self.reporters.append(stack.enter_context(StatusFile(status.json_path)))
        if settings.http.port is not None:
            self._vitals = _serve_http(settings.http.host, settings.http.port, upsampler, stack)
            self.reporters.append(self._vitals)
        self._notifier = Notifier.from_environment(status.interval_s)
        if self._notifier is not None:
            stack.callback(self._notifier.close)
            self._notifier.waiting()
            self.reporters.append(self._notifier)

    def waiting(self) -> None:
        """Say that looking for the source goes on."""
        if self._vitals is not None:
            self._vitals.beat()

    def serving(self, server: Server) -> None:
        """Say that samples are served."""
        if self._vitals is not None:
            self._vitals.follow(lambda: server.heartbeat, lambda: server.state)
        if self._notifier is not None:
            self._notifier.ready()


def _serve_http(host: str, port: int, upsampler: Upsampler, stack: contextlib.ExitStack) -> Vitals:
    # Imported by those who ask for it alone: it takes a tenth of a second.
    from emag_rt.daemon.status.http import PageServer
    from emag_rt.daemon.status.prometheus import Vitals

    bundle = upsampler.bundle
    build = {
        "version": __version__,
        "bundle_sha256": bundle.sha256[:12],
        "engine": upsampler.engine,
    }
    vitals = Vitals(local_clock, [e.label for e in bundle.manifest.ld], build)
    pages = stack.enter_context(PageServer(host, port, vitals.pages()))
    _tell(f"http: {pages.url}")
    return vitals


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # a log on a full disk must not end the experiment
        print(line, file=sys.stderr, flush=True)


def _open_source(settings: ServeSettings, stop: Callable[[], bool]) -> LslSource:
    wanted = settings.source
    kind = wanted.type
    if not (wanted.source_id or wanted.name or wanted.type):
        kind = "EEG"
    query = StreamQuery(source_id=wanted.source_id, name=wanted.name, type=kind)
    timeout_s = math.inf if wanted.wait else wanted.timeout_s
    log.info("waiting for the source: %s", query)
    return LslSource.open(query, timeout_s, stop=stop)


def _check_outputs(settings: ServeSettings) -> None:
    for key in ("json_path", "trace_path"):
        path = getattr(settings.status, key)
        if path not in (None, "-") and not Path(str(path)).parent.is_dir():
            raise SettingsError(f"status.{key} {path}: the folder must exist. Make it first.")


def _make_upsampler(bundle: Bundle, settings: ServeSettings) -> Upsampler:
    """The signal path up to its input, which is not known yet.

    Whatever is wrong without a stream is said before waiting for one, and the engine is warm
    before the first sample can queue up.
    """
    if settings.source.unit is not None:
        unit_to_uv(settings.source.unit)
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
    """Run the code of serving before the first real sample has to wait for it."""
    n_inputs = upsampler.n_inputs
    for n in (1, 1, 2, 8, 1):
        upsampler.push(np.zeros((n, n_inputs)))
        upsampler.prepare()
    upsampler.reset()


def _quiet_collector(stack: contextlib.ExitStack) -> None:
    """Collect by hand while serving, and only what is made from now on."""
    gc.collect()
    gc.freeze()
    gc.disable()
    stack.callback(gc.unfreeze)
    stack.callback(gc.enable)


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
            "status_interval_s": f"{settings.status.interval_s:g}",
        },
    )


def _live_reporters(
    settings: ServeSettings,
    spec: OutletSpec,
    labels: list[str],
    quiet: bool,
    stack: contextlib.ExitStack,
) -> list[Reporter]:
    reporters: list[Reporter] = []
    if settings.output.status_outlet:
        outlet = StatusOutlet(spec.name, spec.source_id, local_clock, LslSink, labels)
        stack.callback(outlet.close)
        reporters.append(outlet)
    if sys.stderr.isatty() and not quiet:
        reporters.append(stack.enter_context(LiveView(spec.name)))
    return reporters
