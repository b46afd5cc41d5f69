"""Times of chunks, kept without losing any."""

import numpy as np
import pytest

from emag_rt.daemon import trace as module
from emag_rt.daemon.trace import Trace
from emag_rt.errors import OutputError


def traced(n_chunks):
    now = iter(np.arange(1e6))
    trace = Trace(lambda: float(next(now)))
    for i in range(n_chunks):
        trace.begin(100.0 + i, 99.0)
        trace.filtered()
        trace.rendered()
        trace.end()
    return trace


@pytest.mark.parametrize("n_chunks", [0, 1, 7, 8, 16, 17])
def test_every_chunk_is_kept_whatever_their_number(monkeypatch, tmp_path, n_chunks):
    monkeypatch.setattr(module, "_FIRST_SIZE", 8)
    trace = traced(n_chunks)
    trace.rendered()  # what a look-ahead owes is published after the last chunk
    trace.save(tmp_path / "trace.npz")
    with np.load(tmp_path / "trace.npz") as content:
        np.testing.assert_array_equal(content["stamp"], 100.0 + np.arange(n_chunks))
        steps = np.diff([content[k] for k in ("filtered", "rendered", "pushed")], axis=0)
    assert (steps == 1.0).all()


def test_a_stage_that_a_chunk_misses_is_no_number():
    trace = traced(1)
    trace.begin(5.0, 4.0)
    trace.end()
    assert np.isnan(trace.times()["filtered"][1])


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(OutputError, match=r"--trace .*"):
        traced(1).save(tmp_path / "nowhere" / "trace.npz")
