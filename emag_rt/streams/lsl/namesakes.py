"""Other outlets that receivers take for ours: of the same name, or the same source id."""

from __future__ import annotations

from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl.library import Resolver, header, local_clock
from emag_rt.streams.lsl.sink import LslSink
from emag_rt.streams.query import xpath_literal

_EVERY_S = 10.0


class LslNamesakes:
    """Looks for them now and then: a search that went on would ask the network all the time.

    Parameters
    ----------
    sink : LslSink
        Our outlet.
    """

    def __init__(self, sink: LslSink) -> None:
        name, source_id = (xpath_literal(x) for x in (sink.spec.name, sink.spec.source_id))
        self._predicate = f"(name={name} or source_id={source_id}) and uid!='{sink.uid}'"
        self._told: set[str] = set()
        self._resolver: Resolver | None = Resolver(self._predicate)
        self._next = 0.0

    def look(self) -> list[StreamFormat]:
        """Those that were not told before; called about once a second, never waits."""
        if self._resolver is None:
            if local_clock() >= self._next:
                self._resolver = Resolver(self._predicate)
            return []
        found = [header(info) for info in self._resolver.results()]
        self._resolver, self._next = None, local_clock() + _EVERY_S
        news = [other for other in found if other.uid not in self._told]
        self._told.update(other.uid for other in news)
        return news
