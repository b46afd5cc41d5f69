"""The daemon: a bundle served over LSL, from its start to its end."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
from pathlib import Path

from emag_rt.bundle import load_bundle
from emag_rt.daemon.adapting import Adapting, Wishes
from emag_rt.daemon.hd_outlet import outlet_spec
from emag_rt.daemon.learner import LearnerProcess
from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import ServeSettings
from emag_rt.daemon.signal_path import attach, make_upsampler, open_source, source_query
from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.daemon.status.reporters import Reporters
from emag_rt.daemon.status.terminal import Waiting, ready_line, tell
from emag_rt.daemon.stopping import answering, stop_signals
from emag_rt.daemon.trace import Trace
from emag_rt.engine.matching import InputMatch
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import SettingsError, StreamError
from emag_rt.files import remove
from emag_rt.streams.lsl import (
    LslMarkerSink,
    LslNamesakes,
    LslSink,
    LslSource,
    configure,
    list_streams,
    quick_clock,
)
from emag_rt.streams.marker_codes import event_code
from emag_rt.system import SAVE_AND_UNDO


def serve_bundle(
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
        wishes, adapts = Wishes(), settings.adapt.enabled
        if adapts or all(signal.getsignal(n) is signal.SIG_DFL for n in SAVE_AND_UNDO):
            stack.enter_context(answering(SAVE_AND_UNDO, wishes.save, wishes.undo))
        if stop is None:
            stop = stack.enter_context(stop_signals())
        bundle = load_bundle(bundle_path)
        configure(settings.lsl.scope, settings.lsl.session_id)
        _check_folders(settings)
        upsampler = make_upsampler(bundle, settings)
        if settings.status.trace_path:
            remove(settings.status.trace_path, "--trace")
        reporters = Reporters(settings, upsampler, stack)
        adapting = _start_adapting(bundle_path, upsampler, settings, wishes, stack)

        look_around = Waiting(source_query(settings), list_streams, time.monotonic)

        def stopped() -> bool:
            reporters.waiting()
            if not adapts:
                wishes.refuse()
            if not quiet:
                look_around()
            return stop.is_set()

        try:
            source = open_source(settings, stopped)
            stack.callback(source.close)
            match = attach(upsampler, source.format, settings)
        except StreamError:
            if stop.is_set():  # told to end while waiting: that is no failure
                return None
            raise
        if stop.is_set():
            return None
        return _serve(
            upsampler, source, match, settings, reporters, stop, quiet, stack, adapting, wishes
        )


def _serve(
    upsampler: Upsampler,
    source: LslSource,
    match: InputMatch,
    settings: ServeSettings,
    reporters: Reporters,
    stop: threading.Event,
    quiet: bool,
    stack: contextlib.ExitStack,
    adapting: Adapting | None,
    wishes: Wishes,
) -> ServerStatus:
    spec = outlet_spec(upsampler, source.format, settings, source.description(), match)
    sink = LslSink(spec)
    stack.callback(sink.close)
    markers = None
    if settings.output.marker_outlet:
        code_of = event_code if settings.output.marker_format == "int32" else None
        markers = LslMarkerSink(f"{spec.name}-markers", f"{spec.source_id}:markers", code_of)
        stack.callback(markers.close)
    if settings.output.status_outlet:
        reporters.add_outlet(spec)
    if not quiet:
        reporters.add_terminal(spec.name)

    def report(status: ServerStatus) -> None:
        reporters(status)
        if adapting is None:
            wishes.refuse()
        gc.collect()  # what little there is since it was switched off, at a quiet moment

    clock = quick_clock()
    trace = Trace(clock) if settings.status.trace_path else None
    server = Server(
        upsampler,
        source,
        sink,
        clock,
        settings,
        markers,
        on_status=report,
        trace=trace,
        namesakes=LslNamesakes(sink),
        match=match,
        adapting=adapting,
    )
    _quiet_collector(stack)
    reporters.serving(server)
    tell(ready_line(spec, source.format, upsampler))
    try:
        status = server.serve(stop.is_set, settings.duration_s)
    finally:  # also after an error: the account is closed
        reporters.finish(server.status())
        if trace is not None and settings.status.trace_path is not None:
            trace.save(settings.status.trace_path)
    return status


def _start_adapting(
    bundle_path: str,
    upsampler: Upsampler,
    settings: ServeSettings,
    wishes: Wishes,
    stack: contextlib.ExitStack,
) -> Adapting | None:
    """Where it is asked for: a process that looks for sources while the amplifier is waited for."""
    wanted = settings.adapt
    if not wanted.enabled:
        return None
    learner = LearnerProcess(bundle_path, upsampler, wanted)
    stack.callback(learner.close)
    return Adapting(upsampler, learner, wishes)


def _check_folders(settings: ServeSettings) -> None:
    status = settings.status
    for key, path in (("json_path", status.json_path), ("trace_path", status.trace_path)):
        if path not in (None, "-") and not Path(path).parent.is_dir():
            raise SettingsError(f"status.{key} {path}: the folder must exist. Make it first.")


def _quiet_collector(stack: contextlib.ExitStack) -> None:
    """Collect by hand while serving, and only what is made from now on."""
    gc.collect()
    gc.freeze()
    gc.disable()
    stack.callback(gc.unfreeze)
    stack.callback(gc.enable)
