"""A live LSL stream as input."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import FloatArray, Samples
from emag_rt.errors import StreamError, StreamMismatch
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.clock_offset import ClockOffset
from emag_rt.streams.lsl.discovery import FoundStream, Search
from emag_rt.streams.lsl.library import Inlet, Resolver, header, local_clock, resolve
from emag_rt.streams.metadata import Tree
from emag_rt.streams.query import StreamQuery, not_found, require_one

log = logging.getLogger(__name__)
# Two processes on one machine agree to microseconds; more means two machines of one name.
_SAME_CLOCK_S = 1e-3
_PATIENCE_S = 20.0
_MEASURE_S = 0.5


class LslSource:
    """A live LSL input (see :class:`emag_rt.streams.base.Source`).

    On this host the source's stamps are passed on bit for bit; those of another host are brought
    to this host's clock (see :class:`emag_rt.streams.clock_offset.ClockOffset`). A stream that
    comes back with the same source id is taken up again by liblsl itself, in one to two seconds.

    Parameters
    ----------
    stream : FoundStream
        The stream.
    timeout_s : float
        Time allowed for each step of connecting, in seconds; 20 at least for another host, whose
        network may lose every fifth packet.
    max_buffer_s : int
        Seconds of data that wait for :meth:`pull`. Half a minute outlives any stall worth
        catching up with, and bounds memory; what is older is dropped, which shows as a gap in
        the stamps.
    check : callable, optional
        Called when all is known of the stream, before its data is asked for; may raise.
    recover : bool
        Whether liblsl takes the stream up again when it comes back. If not, :meth:`pull` raises
        as soon as it is lost.

    Attributes
    ----------
    drained : bool
        Whether the last pull took all samples that had arrived.
    clock_correction_s : float
        Offset from the source's clock to this host's, in seconds.
    same_clock : bool
        Whether the source's stamps are used as they are.

    Raises
    ------
    StreamMismatch
        If the stream carries strings.
    StreamError
        If it does not answer in time.
    """

    def __init__(
        self,
        stream: FoundStream,
        *,
        timeout_s: float = 5.0,
        max_buffer_s: int = 30,
        check: Callable[[], object] | None = None,
        recover: bool = True,
    ) -> None:
        head = stream.format
        self._what = f"stream {head.name!r}"
        if head.channel_format in ("string", "undefined"):
            raise StreamMismatch(
                f"{self._what}: samples must be numbers, got format {head.channel_format}. "
                "Choose the signal stream, not its markers."
            )
        self._inlet: Inlet | None = Inlet(stream.handle, self._what, max_buffer_s, recover)
        if not _is_here(head.hostname):
            timeout_s = max(timeout_s, _PATIENCE_S)
        self._format = self._inlet.full_format(timeout_s)
        # Blocks for 0.64 s, so it comes before data starts to queue up.
        self._choose_clock(stream.handle, self._format.hostname, timeout_s)
        self._make_buffers(self._inlet.dtype)
        self._resolver: Resolver | None = None
        self.drained = True
        if check is not None:
            check()
        self._inlet.open_stream(timeout_s)

    @classmethod
    def open(
        cls,
        query: StreamQuery,
        timeout_s: float,
        ignore_source_ids: Collection[str] = (),
        *,
        stop: Callable[[], bool] | None = None,
    ) -> LslSource:
        """Find one stream and connect to it.

        Parameters and errors are those of :func:`~emag_rt.streams.lsl.find_stream` and of the
        class. Other matches are looked for while connecting, which takes as long.
        """
        search = Search(query, ignore_source_ids)
        found = search.first(timeout_s, stop)
        log.info("connecting to %r, source id %r", found.format.name, found.format.source_id)
        return cls(found, check=search.require_single)

    @property
    def format(self) -> StreamFormat:
        """Format seen when the source was opened."""
        return self._format

    def description(self, timeout_s: float = 5.0) -> Tree:
        """What else the stream said of itself when it was opened: the children of ``desc``."""
        return () if self._inlet is None else self._inlet.description(timeout_s)

    def pull(self, timeout_s: float) -> tuple[Samples, FloatArray]:
        """Wait in liblsl for the first sample, then take all that have arrived.

        Parameters
        ----------
        timeout_s : float
            Longest wait for the first sample, in seconds.

        Returns
        -------
        samples : ndarray, shape (n_times, n_channels)
            float32 or float64 (integers become float64), in the unit of the source; views of
            memory that the next call overwrites. ``n_times`` is 0 when the time ran out, and
            about one second of data at most.
        timestamps : ndarray, shape (n_times,), float64
            Capture stamps in seconds on this host's LSL clock.

        Raises
        ------
        StreamError
            If the source is closed, or was lost for good (only without a source id).
        """
        n = self._pull_at(0, 1, timeout_s)
        # liblsl hands over sample by sample: drain until nothing is left, so that a chunk
        # comes in one piece.
        while 0 < n < self._capacity:
            more = self._pull_at(n, self._capacity - n, 0.0)
            if more == 0:
                break
            n += more
        self.drained = n < self._capacity
        if self._offset is not None and n:
            self._to_our_clock(self._offset, self._stamps[:n])
        if self._floats is None:
            return self._raw[:n], self._stamps[:n]
        np.copyto(self._floats[:n], self._raw[:n])
        return self._floats[:n], self._stamps[:n]

    def current_format(self, timeout_s: float) -> StreamFormat:
        """Format of the stream that has the source's name, type and id now.

        liblsl recovers a stream without comparing rate and labels, not at all when the channel
        count or format changed, and an inlet repeats for ever what it read first (seen with
        liblsl 1.18). So the outlet is looked up anew.

        Parameters
        ----------
        timeout_s : float
            Time allowed for looking, and for the answer, in seconds.

        Returns
        -------
        StreamFormat
            What the outlet says now.

        Raises
        ------
        StreamError
            If there is none (:class:`~emag_rt.errors.StreamNotFound`), several
            (:class:`~emag_rt.errors.StreamAmbiguous`), or one that does not answer.
        """
        self._resolver = None
        known, query = self._format, self._query()
        found = {info.uid(): info for info in resolve(query.predicate(), timeout_s)}
        if not found:
            raise not_found(query, timeout_s, [])
        if known.uid in found:
            return known
        formats = [Inlet(info, self._what).full_format(timeout_s) for info in found.values()]
        now = formats[0]
        if any(replace(other, uid=now.uid, hostname=now.hostname) != now for other in formats):
            require_one(query, formats)
        if now.hostname != known.hostname and self._inlet is not None:
            self._choose_clock(next(iter(found.values())), now.hostname, max(timeout_s, 2.0))
        return now

    def replaced_by(self) -> StreamFormat | None:
        """While the source is silent: what came in its place and cannot be taken up again.

        Returns
        -------
        StreamFormat or None
            A stream of the same name, type and id with other channels or number format, when
            there is none that fits.

        Raises
        ------
        StreamAmbiguous
            If several fit: liblsl takes up none of them.
        """
        if self._resolver is None:
            self._resolver = Resolver(self._query().predicate())
        known = self._format
        found = {info.uid(): info for info in self._resolver.results()}
        # The outlet that went away is listed for five seconds more.
        found.pop(known.uid, None)
        heads = {uid: header(info) for uid, info in found.items()}
        fits = [head for head in heads.values() if _same_kind(head, known)]
        if len(fits) > 1:
            require_one(self._query(), fits)
        if fits or not heads:
            return None
        uid = next(iter(heads))
        try:
            return Inlet(found[uid], self._what).full_format(2.0)
        except StreamError:  # gone again
            return None

    def _query(self) -> StreamQuery:
        known = self._format
        return StreamQuery(known.source_id or None, known.name or None, known.type or None)

    def samples_available(self) -> int:
        """Samples that wait in liblsl's buffer."""
        return 0 if self._inlet is None else self._inlet.samples_available()

    def close(self) -> None:
        """Let go of the stream; harmless when repeated."""
        self._inlet = self._resolver = None

    def _choose_clock(self, info: Any, hostname: str, timeout_s: float) -> None:
        """Pass stamps on as they are when source and receiver share a clock."""
        local = _is_here(hostname)
        # Once asked, an inlet measures every second as long as it lives, and liblsl keeps some
        # 250 bytes each time: here the answer is needed once, so it comes from one that goes.
        inlet = Inlet(info, self._what) if local or self._inlet is None else self._inlet
        # Stamps of another host mean nothing without the offset, and probes get lost.
        patience_s = timeout_s if local else max(timeout_s, _PATIENCE_S)
        round_trip_s = 0.0
        try:
            self.clock_correction_s, round_trip_s, self._measured = inlet.clock_correction(
                patience_s
            )
        except StreamError:
            if not local:
                raise
            self.clock_correction_s = self._measured = 0.0
        # On a busy machine the measurement itself may be off by milliseconds.
        error_s = max(_SAME_CLOCK_S, 0.5 * round_trip_s)
        self.same_clock = local and abs(self.clock_correction_s) < error_s
        self._offset = None
        if not self.same_clock:
            now = local_clock()
            self._offset = ClockOffset(now, self.clock_correction_s, round_trip_s)
            self._ask_again = now + _MEASURE_S

    def _to_our_clock(self, offset: ClockOffset, stamps: FloatArray) -> None:
        """Add the offset in place, and now and then see whether LSL has measured it again."""
        now = local_clock()
        if now >= self._ask_again and self._inlet is not None:
            self._ask_again = now + _MEASURE_S
            with contextlib.suppress(StreamError):  # the estimate goes on without
                offset_s, round_trip_s, remote_s = self._inlet.clock_correction(0.0)
                if remote_s != self._measured:
                    self._measured = remote_s
                    offset.observe(remote_s + offset_s, offset_s, round_trip_s)
        self.clock_correction_s = offset.at(now)
        stamps += self.clock_correction_s

    def _make_buffers(self, dtype: np.dtype[Any]) -> None:
        """Memory that liblsl writes to, made once: a second of data, 64 samples at least."""
        self._capacity = max(64, math.ceil(self._format.sfreq))
        shape = (self._capacity, self._format.n_channels)
        self._raw: NDArray[Any] = np.zeros(shape, dtype=dtype)
        self._stamps = np.zeros(self._capacity)
        self._floats = None if np.issubdtype(dtype, np.floating) else np.zeros(shape)
        self._addresses = (self._raw.ctypes.data, self._stamps.ctypes.data)

    def _pull_at(self, row: int, n_samples: int, timeout_s: float) -> int:
        """Let liblsl write up to ``n_samples`` from ``row`` on; returns the samples written."""
        if self._inlet is None:
            raise StreamError(f"{self._what} is closed. Open it again to read.")
        n_channels = self._format.n_channels
        written = self._inlet.pull_into(
            self._addresses[0] + row * self._raw.strides[0],
            self._addresses[1] + row * self._stamps.itemsize,
            n_samples * n_channels,
            n_samples,
            timeout_s,
        )
        return written // n_channels


def _is_here(hostname: str) -> bool:
    return hostname == socket.gethostname()


def _same_kind(a: StreamFormat, b: StreamFormat) -> bool:
    """Whether liblsl takes up one for the other."""
    return (a.n_channels, a.channel_format) == (b.n_channels, b.channel_format)
