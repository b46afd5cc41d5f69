"""Asking a person which stream is meant, where several could be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from emag_rt.daemon.settings import ServeSettings


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
