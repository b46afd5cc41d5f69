"""Any history of a stream: every sample is answered once or counted, and time goes on."""

import json

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from emag_rt.streams.memory import Chunk, Silence
from tests.daemon.test_loop import AMP, Bench, offline
from tests.daemon.test_loop_faults import balanced
from tests.factories import LD, ld_signal, make_bundle, prop, relative

SFREQ = 200.0
BUNDLES = {look_ahead: make_bundle(2, look_ahead=look_ahead) for look_ahead in (0, 3)}
SIGNAL = ld_signal(6000)

fault = st.one_of(
    st.tuples(st.just("data"), st.integers(1, 60)),
    st.tuples(st.just("data"), st.integers(1, 60)),
    st.tuples(st.just("lost"), st.integers(1, 300)),
    st.tuples(st.just("again"), st.integers(1, 30)),
    st.tuples(st.just("swapped"), st.integers(2, 20)),
    st.tuples(st.just("bad"), st.integers(1, 40)),
    st.tuples(st.just("stuck"), st.integers(1, 40)),
    st.tuples(st.just("untold"), st.integers(1, 20)),
    st.tuples(st.just("late"), st.integers(100, 500)),
    st.tuples(st.just("jump"), st.sampled_from([-3600.0, 3600.0, -90.0, 1200.0])),
    st.tuples(st.just("silent"), st.integers(1, 12)),
    st.tuples(st.just("restart"), st.permutations(range(len(LD)))),
)


class History:
    """A source that has a history; its samples come from one signal, in order."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.events, self.n_sent = [], 0
        self.true_s, self.shift_s = 1000.0, 0.0  # time, and what the source's clock adds to it
        self.row, self.order = 0, np.arange(len(LD))
        self.sent = [np.zeros((0, len(LD))), np.zeros(0)]

    def send(self, rows, stamps, wait_s=0.0):
        """Cut into chunks, which arrive when their last sample is due, or later."""
        rows = np.array(rows[:, self.order])
        start, begin_s = 0, self.true_s - len(rows) / SFREQ
        while start < len(rows):
            stop = start + int(self.rng.integers(1, 30))
            due = begin_s + stop / SFREQ + wait_s
            self.events.append(Chunk(rows[start:stop], stamps[start:stop].copy(), due))
            start = stop
        self.n_sent += len(rows)

    def take(self, n):
        rows = SIGNAL[np.arange(self.row, self.row + n) % len(SIGNAL)]
        stamps = self.true_s + self.shift_s + np.arange(n) / SFREQ
        self.row += n
        self.true_s += n / SFREQ
        return rows, stamps

    def play(self, kind, what):
        if kind == "lost":
            self.take(what)
        elif kind == "jump":
            self.shift_s += what
        elif kind == "silent":
            self.events += [Silence()] * what
            self.true_s += 0.2 * what
        elif kind == "restart":
            self.order = np.array(what)
            self.true_s += 2.0
            other = AMP.__class__(**{**AMP.__dict__, "labels": tuple(LD[i] for i in what)})
            self.events += [Silence()] * 10 + [other]
        elif kind == "again":
            rows, stamps = self.take(what)
            self.send(rows, stamps)
            self.send(rows[what // 2 :], stamps[what // 2 :])
        else:
            rows, stamps = self.take(what)
            rows = rows.copy()
            if kind == "swapped":
                turn = self.rng.permutation(what)
                rows, stamps = rows[turn], stamps[turn]
            elif kind == "bad":
                rows[:, self.rng.random(len(LD)) < 0.4] = np.nan
            elif kind == "stuck":
                stamps[:] = stamps[0]
            elif kind == "untold":
                stamps[self.rng.random(what) < 0.5] = np.nan
            self.send(rows, stamps, wait_s=what / SFREQ if kind == "late" else 0.0)


@prop
@given(
    faults=st.lists(fault, max_size=14),
    seed=st.integers(0, 1000),
    look_ahead=st.sampled_from(list(BUNDLES)),
    hop=st.sampled_from([0, 0, 7]),
    gap_policy=st.sampled_from(["nan", "hold", "skip"]),
    late_policy=st.sampled_from(["skip_to_newest", "catch_up"]),
)
def test_nothing_is_lost_and_nothing_is_silent(
    faults, seed, look_ahead, hop, gap_policy, late_policy
):
    history = History(seed)
    history.play("data", 40)
    for kind, what in faults:
        event(kind)
        history.play(kind, what)
    # The end is well behaved: what went before must not show in it.
    history.play("lost", 600)
    history.play("data", 120)
    bench = Bench(
        history.events,
        bundle=BUNDLES[look_ahead],
        options={"hop": hop},
        gaps={"policy": gap_policy},
        latency={"policy": late_policy, "budget_s": 0.4},
    ).run()
    c = balanced(bench)
    assert c.samples_in == history.n_sent
    assert c.restamped + c.overdue <= c.samples_out + c.skipped

    told = [json.loads(text) for text, _ in bench.markers.events]
    total = {name: sum(e["samples"] for e in told if e["event"] == name) for name in TOLD}
    assert total == {name: getattr(c, counter) for name, counter in TOLD.items()}
    assert sum(e["filled"] for e in told if e["event"] == "gap") == c.filled
    assert sum(e["event"] == "clock_jump" for e in told) == c.jumps

    stamps, hd = bench.sink.timestamps, bench.sink.samples
    assert np.isfinite(stamps).all()
    steps = np.diff(stamps)
    assert (steps <= 0).sum() <= c.jumps, "time goes back only where a jump says so"
    if gap_policy != "skip" and not c.unfilled:
        # One jump can hide one step; everything else keeps the rate, but for late catching up.
        assert (steps > 1.6 / SFREQ).sum() <= c.jumps
        assert (steps > 0.4 / SFREQ).sum() >= len(steps) - c.jumps - c.restamped - c.out_of_order

    tail = SIGNAL[np.arange(history.row - 120, history.row) % len(SIGNAL)]
    assert relative(hd[-120:], offline(tail, BUNDLES[look_ahead])) < 1e-4, "as a fresh start"


TOLD = {"bridged": "bridged", "skipped": "skipped", "overdue": "overdue"}


@pytest.mark.parametrize("policy", ["nan", "hold"])
def test_the_rate_is_constant_through_losses(policy):
    history = History(3)
    for kind, what in [("data", 50), ("lost", 7), ("data", 50), ("lost", 900), ("data", 50)]:
        history.play(kind, what)
    bench = Bench(history.events, gaps={"policy": policy}).run()
    np.testing.assert_allclose(np.diff(bench.sink.timestamps), 1 / SFREQ, rtol=1e-6)
    assert len(bench.sink.timestamps) == 150 + 907
