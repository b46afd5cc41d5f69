"""The accelerated soak, shortened: it finds nothing, and would find what is wrong."""

import sys
from pathlib import Path

import numpy as np
import pytest

from emag_rt.bench.cases import Case
from emag_rt.daemon.publisher import Publisher

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from soak_in_memory import soak

CASE = Case(4, 8, 250.0, 25)


@pytest.mark.parametrize("start_s", [1.7e9, 2.0**33])
def test_stamps_memory_and_account(start_s):
    """Also with the clock of a machine that counts from 1970, or has been up for centuries."""
    report = soak(CASE, 0.04, start_s, point_s=20.0)
    assert report.failures == []
    assert report.counters["gaps"] >= 1
    assert report.counters["skipped"] > 100
    assert report.counters["duplicates"] + report.counters["out_of_order"] >= 3 * 25


def test_a_leak_a_lost_sample_and_a_bent_stamp_would_be_found(monkeypatch):
    kept = []
    publish = Publisher.publish

    def leaky(self, hd, stamps, rendered=True):
        kept.append([object() for _ in range(20)])
        if len(kept) == 500:
            hd, stamps = hd[:-1], stamps[:-1]
        if len(kept) == 300:
            stamps = np.nextafter(stamps, np.inf)
        publish(self, hd, stamps, rendered)

    monkeypatch.setattr(Publisher, "publish", leaky)
    found = " ".join(soak(CASE, 0.02, 1000.0, point_s=10.0).failures)
    assert "blocks grew" in found
    assert "rows for" in found
    assert "stamp" in found
