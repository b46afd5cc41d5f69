"""Reading a live stream to its end, as a client would."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emag_rt.streams.lsl import LslSource, StreamQuery

DEADLINE_S = 40.0
# Options of `serve` for tests that compare rows: on a busy machine its usual policy leaves out
# what comes late, as it should.
EVERY_ROW = ("--late-policy", "catch_up")


def open_stream(name: str) -> LslSource:
    return LslSource.open(StreamQuery(name=name), DEADLINE_S)


def read_until(
    sources: list[LslSource], enough: Callable[[list[NDArray[np.float64]]], bool]
) -> list[tuple[NDArray[np.floating], NDArray[np.float64]]]:
    """Pull from every source until ``enough`` (given all stamps so far) says so."""
    rows: list[list[NDArray[np.floating]]] = [[] for _ in sources]
    stamps: list[NDArray[np.float64]] = [np.empty(0) for _ in sources]
    end = time.monotonic() + DEADLINE_S
    while not enough(stamps):
        assert time.monotonic() < end, f"only {[len(s) for s in stamps]} samples in time"
        for i, source in enumerate(sources):
            samples, times = source.pull(0.05)
            rows[i].append(samples.copy())
            stamps[i] = np.concatenate([stamps[i], times])
    return [(np.concatenate(r), s) for r, s in zip(rows, stamps, strict=True)]
