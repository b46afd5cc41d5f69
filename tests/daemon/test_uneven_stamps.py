"""Stamps of arrival, in bursts, none, or wrong ones: what comes complete is served once, evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.daemon.lateness import UsualAge
from emag_rt.daemon.timeline import Timeline
from emag_rt.streams.memory import Chunk
from tests.daemon.test_loop import SFREQ, Bench, offline
from tests.daemon.test_loop_faults import balanced
from tests.factories import ld_signal, prop, relative

START = 1000.0
SIGNAL = ld_signal(6000)


def late_s(rng, n, most_s=0.02):
    """A little late, now and then very."""
    return np.minimum(rng.exponential(0.0005, n) + most_s * (rng.random(n) < 0.02), most_s)


def pushed_together(n, size, rng, rate=SFREQ, each=3e-5, most_s=0.02):
    """Every sample is stamped when it is pushed, ``size`` at a time; stamps and arrival."""
    group = np.arange(n) // size
    due = START + np.minimum((group + 1) * size - 1, n - 1) / rate
    arrives = np.maximum.accumulate(due + late_s(rng, n, most_s)[group])
    return arrives + each * (np.arange(n) % size), arrives + each * size


def deduced(n, size, rng):
    """LSL stamps a chunk at its push: the last sample, and the others a period apart before."""
    _, arrives = pushed_together(n, size, rng, each=0.0)
    return arrives - (size - 1 - np.arange(n) % size) / SFREQ, arrives


def wrong(what, every, at=0):
    def make(n, rng):
        said = START + np.arange(n) / SFREQ
        arrives = START + np.minimum(np.arange(n) // 8 * 8 + 7, n - 1) / SFREQ
        said[every - 1 - at :: every] += what
        return said, arrives

    return make


KINDS = {
    **{f"burst of {k}": lambda n, rng, k=k: pushed_together(n, k, rng) for k in (2, 9, 16, 40)},
    "one stamp a burst": lambda n, rng: pushed_together(n, 10, rng, each=0.0),
    "a little fast": lambda n, rng: pushed_together(n, 9, rng, SFREQ * 1.002),
    "a little slow": lambda n, rng: pushed_together(n, 9, rng, SFREQ * 0.998),
    "none, two at a time": lambda n, rng: pushed_together(n, 2, rng, each=1e-5),
    **{f"none, a chunk of {k}": lambda n, rng, k=k: deduced(n, k, rng) for k in (8, 32)},
    "arrival": lambda n, rng: pushed_together(n, 1, rng),
    "arrival, all late": lambda n, rng: (
        (said := np.sort(START + np.arange(n) / SFREQ + rng.uniform(0, 0.02, n))),
        said,
    ),
    "infinite": wrong(np.inf, 500),
    "no number, one of a few": wrong(np.nan, 7),
    "ahead, last of a chunk": wrong(0.7, 800),
    "ahead, within a chunk": wrong(0.7003, 800, 3),
    "far ahead": wrong(30.0, 800),
    "behind, last of a chunk": wrong(-0.7, 800),
    "behind, within a chunk": wrong(-0.7003, 800, 3),
}


def script(said, arrives, samples=SIGNAL):
    """Chunks of what arrives together."""
    ends = [*(np.flatnonzero(np.diff(arrives)) + 1), len(said)]
    return [
        Chunk(samples[a:b], said[a:b], float(arrives[b - 1]))
        for a, b in zip([0, *ends], ends, strict=False)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_all_samples_are_served_once_and_evenly(kind):
    n = len(SIGNAL)
    said, arrives = KINDS[kind](n, np.random.default_rng(1))
    bench = Bench(script(said, arrives)).run()
    c = balanced(bench)
    assert c.samples_in == c.samples_out == n
    made_up = (c.bridged, c.filled, c.unfilled, c.gaps, c.jumps, c.skipped, c.duplicates)
    assert made_up == (0,) * 7
    assert relative(bench.sink.samples, offline(SIGNAL)) < 1e-5
    stamps = bench.sink.timestamps
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.011)
    true = START + np.arange(n) / SFREQ
    if "little" not in kind:  # 0.2 % of the time make good what the first burst hid
        assert np.abs(stamps - true)[-100:].max() < (0.15 if kind == "burst of 40" else 0.02)
    even = np.isclose(said, true, rtol=0, atol=1e-9)
    if even.mean() > 0.5:
        np.testing.assert_array_equal(stamps[even], said[even])
    told = {"disorder", "uneven_stamps", "stopped"}
    assert {e["event"] for e in bench.events()} <= told
    assert len(bench.events("uneven_stamps")) == (even.mean() < 0.5)


@pytest.mark.parametrize("kind", ["burst of 9", "none, a chunk of 8", "arrival, all late"])
@pytest.mark.parametrize("lost", [20, 60, 1000])
def test_what_is_missing_is_found_by_the_count(kind, lost):
    n = len(SIGNAL)
    said, arrives = KINDS[kind](n, np.random.default_rng(2))
    kept = np.r_[0:2000, 2000 + lost : n]
    bench = Bench(script(said[kept], arrives[kept], SIGNAL[kept])).run()
    c = balanced(bench)
    assert c.gaps == 1
    assert abs(c.filled - lost) <= 12, "a burst more or less"
    assert c.samples_in == c.samples_out == n - lost
    stamps = bench.sink.timestamps
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.011)
    assert abs(stamps[-1] - arrives[-1]) < 0.1
    # Told at once, or within the seconds that it takes to be sure.
    assert np.flatnonzero(np.isnan(bench.sink.samples[:, 0])).max() <= 2000 + 450 + lost + 12


def test_a_chunk_sent_twice_is_dropped_also_with_uneven_stamps():
    said, _ = KINDS["burst of 9"](1800, np.random.default_rng(3))
    order = np.r_[0:900, 891:900, 900:1800]
    timeline = Timeline(SFREQ)
    n = sum(
        len(piece.stamps)
        for chunk in script(said[order], np.arange(len(order)) // 9, SIGNAL[order])
        for piece in timeline.split(chunk.samples, chunk.timestamps)
    )
    assert n == 1800
    assert timeline.out_of_order + timeline.duplicates == 9


def test_stamps_that_have_become_even_are_trusted_again():
    said, _ = KINDS["burst of 9"](1800, np.random.default_rng(3))
    said = np.r_[said, START + np.arange(1800, 30_000) / SFREQ]
    timeline, stamps = Timeline(SFREQ), []
    for i in range(0, len(said), 10):
        for piece in timeline.split(SIGNAL[np.arange(i, i + 10) % 6000], said[i : i + 10]):
            stamps += piece.stamps.tolist()
        if i == 1790:
            assert timeline.uneven
    assert not timeline.uneven
    np.testing.assert_array_equal(stamps[-5000:], said[-5000:])


@prop
@given(
    sizes=st.lists(st.integers(1, 40), min_size=40, max_size=120),
    each=st.sampled_from([0.0, 1e-5, 3e-4]),
    most_s=st.sampled_from([0.0, 0.02, 0.08]),
    strays=st.lists(
        st.tuples(
            st.integers(0, 5000), st.sampled_from([np.inf, np.nan, 0.7, -0.7, 0.0123, -0.0123])
        ),
        max_size=6,
    ),
    seed=st.integers(0, 1000),
)
def test_any_bursts_and_wrong_stamps_lose_and_make_up_nothing(sizes, each, most_s, strays, seed):
    """Sizes of bursts change, lateness comes and goes, and some stamps are wrong."""
    rng, n = np.random.default_rng(seed), sum(sizes)
    group = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(n) - np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    due = START + (np.cumsum(sizes) - 1) / SFREQ
    arrives = np.maximum.accumulate((due + late_s(rng, len(sizes), most_s))[group])
    said = arrives + each * within
    for place, what in strays:
        said[place % n] += what
    timeline, stamps, ages = Timeline(SFREQ), [], UsualAge()
    for chunk in script(said, arrives + 1e-9 * group):
        now = chunk.arrives_s
        for piece in timeline.split(chunk.samples, chunk.timestamps, ages.latest(now)):
            assert piece.kind == "data"
            stamps += piece.stamps.tolist()
        ages.observe(now, now - timeline.newest)
    assert len(stamps) + len(timeline._behind) == n
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.02)
