"""LSL streams as outputs: samples and events."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.errors import SettingsError, StreamError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl.library import Outlet
from emag_rt.streams.metadata import OutletSpec, buffer_seconds, description


class LslSink:
    """A live numeric LSL output (see :class:`emag_rt.streams.base.Sink`).

    Parameters
    ----------
    spec : OutletSpec
        Header and description. Rate 0 makes an irregular stream, such as status numbers.

    Raises
    ------
    StreamError
        If liblsl cannot make the outlet.
    """

    def __init__(self, spec: OutletSpec) -> None:
        self.spec = spec
        self._outlet: Outlet | None = _outlet(spec, "float32")

    @property
    def uid(self) -> str:
        """What tells this outlet from every other; empty once closed."""
        return "" if self._outlet is None else self._outlet.uid

    def push(self, samples: Float32Array, timestamps: FloatArray) -> None:
        """Publish samples, each with its own capture stamp.

        Parameters
        ----------
        samples : ndarray, shape (n_times, n_channels), float32
            In the declared unit.
        timestamps : ndarray, shape (n_times,), float64
            Seconds on this host's LSL clock.

        Raises
        ------
        SettingsError
            If the shapes do not fit.
        StreamError
            If the sink is closed, or liblsl fails.
        """
        values = np.ascontiguousarray(samples, dtype=np.float32)
        stamps = np.ascontiguousarray(timestamps, dtype=np.float64)
        n_channels = len(self.spec.labels)
        if stamps.ndim != 1 or values.shape != (stamps.size, n_channels):
            raise SettingsError(
                f"outlet {self.spec.name!r}: samples must have shape (n_times, {n_channels}) and "
                f"timestamps (n_times,), got {values.shape} and {stamps.shape}."
            )
        if self._outlet is None:
            raise StreamError(f"outlet {self.spec.name!r} is closed. Make a new one to publish.")
        if stamps.size:
            self._outlet.push_chunk(values, stamps)

    def wait_for_consumers(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds for a receiver; returns whether there is one."""
        return self._outlet is not None and self._outlet.wait_for_consumers(timeout_s)

    def close(self) -> None:
        """Take the stream off the network, once receivers had a moment to take the last rows."""
        if self._outlet is not None:
            self._outlet.close()
        self._outlet = None


class LslMarkerSink:
    """A live LSL output of events: one channel, irregular, type ``Markers``; strings or int32.

    Parameters
    ----------
    name, source_id : str
        LSL header fields, not empty.
    code_of : callable, optional
        Number of an event, which is sent in place of its text.

    Raises
    ------
    StreamError
        If liblsl cannot make the outlet.
    """

    def __init__(
        self, name: str, source_id: str, code_of: Callable[[str], int] | None = None
    ) -> None:
        spec = OutletSpec(name, source_id, ("marker",), 0.0, type="Markers", units="")
        self._code_of = code_of
        self._outlet: Outlet | None = _outlet(spec, "int32" if code_of else "string")

    def push(self, text: str, timestamp: float) -> None:
        """Publish one event with its stamp in seconds; nothing once closed."""
        if self._outlet is not None:
            self._outlet.push_value(self._code_of(text) if self._code_of else text, timestamp)

    def close(self) -> None:
        """Take the stream off the network, once receivers had a moment to take the last event."""
        if self._outlet is not None:
            self._outlet.close()
        self._outlet = None


def _outlet(spec: OutletSpec, channel_format: str) -> Outlet:
    head = StreamFormat(
        spec.name,
        spec.type,
        spec.source_id,
        spec.sfreq,
        spec.labels,
        (),
        channel_format=channel_format,
    )
    return Outlet(head, description(spec), buffer_seconds(len(spec.labels), spec.sfreq))
