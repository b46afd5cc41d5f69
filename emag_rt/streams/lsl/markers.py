"""Events of other programs: marker streams, found and read as they come up."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emag_rt.errors import StreamError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl.library import Inlet, Resolver, header
from emag_rt.streams.named import named

log = logging.getLogger(__name__)
_OUR_OWN = ":markers"
_CONNECT_S = 2.0
# Hundreds of events: half a minute of ten thousand a second.
_BUFFER = 3600
# An outlet that floods us must let us do other things.
_MOST_PULLS = 32


@dataclass(frozen=True)
class Marker:
    """An event.

    Attributes
    ----------
    stamp : float
        Seconds on this host's LSL clock.
    text : str
        What it says.
    stream : str
        Name of its stream.
    """

    stamp: float
    text: str
    stream: str


class LslMarkerReader:
    """Reads marker streams of this LSL session, also such as appear later.

    Parameters
    ----------
    words : sequence of str
        Source ids or names of the streams; empty: every stream of texts of an irregular rate, but
        for the events of ``emag-rt serve``.

    Attributes
    ----------
    streams : list of str
        Names of those that were found.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._everything = not words
        wanted = "channel_format='string'"
        if words:
            wanted = f"({' or '.join(named(word) for word in words)})"
        self._resolver = Resolver(f"{wanted} and nominal_srate=0")
        self._inlets: dict[tuple[str, ...], tuple[str, Inlet]] = {}
        self.streams: list[str] = []

    def look(self) -> list[str]:
        """Connect to streams that have come up; returns their names."""
        new = []
        for info in self._resolver.results():
            head = header(info)
            if self._everything and head.source_id.endswith(_OUR_OWN):
                continue
            key = _key(head)
            if key in self._inlets:
                continue
            try:
                self._inlets[key] = (head.name, _inlet(info, head))
            except StreamError as error:  # gone again, or too busy: asked again next time
                log.info("%s", error)
                continue
            new.append(head.name)
        self.streams += new
        return new

    def pull(self) -> list[Marker]:
        """Events that have arrived, in order of time."""
        found = []
        for key, (name, inlet) in list(self._inlets.items()):
            try:
                events = _arrived(inlet)
            except StreamError as error:  # only without a source id; it may come back as another
                log.warning("%s", error)
                del self._inlets[key]
                continue
            found += [Marker(stamp, text, name) for text, stamp in events]
        return sorted(found, key=lambda marker: marker.stamp)

    def close(self) -> None:
        """Let go of all streams."""
        self._inlets.clear()


def _arrived(inlet: Inlet) -> list[tuple[str, float]]:
    events: list[tuple[str, float]] = []
    for _ in range(_MOST_PULLS):
        more = inlet.pull_texts()
        events += more
        if not more:
            break
    return events


def _key(head: StreamFormat) -> tuple[str, ...]:
    """LSL takes up a stream with a source id again by itself: no second inlet for it."""
    return (head.name, head.type, head.source_id) if head.source_id else (head.uid,)


def _inlet(info: Any, head: StreamFormat) -> Inlet:
    # On this host the stamps are right as they are.
    elsewhere = head.hostname != socket.gethostname()
    inlet = Inlet(info, f"marker stream {head.name!r}", _BUFFER, recover=True, our_clock=elsewhere)
    # An outlet sends nothing to those who are not there yet: what is said to be listened to is.
    inlet.open_stream(_CONNECT_S)
    return inlet
