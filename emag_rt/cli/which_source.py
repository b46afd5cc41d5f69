"""Which stream could be meant: asking a person, and naming what is in sight."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from emag_rt.errors import EmagError

if TYPE_CHECKING:
    from emag_rt.daemon.settings import ServeSettings
    from emag_rt.streams.base import StreamFormat
    from emag_rt.streams.config import Scope

_MOST = 3


def could_be_worn(scope: Scope | None, session_id: str | None) -> str:
    """What ``--ld`` could be with ``--no-hd``: of the EEG streams in sight, and of other kinds.

    Parameters
    ----------
    scope, session_id : str or None
        Where LSL looks.

    Returns
    -------
    str
        Sentences.
    """
    found = [text for stream in _eeg_in_sight(scope, session_id) for text in _worn(stream)]
    seen = f"In sight: {', '.join(found[:_MOST])}. " if found else ""
    return (
        f"{seen}A headset: --ld @headset:openbci-cyton-8 (emag-rt headsets lists them). Names: "
        "--ld Fz,C3,C4,Pz,Oz. A count: --ld 8, the best places of --hd."
    )


def _eeg_in_sight(scope: Scope | None, session_id: str | None) -> list[StreamFormat]:
    try:
        from emag_rt.streams.lsl import configure
        from emag_rt.streams.lsl.discovery import list_streams

        configure(scope, session_id)
        return [stream for stream in list_streams() if stream.type.casefold() == "eeg"]
    except (EmagError, ImportError, OSError, RuntimeError):
        return []  # without LSL's library nothing is in sight


def _worn(stream: StreamFormat) -> list[str]:
    """``--ld`` for the stream itself, and for headsets whose stream has its name and channels."""
    from emag_rt.montages.headsets import headset_names, read_headset

    of = f"{stream.name!r}, {stream.n_channels} channels"
    found = [f"--ld @stream:{stream.source_id or stream.name} ({of})"]
    for headset in map(read_headset, headset_names()):
        if headset.lsl_name == stream.name and len(headset.channels) == stream.n_channels:
            found.append(f"--ld @headset:{headset.name}")
    return found


def ask_which(settings: ServeSettings, quiet: bool) -> ServeSettings:
    """Let the person at the terminal choose the source, if they named none.

    Parameters
    ----------
    settings : ServeSettings
        Of the daemon.
    quiet : bool
        Ask nothing.

    Returns
    -------
    ServeSettings
        With the source that was chosen; the same where there is nothing to choose, or nobody.
    """
    source = settings.source
    # A standard stream may be closed, and None.
    person = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    if quiet or not person or source.source_id or source.name:
        return settings
    from emag_rt.daemon.signal_path import source_query
    from emag_rt.streams.lsl import configure
    from emag_rt.streams.lsl.discovery import list_streams

    configure(settings.lsl.scope, settings.lsl.session_id)
    kind = source_query(settings).type
    found = [
        stream
        for stream in list_streams()
        if stream.type == kind and stream.channel_format not in ("string", "undefined")
    ]
    if len(found) < 2:
        return settings
    click.echo(f"several {kind} streams are in sight:", err=True)
    for number, stream in enumerate(found, 1):
        named = f"source id {stream.source_id}" if stream.source_id else "no source id"
        click.echo(
            f"  {number}  {stream.name!r}, {stream.n_channels} channels at {stream.sfreq:g} Hz, "
            f"{named}, on {stream.hostname}",
            err=True,
        )
    number = click.prompt("which one", type=click.IntRange(1, len(found)), err=True)
    chosen = found[number - 1]
    # An id outlives a restart of the amplifier; a name may be somebody else's, too.
    wanted = {"source_id": chosen.source_id} if chosen.source_id else {"name": chosen.name}
    return settings.model_copy(update={"source": source.model_copy(update=wanted)})
