"""Publishing HD rows: their latency, and the last one, which may have to be held."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, Stamps
from emag_rt.daemon.status.counters import LatencyWindow
from emag_rt.daemon.trace import Trace
from emag_rt.streams.base import Clock, Sink


class Publisher:
    """Hands rows to a sink.

    Parameters
    ----------
    sink : Sink
        Where they go.
    clock : callable
        Seconds on the clock of the stamps.
    n_hd : int
        Their channels.
    trace : Trace, optional
        Is told when rows are there.

    Attributes
    ----------
    latency : LatencyWindow
        Latencies of what was rendered.
    held : ndarray, shape (1, n_hd), float32
        The last rendered row; NaN before the first.
    """

    def __init__(self, sink: Sink, clock: Clock, n_hd: int, trace: Trace | None = None) -> None:
        self._sink, self._clock, self._trace = sink, clock, trace
        self.latency = LatencyWindow()
        self.held: Float32Array = np.full((1, n_hd), np.nan, dtype=np.float32)

    def publish(self, hd: Float32Array, stamps: Stamps, rendered: bool = True) -> None:
        """Publish rows, if there are any.

        Those that were not rendered but made up are not held, and have no latency.
        """
        if not len(stamps):
            return
        if self._trace is not None:
            self._trace.rendered()
        self._sink.push(hd, stamps)
        if rendered:
            self.held = hd[-1:]
            self.latency.add(self._clock() - stamps)
