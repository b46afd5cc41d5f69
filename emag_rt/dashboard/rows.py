"""Samples on their way to browsers: at a rate that screens can show, and never piling up."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray, Samples

Rows = tuple[Float32Array, FloatArray]
SHOWN_HZ = 250.0
_KEEP_S = 1.0


def n_averaged(sfreq: float) -> int:
    """How many samples become one row, so that at most 250 rows are shown a second."""
    return max(1, math.ceil(sfreq / SHOWN_HZ - 1e-6))


class RowBuffer:
    """Averages over as many samples as keep the rate at 250 Hz or below, and waits to be emptied.

    Parameters
    ----------
    n_channels : int
        Columns.
    sfreq : float
        Rate of what comes in, in Hz.

    Attributes
    ----------
    every : int
        Samples that become one row.
    dropped : int
        Rows that nobody took in time (a second).
    """

    def __init__(self, n_channels: int, sfreq: float) -> None:
        self.every = n_averaged(sfreq)
        self._n_kept = max(8, round(_KEEP_S * sfreq / self.every))
        self._rest: Rows = (np.empty((0, n_channels), np.float32), np.empty(0))
        self._waiting: deque[Rows] = deque()
        self._n_waiting = 0
        self.dropped = 0

    def add(self, samples: Samples, stamps: FloatArray) -> None:
        """Take in samples, shape (n_times, n_channels), and their stamps; both are copied."""
        # Railed channels may hold anything.
        with np.errstate(over="ignore", invalid="ignore"):
            self._add(samples.astype(np.float32), stamps)

    def _add(self, rows: Float32Array, stamps: FloatArray) -> None:
        times = np.array(stamps, dtype=np.float64)
        if self.every > 1:
            rows = np.concatenate([self._rest[0], rows])
            times = np.concatenate([self._rest[1], times])
            whole = len(times) - len(times) % self.every
            self._rest = rows[whole:], times[whole:]
            rows = rows[:whole].reshape(-1, self.every, rows.shape[1]).mean(axis=1)
            times = times[:whole].reshape(-1, self.every).mean(axis=1)
        if not len(times):
            return
        self._waiting.append((rows, times))
        self._n_waiting += len(times)
        while self._n_waiting > self._n_kept and len(self._waiting) > 1:
            n_old = len(self._waiting.popleft()[1])
            self._n_waiting -= n_old
            self.dropped += n_old

    def take(self) -> Rows:
        """Everything that waits, the oldest first."""
        found = list(self._waiting)
        self._waiting.clear()
        self._n_waiting = 0
        if not found:
            return np.empty((0, self._rest[0].shape[1]), np.float32), np.empty(0)
        return np.concatenate([rows for rows, _ in found]), np.concatenate([t for _, t in found])


class Latencies:
    """Age of samples when they get here, of the newest few thousand, in a ring."""

    def __init__(self, size: int = 2048) -> None:
        self._values = np.zeros(size)
        self._count = 0

    def add(self, seconds: FloatArray) -> None:
        """Note ages in s, shape (n_times,); those that are no numbers are left out."""
        seconds = seconds[np.isfinite(seconds)]
        for age in seconds[-len(self._values) :].tolist():
            self._values[self._count % len(self._values)] = age
            self._count += 1

    def histogram(self, n_bins: int = 32) -> dict[str, object] | None:
        """Bins from the least to beyond the 99th centile, in ms; None before the first sample.

        Returns
        -------
        dict
            ``edges_ms`` (n_bins + 1), ``counts`` (n_bins; the last holds all that is beyond),
            ``p50_ms``, ``p99_ms``, ``max_ms`` and ``n``.
        """
        known = self._values[: min(self._count, len(self._values))] * 1e3
        if not len(known):
            return None
        low, p50, p99, high = np.percentile(known, [0, 50, 99, 100])
        top = max(min(high, p99 + (p99 - low) * 0.25), low + 0.5)
        edges = np.linspace(low, top, n_bins + 1)
        counts, _ = np.histogram(np.minimum(known, top), edges)
        return {
            "edges_ms": np.round(edges, 3).tolist(),
            "counts": counts.tolist(),
            "p50_ms": round(float(p50), 3),
            "p99_ms": round(float(p99), 3),
            "max_ms": round(float(high), 3),
            "n": len(known),
        }
