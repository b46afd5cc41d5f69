"""Usable stretches: arithmetic on sample ranges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.recordings.usable import breaks, padding, runs, usable_segments


def test_runs_and_padding():
    assert runs(np.array([0, 1, 1, 0, 1], bool)) == [(1, 3), (4, 5)]
    data = np.random.default_rng(0).normal(size=(1000, 3))
    data[900:] = 0.0
    data[100:300, :2] = 5.0  # not all channels
    data[500:505] = 1.0  # too short at 100 Hz
    assert padding(data, 100.0) == [(900, 1000)]
    assert padding(data[:1], 100.0) == []


def test_annotations_cut_or_split():
    unusable, splits = breaks(
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        [0.5, 0.0, 7.0, 0.0, 1.0, 0.0],
        ["BAD_blink", "BAD boundary", "boundary", "EDGE boundary", "T1", "New Segment/"],
        100.0,
    )
    assert unusable == [(100, 150)]
    assert splits == [200, 300, 400, 600]


def test_segments_between():
    assert usable_segments(100, [(10, 20), (90, 120)], [0, 50, 15, 100]) == (
        (0, 10),
        (20, 50),
        (50, 90),
    )
    assert usable_segments(10, [(0, 10)], []) == ()


@given(
    n=st.integers(2, 80),
    unusable=st.lists(st.tuples(st.integers(-5, 90), st.integers(-5, 90)), max_size=4),
    splits=st.lists(st.integers(-5, 90), max_size=4),
)
def test_segments_never_hold_what_is_unusable(n, unusable, splits):
    segments = usable_segments(n, unusable, splits)
    covered = np.zeros(n, int)
    for start, stop in segments:
        assert 0 <= start < stop - 1 < n
        covered[start:stop] += 1
        assert not any(start < k < stop for k in splits)
    assert covered.max(initial=0) <= 1
    for start, stop in unusable:
        if start < stop:
            assert not covered[max(0, start) : max(0, stop)].any()
