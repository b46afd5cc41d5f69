"""Annotations that are played: each once, with its own time, in every turn."""

import numpy as np
import pytest

from emag_rt.cli.played_markers import MarkedSink


class Kept:
    def __init__(self):
        self.rows, self.closed = [], False

    def push(self, *row):
        self.rows.append(row)

    def close(self):
        self.closed = True


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_each_marker_once_a_turn_whatever_the_chunks(chunk):
    samples, markers = Kept(), Kept()
    events = [(0.5, "b"), (0.0, "a"), (0.9951, "late"), (7.0, "outside")]
    sink = MarkedSink(samples, markers, events, 100.0, 100)
    for first in range(0, 250, chunk):
        n = min(chunk, 250 - first)
        sink.push(np.zeros((n, 2), np.float32), 50.0 + np.arange(first, first + n) / 100.0)
    found = sorted((round(stamp - 50.0, 6), text) for text, stamp in markers.rows)
    wanted = [(0, "a"), (0.5, "b"), (0.9951, "late"), (1, "a"), (1.5, "b"), (1.9951, "late")]
    assert found == [*wanted, (2, "a"), (2.5, "b")][: len(found)]
    assert len(found) == 7  # the recording ends before the third "b"
    assert sum(len(stamps) for _, stamps in samples.rows) == 250
    sink.close()
    assert samples.closed
    assert markers.closed
