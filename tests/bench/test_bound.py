"""The bound on latency: judged on made-up times, and once for real."""

import numpy as np
import pytest

from emag_rt.bench.bound import BoundSettings, judge, run_bound
from emag_rt.bench.case_files import CaseFileMaker
from emag_rt.bench.cases import parse_case

SFREQ = 100.0


def stopped(back_s, n_empty=0):
    """A daemon that stands still from 2 to 4 s, then needs ``back_s`` to work off what waited."""
    stamps = np.arange(800) / SFREQ
    receipts = stamps + 0.001
    waited = (stamps >= 2.0) & (stamps < 4.0)
    receipts[waited] = 4.0 + back_s * np.linspace(0.01, 1.0, waited.sum())
    empty = np.zeros(800, dtype=bool)
    empty[np.flatnonzero(waited)[:n_empty]] = True
    return stamps, receipts, empty


def test_late_rows_count_until_none_is_over_the_budget():
    found = judge(*stopped(0.5), 2.0, 4.0, 0.2, SFREQ)
    assert found["usual_ms"] == pytest.approx(1.0)
    # Rows of the last 0.2 s before the end are not over the budget when they come.
    assert 0.4 < found["back_s"] <= 0.5
    assert found["n_over"] > 100
    assert found["losses"]["missing"] == 0


def test_rows_left_empty_are_no_late_renderings():
    found = judge(*stopped(0.5, n_empty=190), 2.0, 4.0, 0.2, SFREQ)
    assert found["n_over"] < 20
    assert found["n_empty"] == found["losses"]["empty"] == 190
    nothing = judge(*stopped(0.0, n_empty=200), 2.0, 4.0, 0.2, SFREQ)
    assert nothing["back_s"] == 0.0


@pytest.mark.soak
@pytest.mark.lsl
def test_a_real_daemon_is_back_and_counts(tmp_path):
    settings = BoundSettings(stop_s=1.0, starve_s=1.0, before_s=1.0, after_s=1.5)
    files = CaseFileMaker(tmp_path).make(parse_case("4:8@100"))
    stopped, starved = run_bound(files, settings, tmp_path)
    assert stopped["counters"]["skipped"] == stopped["n_empty"] > 50
    assert stopped["losses"]["missing"] == stopped["uncounted"] == starved["uncounted"] == 0
    assert stopped["after_ms"]["p50"] < 1e3 * settings.budget_s
