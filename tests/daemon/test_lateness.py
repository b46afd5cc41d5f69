"""Lateness, told from ages."""

import numpy as np
import pytest

from emag_rt.daemon.lateness import Lateness
from emag_rt.daemon.settings import LatencySettings

PERIOD = 0.005


def test_lateness_counts_what_is_beyond_the_budget():
    lateness = Lateness(LatencySettings(budget_s=1.0))
    lateness.observe(100.0, 0.02)
    assert lateness.usual_s == 0.02
    stamps = 100.0 + 0.1 * np.arange(30)  # 100.0 to 102.9
    assert lateness.count(102.92, stamps) == 19  # those before 101.9
    assert lateness.count(100.5, stamps) == 0


@pytest.mark.parametrize("offset_s", [-3.0, 0.0, 7.0])
def test_a_constant_offset_of_stamps_is_not_late(offset_s):
    lateness = Lateness(LatencySettings(budget_s=0.5))
    for now in np.arange(100.0, 160.0, 0.1):
        stamps = now - offset_s - np.arange(0.1, 0.0, -0.02)
        lateness.observe(now, now - stamps[-1])
        assert lateness.count(now, stamps) == 0


def test_the_usual_age_follows_in_twenty_seconds():
    lateness = Lateness(LatencySettings())
    lateness.observe(100.0, 0.0)
    for now in np.arange(100.0, 125.0, 0.5):
        lateness.observe(now, 3.0)
        assert lateness.usual_s == (0.0 if now < 121.0 else 3.0)
    assert lateness.usual_s == 3.0
    lateness.reset()
    lateness.observe(130.0, 900.0)
    assert lateness.usual_s == 900.0


@pytest.mark.parametrize("policy", ["skip_to_newest", "catch_up"])
def test_every_event_has_a_marker_and_one_a_second_a_line(policy):
    late = Lateness(LatencySettings(policy=policy))
    events = [late.event(100.0 + 0.4 * i, 90.0, 10) for i in range(4)]
    name, did = {"skip_to_newest": ("skipped", "skipped"), "catch_up": ("overdue", "rendered")}[
        policy
    ]
    assert {e.name for e in events} == {name}
    assert all(e.details == {"stamp": 90.0, "samples": 10} for e in events)
    told = "samples came beyond the latency budget"
    assert [e.text for e in events] == [f"10 {told}: {did}", "", "", f"30 {told}: {did}"]
