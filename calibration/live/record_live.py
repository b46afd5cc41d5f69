"""From a live stream to a recording on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from calibration.live.channels import FIELDS, LiveChannels, live_channels
from calibration.live.display import Display, open_display
from calibration.live.journal import Journal
from calibration.live.keys import read_keys
from calibration.live.quality import QualityWatch
from calibration.live.recorder import Recorder
from calibration.live.session import LiveSession, Plan, require_samples
from calibration.live.session_file import fits_fif, open_journal
from calibration.live.stopping import StopRequest, end_as_asked, stop_requests
from emag_rt.core.naming import ChannelNames
from emag_rt.errors import EmagError, SettingsError, StreamNotFound
from emag_rt.recordings.reference import with_reference
from emag_rt.streams.lsl import (
    LslMarkerReader,
    LslSource,
    channel_fields,
    find_stream,
    local_clock,
)
from emag_rt.streams.named import NamedStream


@dataclass(frozen=True)
class LiveRequest:
    """What to record.

    Attributes
    ----------
    source : str
        Source id or name of the HD stream.
    plan : Plan
        When to start and to end.
    names : ChannelNames or None
        Names the channels where the stream does not.
    unit : str or None
        Unit, over what the stream declares.
    markers : tuple of str
        Source ids or names of marker streams; empty: all; ``("none",)``: none.
    timeout_s : float
        How long to look for the stream, in s.
    patience_s : float
        A stream that is silent for longer is lost, in s.
    band_hz : tuple of (float, float)
        Pass band of the causal front end in Hz.
    """

    source: str
    plan: Plan
    names: ChannelNames | None = None
    unit: str | None = None
    markers: tuple[str, ...] = ()
    timeout_s: float = 10.0
    patience_s: float = 120.0
    band_hz: tuple[float, float] = (0.5, 45.0)


def record_live(
    request: LiveRequest,
    out: str | Path,
    check: Callable[[LiveChannels, float], object],
    quiet: bool = False,
) -> Path:
    """Record a live stream beside the bundle that will be made of it.

    Parameters
    ----------
    request : LiveRequest
        What to record.
    out : path-like
        The bundle.
    check : callable
        Given the channels and the rate in Hz before anything is recorded; may raise.
    quiet : bool
        Show only what must not be missed.

    Returns
    -------
    Path
        The recording.

    Raises
    ------
    EmagError
        If the stream is not found, does not do, or fails; what came before is saved.
    KeyboardInterrupt
        If the user gave up; what came before is saved.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_requests())
        connected = _connect(request, stop, stack)
        if connected is None:
            stack.close()  # signals are the command line's again
            end_as_asked(stop)
            raise KeyboardInterrupt
        source, fields = connected
        channels = live_channels(source.format, fields, request.names, request.unit)
        _require_reader(channels)
        check(channels, source.format.sfreq)
        display = stack.enter_context(open_display(quiet))
        keys = stack.enter_context(read_keys(request.plan.wait_for_key))
        journal, others = open_journal(out, source.format, channels)
        stack.callback(journal.close)
        _announce(display, source, channels, journal)
        if others:
            display.say(
                f"warning: {', '.join(path.name for path in others)}: of sessions that go on or "
                "were cut short; emag-rt calibrate fits them like any recording"
            )
        session = _session(request, source, channels, journal, display, stop)
        session.keys = keys
        _drop_backlog(source)
        try:
            session.run()
            if not (stop.requested and not session.saved):
                require_samples(session, source.format.name)
        except EmagError:
            if session.saved:
                display.say(f"the recording so far is kept in {session.path}")
            raise
        _sum_up(session)
    end_as_asked(stop)
    if stop.requested and not session.saved:
        raise KeyboardInterrupt
    return session.path


def _connect(
    request: LiveRequest, stop: StopRequest, stack: contextlib.ExitStack
) -> tuple[LslSource, list[dict[str, str]]] | None:
    """The stream, and what it says of its channels; None where the user gave up looking."""
    query = NamedStream(request.source)
    try:
        found = find_stream(query, request.timeout_s, stop=lambda: stop.requested)
    except StreamNotFound:
        if stop.requested:
            return None
        raise
    fields = channel_fields(found, FIELDS)
    source = LslSource(found)
    stack.callback(source.close)
    return source, fields


def _session(
    request: LiveRequest,
    source: LslSource,
    channels: LiveChannels,
    journal: Journal,
    display: Display,
    stop: StopRequest,
) -> LiveSession:
    stream = source.format
    labels = [channels.labels[i] for i in channels.eeg]
    markers = None if request.markers == ("none",) else LslMarkerReader(request.markers)
    return LiveSession(
        recorder=Recorder(source, channels, local_clock, display.say, request.patience_s),
        quality=QualityWatch(labels, stream.sfreq, request.band_hz),
        plan=request.plan,
        journal=journal,
        display=display,
        stop=stop,
        clock=local_clock,
        markers=markers,
        description=with_reference(
            f"from LSL stream {stream.name!r}, source id {stream.source_id!r}", stream.reference
        ),
    )


def _require_reader(channels: LiveChannels) -> None:
    """Refuse at the start what could not be fitted at the end."""
    if not fits_fif(channels) and find_spec("pyxdf") is None:
        odd = next(label for label in channels.labels if not label.isascii())
        raise SettingsError(
            f"labels beyond ASCII must be kept as XDF, got {odd!r}, and pyxdf, which reads it, is "
            "not installed. Run pip install 'emag-rt[xdf]', or name the channel anew."
        )


def _drop_backlog(source: LslSource) -> None:
    """What came while all was made ready is older than the user's start."""
    source.pull(0.0)
    while not source.drained:
        source.pull(0.0)


def _announce(
    display: Display, source: LslSource, channels: LiveChannels, journal: Journal
) -> None:
    stream = source.format
    others = len(channels.labels) - len(channels.eeg)
    display.say(
        f"listening to {stream.name!r} (source id {stream.source_id!r}): {len(channels.eeg)} EEG "
        f"channels at {stream.sfreq:g} Hz"
        + (f", {others} others" if others else "")
        + f"; recording to {journal.path.name}"
    )
    if not fits_fif(channels):
        display.say("labels beyond ASCII fit into no FIF file: the recording stays XDF")
    for note in channels.notes:
        display.say(f"warning: {note}")


def _sum_up(session: LiveSession) -> None:
    """All that happened, in words; after the picture's last."""
    if not session.saved:
        return
    recorder, counts = session.recorder, session.recorder.counts
    say = session.display.say
    say(f"recorded {recorder.seconds:.1f} s to {session.path}, {session.n_markers} markers")
    told = (
        (counts.gaps, f"gaps, {counts.missing / recorder.sfreq:.1f} s are missing: left out"),
        (counts.bridged, "lost samples bridged by straight lines, as in serving"),
        (counts.jumps, "jumps of the source's clock: the recording is cut there"),
        (counts.duplicates, "samples came twice: dropped"),
        (counts.out_of_order, "samples came too late: dropped"),
        (counts.restamped, "samples had no time of their own: set a period apart"),
    )
    for n, what in told:
        if n:
            say(f"warning: {n} {what}")
    if recorder.rate_note:
        say(f"warning: {recorder.rate_note}")
    for finding in session.findings:
        say(f"warning: at the end {finding.advice}")
