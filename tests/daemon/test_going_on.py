"""Rows that go on at the rate while the source is silent."""

import numpy as np
import pytest

from emag_rt.daemon.settings import ServeSettings
from emag_rt.errors import SettingsError
from emag_rt.streams.memory import Chunk, Silence
from tests.daemon.test_loop import SFREQ, Bench, offline
from tests.daemon.test_loop_faults import balanced
from tests.factories import ld_signal

START = 1000.0


def played(ld, first_s, chunk=10):
    stamps = first_s + np.arange(len(ld)) / SFREQ
    return [
        Chunk(ld[i : i + chunk], stamps[i : i + chunk], stamps[i : i + chunk][-1])
        for i in range(0, len(ld), chunk)
    ]


@pytest.mark.parametrize("phase", [0.0, 0.0023])
@pytest.mark.parametrize("policy", ["hold", "nan"])
def test_an_amplifier_that_is_away_for_long_leaves_the_rate_as_it_is(policy, phase):
    ld, away_s = ld_signal(1000), 17.0
    script = [
        *played(ld[:400], START),
        *[Silence()] * round((away_s - 0.05) / 0.05),
        *played(ld[400:], START + 2.0 + away_s + phase),
    ]
    bench = Bench(script, gaps={"policy": policy, "go_on_after_s": 0.5})
    behind = []
    while not bench.source.exhausted:
        bench.server.turn(0.05)
        behind.append(bench.clock() - bench.sink.timestamps[-1])
    bench.run()
    c = balanced(bench)
    stamps, rows = bench.sink.timestamps, bench.sink.samples
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.011)
    assert max(behind) < 0.6, "a driver that waits for two seconds never does"
    assert abs(len(stamps) - (bench.clock() - START) * SFREQ) < 5
    assert c.samples_in == 1000
    assert c.out_of_order <= 3
    filled = rows[400 : 400 + c.filled]
    wanted = np.nan if policy == "nan" else rows[399]
    np.testing.assert_array_equal(filled, np.broadcast_to(wanted, filled.shape))
    n = len(rows) - 400 - c.filled
    np.testing.assert_allclose(rows[-300:], offline(ld[-n:])[-300:], rtol=1e-4, atol=1e-2)
    (gap,) = bench.events("gap")
    assert gap["samples"] == gap["filled"] == c.filled
    assert c.gaps == 1


def test_what_comes_late_after_all_is_counted_and_time_does_not_run_ahead():
    """The network was away, and brings what it owes: its time has been answered."""
    ld = ld_signal(1000)
    owed = Chunk(ld[400:800], START + np.arange(400, 800) / SFREQ, START + 4.01)
    script = [*played(ld[:400], START), *[Silence()] * 38, owed, *played(ld[800:], START + 4.0)]
    bench = Bench(script, gaps={"policy": "hold", "go_on_after_s": 0.5})
    while not bench.source.exhausted:
        bench.server.turn(0.05)
    bench.run()
    c = balanced(bench)
    np.testing.assert_allclose(bench.sink.timestamps, START + np.arange(1000) / SFREQ, atol=1e-6)
    assert c.out_of_order == c.filled > 360


def test_leaving_rows_out_and_going_on_exclude_each_other():
    with pytest.raises((SettingsError, ValueError), match="skip leaves rows out"):
        ServeSettings.model_validate({"gaps": {"policy": "skip", "go_on_after_s": 0.5}})
