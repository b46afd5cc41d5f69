"""The account that chaos.py closes: it sees one sample that is missing, in any of the three."""

import numpy as np
import pytest

from tools.chaos_account import account

NAMES = (
    *("samples_in", "samples_out", "skipped", "duplicates", "out_of_order", "restamped"),
    *("refused", "bridged", "filled", "unfilled", "gaps", "jumps", "recovered"),
)


def day():
    """100 sent, 10 of them lost in transit, one repeated, one overtaken, two restamped."""
    times = 1000.0 + np.arange(100) / 250.0
    sent = np.insert(times, 21, times[20])  # repeated
    sent[[31, 32]] = sent[[32, 31]]  # overtaken: bridged first, then dropped
    rows = times.copy()
    rows[70:72] += 1e-5  # restamped
    rows[40:50] += 1e-9  # made up in the place of those that were lost
    c = dict.fromkeys(NAMES, 0)
    c.update(samples_in=91, samples_out=80, skipped=9, duplicates=1, out_of_order=1)
    c.update(restamped=2, bridged=1, filled=10, gaps=1)
    events = [
        {"event": "bridged", "stamp": rows[31], "samples": 1},
        {"event": "gap", "stamp": rows[40], "samples": 10, "filled": 10},
        {"event": "recovered"},
    ]
    return sent, rows, events, c


def test_a_closed_account():
    numbers, failures = account(*day())
    assert failures == []
    assert numbers["lost_in_transit"] == 10
    assert numbers["lost_without_count"] == 0


@pytest.mark.parametrize("what", ["row", "count", "gap", "silent"])
def test_one_sample_missing_is_seen(what):
    sent, rows, events, c = day()
    if what == "row":
        rows = np.delete(rows, 5)
    elif what == "count":
        c["skipped"] -= 1
    elif what == "gap":
        c["filled"] -= 1
        rows = np.delete(rows, 45)
    else:  # never rendered, never counted, and something else in its place
        rows[5] += 1e-9
    numbers, failures = account(sent, rows, events, c)
    assert numbers["lost_without_count"] == 1
    assert failures == ["1 samples lost without count"]


def test_time_lived_through_twice():
    """A clock goes back by 50 samples, then on again: the rows between were there before."""
    times = 1000.0 + np.arange(100) / 250.0
    sent = np.r_[times, times[50:60], times[90:]]
    rows = np.r_[times, times[50:]]
    rows[111:140] += 1e-9  # those made up hit the stamps of real ones, or do not
    events = [
        {"event": "clock_jump", "step_s": -0.196},
        {"event": "gap", "stamp": times[60], "samples": 30, "filled": 30},
    ]
    c = dict.fromkeys(NAMES, 0)
    c.update(samples_in=120, samples_out=120, filled=30, gaps=1, jumps=1)
    assert account(sent, rows, events, c)[1] == []


def test_stamps_that_go_back_without_a_jump_are_seen():
    sent, rows, events, c = day()
    rows[[3, 4]] = rows[[4, 3]]
    assert any("went back 1 times" in text for text in account(sent, rows, events, c)[1])
