"""In-memory twins of clock, source and sinks: tests of the engine neither sleep nor connect."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import Float32Array, FloatArray, Samples
from emag_rt.errors import SettingsError, StreamError
from emag_rt.streams.base import StreamFormat


class ManualClock:
    """A clock that moves only when told.

    Parameters
    ----------
    now_s : float
        Time at the start, in seconds.
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = float(now_s)

    def __call__(self) -> float:
        """Time in seconds."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move on; a clock never runs backwards."""
        if seconds < 0:
            raise SettingsError(f"clock: seconds must not be negative, got {seconds}.")
        self.now_s += seconds

    def advance_to(self, time_s: float) -> None:
        """Move on to a time, unless it is past already."""
        self.now_s = max(self.now_s, float(time_s))


@dataclass(frozen=True, eq=False)
class Chunk:
    """Samples that arrive together.

    Attributes
    ----------
    samples : ndarray, shape (n_times, n_channels)
        In the unit of the source.
    timestamps : ndarray, shape (n_times,)
        Capture stamps in seconds.
    arrives_s : float or None
        When the chunk arrives, on the clock of the test; None: with its last stamp.
    drained : bool
        Whether nothing else has arrived yet.
    """

    samples: Samples
    timestamps: FloatArray
    arrives_s: float | None = None
    drained: bool = True


@dataclass(frozen=True)
class Silence:
    """Nothing arrives: one :meth:`MemorySource.pull` runs into its time-out."""


@dataclass(frozen=True)
class Lost:
    """The source is lost for good: the pull raises :class:`~emag_rt.errors.StreamError`."""

    message: str = "stream 'memory': the stream was lost for good."


Event = Chunk | Silence | Lost | StreamFormat
"""A step of a scripted source; a :class:`StreamFormat` is what the stream says from then on."""


class MemorySource:
    """A source that plays a script.

    Parameters
    ----------
    format : StreamFormat
        Format at the start.
    events : iterable of Chunk, Silence, Lost or StreamFormat
        What happens, in order. Each pull takes one event; format changes take no pull of
        their own, and show in :meth:`current_format`.
    clock : ManualClock, optional
        Moved to the arrival of each chunk, and by the time-out of each empty pull.

    Attributes
    ----------
    closed : bool
        Whether :meth:`close` was called.
    drained : bool
        Whether the last pull took all that had arrived.
    """

    def __init__(
        self, format: StreamFormat, events: Iterable[Event], clock: ManualClock | None = None
    ) -> None:
        self._format = format
        self._current = format
        self._events = deque(events)
        self._clock = clock
        self.closed = False
        self.drained = True

    @property
    def format(self) -> StreamFormat:
        """Format seen when the source was opened."""
        return self._format

    @property
    def exhausted(self) -> bool:
        """Whether the script is over; from then on the source is silent."""
        return not self._events

    def append(self, *events: Event) -> None:
        """Add to the end of the script."""
        self._events.extend(events)

    def pull(self, timeout_s: float) -> tuple[Samples, FloatArray]:
        """Play the next event (see :meth:`emag_rt.streams.base.Source.pull`)."""
        if self.closed:
            raise StreamError(f"stream {self._format.name!r} is closed. Open it again to read.")
        event: Event = Silence()
        while self._events:
            event = self._events.popleft()
            if not isinstance(event, StreamFormat):
                break
            self._current, event = event, Silence()
        if isinstance(event, Lost):
            raise StreamError(event.message)
        if isinstance(event, Chunk):
            self.drained = event.drained
            if self._clock is not None and len(event.timestamps):
                due = event.timestamps[-1] if event.arrives_s is None else event.arrives_s
                self._clock.advance_to(float(due))
            return event.samples, event.timestamps
        if self._clock is not None:
            self._clock.advance(timeout_s)
        return np.zeros((0, self._format.n_channels), np.float32), np.zeros(0)

    def current_format(self, timeout_s: float) -> StreamFormat:
        """Format that the script has come to."""
        return self._current

    def replaced_by(self) -> StreamFormat | None:
        """What the script has come to, when LSL would not take it up again."""
        now, known = self._current, self._format
        same = (now.n_channels, now.channel_format) == (known.n_channels, known.channel_format)
        return None if same else now

    def close(self) -> None:
        """Let go of the stream."""
        self.closed = True


def scripted_chunks(
    samples: ArrayLike, sfreq: float, chunk: int, start_s: float = 1000.0
) -> list[Chunk]:
    """Cut an array into chunks with regular stamps.

    Parameters
    ----------
    samples : array_like, shape (n_times, n_channels)
        The signal.
    sfreq : float
        Rate in Hz.
    chunk : int
        Samples in a chunk; the last one may be shorter.
    start_s : float
        Stamp of the first sample, in seconds.

    Returns
    -------
    list of Chunk
        The chunks; each arrives with its last stamp.
    """
    values = np.asarray(samples)
    stamps = start_s + np.arange(len(values)) / sfreq
    return [
        Chunk(values[i : i + chunk], stamps[i : i + chunk]) for i in range(0, len(values), chunk)
    ]


@dataclass(eq=False)
class MemorySink:
    """A sink that keeps copies of what it is given.

    Attributes
    ----------
    chunks : list of tuple of ndarray
        Samples and stamps of each push.
    closed : bool
        Whether :meth:`close` was called.
    """

    chunks: list[tuple[Float32Array, FloatArray]] = field(default_factory=list)
    closed: bool = False

    def push(self, samples: Float32Array, timestamps: FloatArray) -> None:
        """Keep samples, shape (n_times, n_channels), with their stamps."""
        if self.closed:
            raise StreamError("memory sink is closed. Make a new one to publish.")
        if len(samples) != len(timestamps):
            raise SettingsError(
                f"memory sink: each sample must have a stamp, got {len(samples)} samples and "
                f"{len(timestamps)} stamps."
            )
        self.chunks.append((np.array(samples), np.array(timestamps)))

    @property
    def samples(self) -> Float32Array:
        """All samples, shape (n_times, n_channels)."""
        return np.concatenate([c[0] for c in self.chunks]) if self.chunks else np.zeros((0, 0), "f")

    @property
    def timestamps(self) -> FloatArray:
        """All stamps, shape (n_times,)."""
        return np.concatenate([c[1] for c in self.chunks]) if self.chunks else np.zeros(0)

    def close(self) -> None:
        """Take no more."""
        self.closed = True


@dataclass(eq=False)
class MemoryMarkerSink:
    """A marker sink that keeps its events.

    Attributes
    ----------
    events : list of tuple of (str, float)
        Text and stamp of each event.
    closed : bool
        Whether :meth:`close` was called.
    """

    events: list[tuple[str, float]] = field(default_factory=list)
    closed: bool = False

    def push(self, text: str, timestamp: float) -> None:
        """Keep one event."""
        self.events.append((text, timestamp))

    def close(self) -> None:
        """Take no more."""
        self.closed = True
