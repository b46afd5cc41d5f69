"""Order in time, told from stamps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.daemon.timeline import Timeline, TimelineRules
from tests.factories import prop, random_cuts

PERIOD = 0.005


def ramp(n, start=0):
    """Sample numbers as data."""
    return np.arange(start, start + n, dtype=float)[:, None] * [1.0, 10.0]


def kinds(pieces):
    return [(piece.kind, len(piece.stamps)) for piece in pieces]


def test_regular_chunks_pass_through_untouched():
    timeline = Timeline(200.0)
    stamps = 100.0 + PERIOD * np.arange(10)
    for cut in (slice(0, 4), slice(4, 5), slice(5, 10)):
        (piece,) = timeline.split(ramp(10)[cut], stamps[cut])
        assert piece.kind == "data"
        np.testing.assert_array_equal(piece.samples, ramp(10)[cut])
        np.testing.assert_array_equal(piece.stamps, stamps[cut])
    assert timeline.split(ramp(0), np.zeros(0)) == []


@pytest.mark.parametrize("jitter", [0.2, 4.0])
def test_jitter_is_no_gap_and_is_evened_out(jitter):
    rng = np.random.default_rng(0)
    stamps = 100.0 + PERIOD * (np.arange(4000) + rng.uniform(-jitter, jitter, 4000))
    (piece,) = Timeline(200.0).split(ramp(4000), stamps)
    np.testing.assert_array_equal(piece.samples, ramp(4000))
    np.testing.assert_allclose(np.diff(piece.stamps), PERIOD, rtol=0.01)
    assert np.abs(piece.stamps - stamps).max() < (2 * jitter + 0.2) * PERIOD


def test_steps_that_differ_by_less_than_clocks_tell_are_kept():
    rng = np.random.default_rng(0)
    stamps = 100.0 + PERIOD * (np.arange(500) + rng.uniform(-0.002, 0.002, 500))
    (piece,) = Timeline(200.0).split(ramp(500), stamps)
    np.testing.assert_array_equal(piece.stamps, stamps)


@pytest.mark.parametrize("split_at", [None, 10])
def test_short_gaps_are_bridged_by_straight_lines(split_at):
    """The same within a chunk and between two."""
    keep = np.r_[0:10, 14:20]
    stamps, samples = 100.0 + PERIOD * keep, ramp(20)[keep]
    timeline = Timeline(200.0, TimelineRules(bridge_s=0.05))
    cuts = [slice(None)] if split_at is None else [slice(0, 10), slice(10, 16)]
    pieces = [piece for cut in cuts for piece in timeline.split(samples[cut], stamps[cut])]
    assert kinds(pieces) == [("data", 10), ("bridge", 4), ("data", 6)]
    np.testing.assert_allclose(np.concatenate([p.samples for p in pieces]), ramp(20))
    whole = np.concatenate([p.stamps for p in pieces])
    np.testing.assert_allclose(whole, 100.0 + PERIOD * np.arange(20), atol=1e-9)


def test_long_gaps_tell_the_missing_stamps():
    keep = np.r_[0:10, 60:65]
    pieces = Timeline(200.0).split(ramp(65)[keep], 100.0 + PERIOD * keep)
    assert kinds(pieces) == [("data", 10), ("gap", 50), ("data", 5)]
    gap = pieces[1]
    assert gap.samples.shape == (0, 2)
    np.testing.assert_allclose(gap.stamps, 100.0 + PERIOD * np.arange(10, 60), atol=1e-9)
    assert gap.apart_s == pytest.approx(51 * PERIOD)


@pytest.mark.parametrize(("lost", "kind"), [(10, "bridge"), (11, "gap")])
def test_where_bridging_ends(lost, kind):
    keep = np.r_[0:5, 5 + lost : 10 + lost]
    rules = TimelineRules(bridge_s=10 * PERIOD + 1e-9)
    pieces = Timeline(200.0, rules).split(ramp(40)[keep], 100.0 + PERIOD * keep)
    assert kinds(pieces)[1] == (kind, lost)


def test_repeated_samples_are_dropped_and_counted():
    order = np.array([0, 1, 2, 2, 2, 3])
    timeline = Timeline(200.0)
    pieces = timeline.split(ramp(4)[order], 100.0 + PERIOD * order)
    assert timeline.duplicates == 2
    assert timeline.restamped == 0
    np.testing.assert_array_equal(np.concatenate([p.samples for p in pieces]), ramp(4))
    assert timeline.split(ramp(4)[3:], np.array([100.0 + PERIOD * 3])) == []
    assert timeline.duplicates == 3


def test_stamps_that_do_not_grow_are_set_a_period_on():
    timeline = Timeline(200.0)
    stamps = 100.0 + PERIOD * np.array([0, 1, 1, 1, 4])
    (piece,) = timeline.split(ramp(5), stamps)
    assert timeline.restamped == 2
    assert timeline.duplicates == 0
    np.testing.assert_allclose(piece.stamps, 100.0 + PERIOD * np.arange(5), atol=1e-9)
    np.testing.assert_array_equal(piece.samples, ramp(5))


def data_of(pieces):
    parts = [p for p in pieces if p.kind == "data"]
    return np.concatenate([p.samples for p in parts]), np.concatenate([p.stamps for p in parts])


def test_overtaken_samples_are_dropped_and_those_after_keep_their_time():
    """One swapped pair must not shift the stamps of the rest of the day."""
    order = np.array([0, 1, 2, 4, 3, 5, 6, 7])
    timeline = Timeline(200.0)
    pieces = timeline.split(ramp(8)[order], 100.0 + PERIOD * order)
    assert kinds(pieces) == [("data", 3), ("bridge", 1), ("data", 4)]
    assert (timeline.out_of_order, timeline.restamped, timeline.duplicates) == (1, 0, 0)
    samples, stamps = data_of(pieces)
    np.testing.assert_array_equal(samples[:, 0], [0, 1, 2, 4, 5, 6, 7])
    np.testing.assert_array_equal(stamps, 100.0 + PERIOD * samples[:, 0])


@pytest.mark.parametrize("cuts", [[slice(0, 30)], [slice(0, 20), slice(20, 25), slice(25, 30)]])
def test_a_chunk_sent_twice_is_dropped(cuts):
    order = np.r_[0:20, 12:20, 20, 21]
    timeline = Timeline(200.0)
    values, stamps = ramp(22)[order], 100.0 + PERIOD * order
    samples, kept = data_of([p for c in cuts for p in timeline.split(values[c], stamps[c])])
    np.testing.assert_array_equal(samples, ramp(22))
    np.testing.assert_array_equal(kept, 100.0 + PERIOD * np.arange(22))
    # The last one repeats the newest sample itself, the others older ones.
    assert (timeline.out_of_order, timeline.duplicates, timeline.restamped) == (7, 1, 0)


def test_a_sample_sent_twice_is_dropped_with_a_broken_channel_too():
    order = np.array([0, 1, 2, 2, 3, 4])
    values = ramp(5)[order]
    values[:, 1] = np.nan
    timeline = Timeline(200.0)
    (piece,) = timeline.split(values, 100.0 + PERIOD * order)
    assert (timeline.duplicates, timeline.restamped) == (1, 0)
    np.testing.assert_array_equal(piece.stamps, 100.0 + PERIOD * np.arange(5))


@pytest.mark.parametrize("n_stuck", [1, 2, 7])
def test_after_a_stamp_was_set_those_of_the_source_are_taken_up_again(n_stuck):
    """More samples than time: a shift of a period would else stay for the rest of the day."""
    said = 100.0 + PERIOD * np.r_[0:5, [4] * n_stuck, 5:60]
    timeline = Timeline(200.0)
    samples, stamps = data_of(timeline.split(ramp(len(said)), said))
    assert len(samples) == len(said)
    assert (np.diff(stamps) > 0).all()
    np.testing.assert_array_equal(stamps[-30:], said[-30:])
    assert timeline.restamped <= 3 * n_stuck + 1


def test_a_clock_that_stands_still_for_long_does_not_stop_the_stream():
    timeline = Timeline(200.0)
    (piece,) = timeline.split(ramp(2000), np.full(2000, 100.0))
    np.testing.assert_allclose(piece.stamps, 100.0 + PERIOD * np.arange(2000), atol=1e-6)
    assert timeline.restamped == 1999


def test_one_stamp_a_chunk_keeps_up_with_a_source_that_is_a_little_fast():
    """Spread over the chunk at the nominal rate, never ahead by more than a few samples."""
    timeline, n, fast = Timeline(200.0), 10, 0.995
    last = 0.0
    for k in range(400):
        said = 100.0 + k * n * PERIOD * fast
        samples, stamps = data_of(timeline.split(ramp(n, k * n), np.full(n, said)))
        assert len(samples) == n
        assert (np.diff(stamps, prepend=last) > 0).all()
        last = stamps[-1]
        assert last - said < 13 * PERIOD
    assert timeline.out_of_order == timeline.duplicates == 0


@pytest.mark.parametrize("apart_s", [-3600.0, -5.0, -1.01, 3600.0])
def test_clock_jumps_are_followed_there_and_back(apart_s):
    stamps = 10_000.0 + PERIOD * np.arange(30)
    stamps[10:20] += apart_s
    timeline = Timeline(200.0, TimelineRules(jump_s=4.0))
    pieces = timeline.split(ramp(30), stamps)
    assert kinds(pieces)[:3] == [("data", 10), ("jump", 0), ("data", 10)]
    samples, kept = data_of(pieces)
    np.testing.assert_array_equal(samples, ramp(30))
    np.testing.assert_array_equal(kept, stamps)
    assert timeline.out_of_order == timeline.restamped == 0


@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_stamps_that_are_no_numbers(what):
    """Neither lost for ever nor taken over: a period after the one before."""
    stamps = 100.0 + PERIOD * np.arange(12)
    stamps[[0, 1, 5, 6]] = what
    timeline = Timeline(200.0)
    pieces = [timeline.split(ramp(12)[c], stamps[c]) for c in (slice(0, 2), slice(2, 12))]
    assert pieces[0] == []
    samples, kept = data_of(pieces[1])
    np.testing.assert_array_equal(samples, ramp(12)[2:])
    np.testing.assert_allclose(kept, 100.0 + PERIOD * np.arange(2, 12), atol=1e-9)
    assert (timeline.out_of_order, timeline.restamped) == (2, 2)


def test_fractional_rates():
    """511.9 Hz for 512: no gap, no drift of the count of what is missing."""
    keep = np.r_[0:2000, 12_000:14_000]
    pieces = Timeline(511.9).split(ramp(14_000)[keep], 100.0 + keep / 511.9)
    assert kinds(pieces) == [("data", 2000), ("gap", 10_000), ("data", 2000)]
    (piece,) = Timeline(512.0).split(ramp(5000), 100.0 + np.arange(5000) / 511.9)
    assert piece.kind == "data"


@pytest.mark.parametrize("apart_s", [-700.0, -3.0, 5000.0])
def test_a_clock_jump_is_a_piece_of_its_own(apart_s):
    stamps = 10_000.0 + PERIOD * np.arange(10)
    stamps[6:] += apart_s
    timeline = Timeline(200.0)
    pieces = timeline.split(ramp(10), stamps)
    assert kinds(pieces) == [("data", 6), ("jump", 0), ("data", 4)]
    assert pieces[1].apart_s == pytest.approx(apart_s + PERIOD)
    np.testing.assert_array_equal(pieces[2].stamps, stamps[6:])
    (after,) = timeline.split(ramp(1, 10), stamps[-1:] + PERIOD)
    assert after.kind == "data"


@prop
@given(seed=st.integers(0, 10_000), n_cuts=st.integers(0, 10))
def test_any_chunking_gives_the_same_pieces(seed, n_cuts):
    """Faults of all kinds, cut anywhere: the same samples, stamps, gaps and counts."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([1.0, 1.0, 1.0, 1.0, 0.0, -1.0, 3.0, 40.0, 2e5, -300.0, -2e5, np.nan], 60)
    untold = np.isnan(steps)
    stamps = 50_000.0 + PERIOD * np.cumsum(np.where(untold, 1.0, steps))
    stamps[untold] = np.nan
    samples = ramp(60)
    repeats = rng.random(60) < 0.3
    for i in np.flatnonzero((steps == 0) & repeats):
        samples[i] = samples[i - 1] if i else samples[i]

    def collect(cuts):
        timeline = Timeline(200.0)
        pieces = [p for c in cuts for p in timeline.split(samples[c], stamps[c])]
        rows = [
            (p.kind, t, *(p.samples[i] if len(p.samples) else ()))
            for p in pieces
            for i, t in enumerate(p.stamps)
        ]
        jumps = [p.apart_s for p in pieces if p.kind == "jump"]
        dropped = timeline.duplicates + timeline.out_of_order
        return rows, jumps, dropped, timeline.duplicates, timeline.restamped

    expected = collect([slice(None)])
    assert collect(random_cuts(rng, 60, n_cuts)) == expected
    n_data = sum(row[0] == "data" for row in expected[0])
    assert n_data + expected[2] == 60


def test_rows_of_another_kind_are_kept_whole():
    """Bridges are drawn from the row that is kept."""
    timeline = Timeline(100.0)
    timeline.split(np.array([[1]]), np.array([0.0]))
    assert timeline.follows(np.array([[1.2], [2.7]]), np.array([0.01, 0.02]))
    bridge, _ = timeline.split(np.array([[4.7]]), np.array([0.04]))
    np.testing.assert_allclose(bridge.samples, [[3.7]])
