"""The annotations of a recording that is played, as an LSL marker stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emag_rt.array_types import Float32Array, FloatArray

if TYPE_CHECKING:
    from emag_rt.streams.base import MarkerSink, Sink


class MarkedSink:
    """A sink of samples that publishes each marker together with the chunk it falls in.

    Parameters
    ----------
    sink : Sink
        Where samples go.
    markers : MarkerSink
        Where markers go, with the stamp of their onset.
    events : sequence of (float, str)
        Onset in seconds after the first sample, text.
    sfreq : float
        Rate in Hz.
    n_times : int or None
        Samples after which the recording, and its markers, begin again; None: never.
    """

    def __init__(
        self,
        sink: Sink,
        markers: MarkerSink,
        events: Sequence[tuple[float, str]],
        sfreq: float,
        n_times: int | None,
    ) -> None:
        self._sink, self._markers = sink, markers
        self._events = [(onset * sfreq, text) for onset, text in sorted(events)]
        self._sfreq, self._n_times = sfreq, n_times
        self._sent = 0

    def push(self, samples: Float32Array, timestamps: FloatArray) -> None:
        """Publish samples, then the markers among them."""
        self._sink.push(samples, timestamps)
        first, last = self._sent, self._sent + len(timestamps)
        self._sent = last
        length = self._n_times or last
        for turn in range(first // length, (last - 1) // length + 1):
            for place, text in self._events:
                ahead = place + turn * length - first
                if 0 <= ahead < last - first:
                    self._markers.push(text, float(timestamps[0]) + ahead / self._sfreq)

    def close(self) -> None:
        """Take both streams off the network."""
        self._markers.close()
        self._sink.close()
