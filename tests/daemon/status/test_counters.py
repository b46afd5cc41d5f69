"""Latencies of the newest samples."""

import numpy as np
import pytest

from emag_rt.daemon.status.counters import LatencyWindow


def test_latency_window_remembers_the_newest_and_the_worst():
    window = LatencyWindow(size=10)
    assert set(window.summary_ms().values()) == {None}
    window.add(np.array([9.0, 8.0]))
    for chunk in (7, 25, 3):
        window.add(np.linspace(0.003, 0.001, chunk))
    window.add(np.array([0.002, 0.002, 0.002]))
    kept = np.concatenate([np.linspace(0.003, 0.001, 25)[-4:], [0.003, 0.002, 0.001], [0.002] * 3])
    summary = window.summary_ms()
    assert summary["latency_p50_ms"] == pytest.approx(1e3 * np.median(kept), abs=1e-3)
    assert summary["latency_p99_ms"] == pytest.approx(1e3 * np.percentile(kept, 99), abs=1e-3)
    assert summary["latency_max_ms"] == 9000.0
