"""Finding the one stream that is meant."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from emag_rt.streams.base import StreamFormat
from emag_rt.streams.config import session_id_in_use
from emag_rt.streams.lsl.library import Resolver, header, resolve
from emag_rt.streams.query import StreamQuery, not_found, require_one

_POLL_S = 0.01
# How long to look for further matches: LSL asks by multicast at once, and by unicast half a
# second later (all it does in a plain machine scope, where one outlet only answers at first).
_SETTLE_S = 0.3
_SEARCH_S = 0.75


@dataclass(frozen=True, eq=False)
class FoundStream:
    """A live stream: its header (no labels or units yet), and liblsl's handle to connect."""

    format: StreamFormat
    handle: Any


class Search:
    """A search for the one numeric stream with given properties, going on in the background.

    Parameters
    ----------
    query : StreamQuery
        Properties; all of them must match.
    ignore_source_ids : collection of str
        Streams that are never meant, such as our own output.
    """

    def __init__(self, query: StreamQuery, ignore_source_ids: Collection[str] = ()) -> None:
        self._query = query
        self._resolver = Resolver(query.predicate(ignore_source_ids))
        self._begun = time.monotonic()
        self._first_seen = 0.0

    def first(self, timeout_s: float, stop: Callable[[], bool] | None = None) -> FoundStream:
        """Wait for the first match, up to ``timeout_s`` seconds or until ``stop()`` is true.

        Raises
        ------
        StreamNotFound
            If none appears, listing the streams that are there.
        """
        while True:
            found = self._results()
            waited = time.monotonic() - self._begun
            # An irregular stream is refused later, by name; its regular twin may yet answer.
            if found and (found[0].format.sfreq > 0 or waited >= _SEARCH_S):
                self._first_seen = waited
                return found[0]
            if stop is not None and stop():  # nobody waits for a list
                raise not_found(self._query, waited, [])
            if waited >= timeout_s:
                raise not_found(self._query, waited, list_streams(0.6), session_id_in_use())
            # In C, a search would keep Python from running signal handlers.
            time.sleep(_POLL_S)

    def require_single(self) -> None:
        """Wait until other matches would have answered, and raise if there are any.

        Raises
        ------
        StreamAmbiguous
            If several streams match, listing them.
        """
        until = max(_SEARCH_S, self._first_seen + _SETTLE_S)
        time.sleep(max(0.0, self._begun + until - time.monotonic()))
        found = [stream.format for stream in self._results()]
        if len(found) > 1:
            require_one(self._query, found)

    def _results(self) -> list[FoundStream]:
        found = (FoundStream(header(info), info) for info in self._resolver.results())
        streams = list({stream.format.uid: stream for stream in found}.values())
        # MNE-LSL's player gives its annotations the source id of its samples.
        return [stream for stream in streams if stream.format.sfreq > 0] or streams


def find_stream(
    query: StreamQuery,
    timeout_s: float,
    ignore_source_ids: Collection[str] = (),
    *,
    stop: Callable[[], bool] | None = None,
) -> FoundStream:
    """Wait for the one numeric stream with the given properties.

    Parameters
    ----------
    query : StreamQuery
        Properties; all of them must match.
    timeout_s : float
        How long to wait, in seconds; ``inf`` for ever.
    ignore_source_ids : collection of str
        Streams that are never meant, such as our own output.
    stop : callable, optional
        Waiting ends when it returns True.

    Returns
    -------
    FoundStream
        The stream, after 0.75 s at least (to see whether there are others).

    Raises
    ------
    StreamNotFound
        If none appears in time, listing the streams that are there.
    StreamAmbiguous
        If several match, listing them.
    """
    search = Search(query, ignore_source_ids)
    found = search.first(timeout_s, stop)
    search.require_single()
    return found


def all_streams(timeout_s: float = 1.0) -> list[FoundStream]:
    """All streams that answer within ``timeout_s`` seconds, markers included."""
    found = (FoundStream(header(info), info) for info in resolve("", timeout_s))
    return list({stream.format.uid: stream for stream in found}.values())


def list_streams(timeout_s: float = 1.0) -> list[StreamFormat]:
    """Headers of all streams that answer within ``timeout_s`` seconds, markers included."""
    return [stream.format for stream in all_streams(timeout_s)]
