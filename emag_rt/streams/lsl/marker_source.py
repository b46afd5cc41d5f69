"""A live LSL stream of events as input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emag_rt.errors import StreamError
from emag_rt.streams.lsl.library import Inlet, resolve
from emag_rt.streams.query import StreamQuery, not_found

_LOOK_S = 0.5


class LslMarkerSource:
    """Reads a stream of strings, such as a daemon's events, until it goes away.

    Parameters
    ----------
    query : StreamQuery
        Properties; of several streams that have them, the first that answers is taken.
    timeout_s : float
        How long to look for it, in seconds.
    stop : callable, optional
        Looking ends when it returns True.

    Raises
    ------
    StreamNotFound
        If none appears in time.
    StreamError
        If it does not answer.
    """

    def __init__(
        self, query: StreamQuery, timeout_s: float, stop: Callable[[], bool] | None = None
    ) -> None:
        waited_s = 0.0
        found: list[Any] = []
        while not found and waited_s < timeout_s and not (stop is not None and stop()):
            found = resolve(query.predicate(strings=True), _LOOK_S)
            waited_s += _LOOK_S
        if not found:
            raise not_found(query, waited_s, [])
        self._inlet: Inlet | None = Inlet(found[0], f"events of {query}")
        self._inlet.open_stream(5.0)

    def pull(self, timeout_s: float) -> tuple[str, float] | None:
        """Wait for one event.

        Parameters
        ----------
        timeout_s : float
            Longest wait, in seconds.

        Returns
        -------
        text : str
            The event.
        stamp : float
            When it happened, in seconds on the sender's clock. None instead of both when the
            time ran out.

        Raises
        ------
        StreamError
            If the stream has gone, or is closed.
        """
        if self._inlet is None:
            raise StreamError("the stream of events is closed. Open it again to read.")
        return self._inlet.pull_text(timeout_s)

    def close(self) -> None:
        """Let go of the stream."""
        self._inlet = None
