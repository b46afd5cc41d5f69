"""What the engine needs of a live stream, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from emag_rt.array_types import Float32Array, FloatArray, Samples
from emag_rt.errors import visible

Clock = Callable[[], float]
"""Returns seconds on the clock that stamps samples (the LSL clock in live use)."""


@dataclass(frozen=True)
class StreamFormat:
    """What a stream says of itself.

    Attributes
    ----------
    name, type, source_id, uid, hostname : str
        LSL header fields; ``uid`` changes when an outlet is made anew.
    sfreq : float
        Nominal rate in Hz, 0 when irregular.
    labels : tuple of str
        Channel labels, empty when the stream does not tell; what cannot be seen in them as
        escapes.
    units : tuple of str
        Unit of each channel as declared, empty strings where undeclared.
    channel_format : str
        ``float32``, ``double64``, ``int16``, ... or ``string``.
    compensated_lag_s : float
        Lag that the source already removed from its stamps, in seconds.
    described : tuple of str
        Labels of the channels it describes, where that is not one for each channel.
    reference : str
        Reference label the source declares, or an empty string.
    """

    name: str
    type: str
    source_id: str
    sfreq: float
    labels: tuple[str, ...]
    units: tuple[str, ...]
    channel_format: str = "float32"
    uid: str = ""
    hostname: str = ""
    compensated_lag_s: float = 0.0
    reference: str = ""
    described: tuple[str, ...] = ()
    n_channels: int = field(default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(visible(label) for label in self.labels))
        if self.n_channels == 0:
            object.__setattr__(self, "n_channels", len(self.labels))


class Source(Protocol):
    """A live input of multichannel samples."""

    @property
    def format(self) -> StreamFormat:
        """Format seen when the source was opened."""
        ...

    @property
    def drained(self) -> bool:
        """Whether the last pull took all samples that had arrived."""
        ...

    def pull(self, timeout_s: float) -> tuple[Samples, FloatArray]:
        """Wait for samples, then return all that have arrived.

        Returns
        -------
        samples : ndarray, shape (n_times, n_channels)
            In the unit of the source; ``n_times`` is 0 when the time ran out. Valid until
            the next call.
        timestamps : ndarray, shape (n_times,), float64
            Capture stamps in seconds on this host's clock.

        Raises
        ------
        StreamError
            If the source is lost for good.
        """
        ...

    def current_format(self, timeout_s: float) -> StreamFormat:
        """Ask the stream that is connected now for its format (it may have come back changed)."""
        ...

    def replaced_by(self) -> StreamFormat | None:
        """While the source is silent: what came in its place and cannot be taken up again.

        Asked again and again; may take its time only to read what it has found.

        Returns
        -------
        StreamFormat or None
            A stream of the same name, type and id with other channels or another number format;
            None as long as there is none.

        Raises
        ------
        StreamAmbiguous
            If several such streams are there, of which none can be chosen.
        """
        ...

    def close(self) -> None:
        """Let go of the stream."""
        ...


class Sink(Protocol):
    """A live output of multichannel samples."""

    def push(self, samples: Float32Array, timestamps: FloatArray) -> None:
        """Publish samples, shape (n_times, n_channels), each with its own capture stamp."""
        ...

    def close(self) -> None:
        """Take the stream off the network."""
        ...


class Namesakes(Protocol):
    """A look-out for other outlets that receivers may take for ours."""

    def look(self) -> list[StreamFormat]:
        """Those that were not told before; asked about once a second, never waits."""
        ...


class MarkerSink(Protocol):
    """A live output of events."""

    def push(self, text: str, timestamp: float) -> None:
        """Publish one event with its stamp in seconds."""
        ...

    def close(self) -> None:
        """Take the stream off the network."""
        ...
