"""Finding the one stream that is meant."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl.library import header, resolve
from emag_rt.streams.query import StreamQuery, not_found, require_one

# Resolving happens in C, where Python cannot run signal handlers: come back this often.
_SLICE_S = 0.5
# How long to look for further matches after the first. A local outlet answers within 10 ms.
_SETTLE_S = 0.3


@dataclass(frozen=True, eq=False)
class FoundStream:
    """A live stream: its header (no labels or units yet), and liblsl's handle to connect."""

    format: StreamFormat
    handle: Any


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
        Asked twice a second; waiting ends when it returns True.

    Returns
    -------
    FoundStream
        The stream, 0.3 s after its first answer (to see whether there are others).

    Raises
    ------
    StreamNotFound
        If none appears in time, listing the streams that are there.
    StreamAmbiguous
        If several match, listing them.
    """
    start = time.monotonic()
    predicate = query.predicate(ignore_source_ids)
    first: list[FoundStream] = []
    while not first:
        waited = time.monotonic() - start
        if waited >= timeout_s or (stop is not None and stop()):
            raise not_found(query, waited, list_streams(_SLICE_S))
        first = resolve_found(predicate, 1, min(timeout_s - waited, _SLICE_S))
    every = first + resolve_found(predicate, 1024, _SETTLE_S)
    unique = {stream.format.uid: stream for stream in every}
    chosen = require_one(query, [stream.format for stream in unique.values()])
    return unique[chosen.uid]


def list_streams(timeout_s: float = 1.0) -> list[StreamFormat]:
    """Headers of all streams that answer within ``timeout_s`` seconds, markers included."""
    found = resolve_found("", 0, timeout_s)
    return list({stream.format.uid: stream.format for stream in found}.values())


def resolve_found(predicate: str, minimum: int, timeout_s: float) -> list[FoundStream]:
    """Streams that match an XPath predicate, as soon as there are ``minimum`` of them."""
    return [FoundStream(header(info), info) for info in resolve(predicate, minimum, timeout_s)]
