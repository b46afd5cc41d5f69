"""What happened, as values: told to the log, and to whoever records markers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from emag_rt.engine.fit_watch import FitNews
from emag_rt.streams.base import Clock, MarkerSink, StreamFormat
from emag_rt.streams.query import describe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened to the stream.

    Attributes
    ----------
    name : str
        Of the marker.
    details : mapping
        Goes into the marker; values that JSON takes.
    text : str
        Line for the log; empty: none beside the marker's own.
    level : int
        Of that line, as in :mod:`logging`.
    """

    name: str
    details: Mapping[str, object] = field(default_factory=dict)
    text: str = ""
    level: int = logging.WARNING


def namesake(other: StreamFormat) -> Event:
    """Another outlet of our name or source id is on the network: receivers may take either."""
    text = (
        f"another outlet is on the network: {describe(other)}. Receivers may take it for this "
        "one, or mix the two: end one, or give it another --name (or output.source_id)"
    )
    details = {"name": other.name, "source_id": other.source_id, "hostname": other.hostname}
    return Event("namesake", details, text)


def fit_event(news: FitNews) -> Event:
    """LD does not fit the bundle, or fits again."""
    details: dict[str, object] = {"level": round(news.level, 2)}
    if news.exchanged:
        details["exchanged"] = list(news.exchanged)
    if news.fits:
        return Event("ld_fits", details, news.text)
    return Event("ld_misfit", details, news.text, logging.ERROR)


class Teller:
    """Tells events: a line in the log, then a marker.

    Parameters
    ----------
    clock : callable
        Stamps of the markers, in s.
    markers : MarkerSink, optional
        Where markers go.
    """

    def __init__(self, clock: Clock, markers: MarkerSink | None = None) -> None:
        self._clock, self._markers = clock, markers

    def tell(self, event: Event) -> None:
        """Tell one."""
        if event.text:
            log.log(event.level, "%s", event.text)
        marker = json.dumps({"event": event.name, **event.details})
        log.info("event %s", marker)
        if self._markers is not None:
            self._markers.push(marker, self._clock())
