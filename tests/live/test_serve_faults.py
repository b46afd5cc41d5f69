"""A lab's day: processes that stop, die, come back as something else. Real processes, real LSL."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from tests.live.conftest import SFREQ
from tests.live.reading import open_stream, read_until
from tests.live.test_serve import open_markers, pull_events, start_player

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
AMPLIFIER = Path(__file__).parents[1] / "streams" / "amplifier.py"


def labels_of(subject):
    return [e.label for e in load_bundle(subject.bundle).manifest.ld]


def stop_for(process, seconds):
    """SIGSTOP, and SIGCONT some time later: starved of the processor, as it were."""
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGCONT)


def summary_of(status):
    last = json.loads(status.read_text().splitlines()[-1])
    assert last["summary"] is True
    answered = ("samples_out", "skipped", "duplicates", "out_of_order", "refused")
    assert last["samples_in"] == sum(last[key] for key in answered)
    return last


def test_waited_for_stopped_for_three_seconds_and_back_in_another_order(
    cli, subject, unique_id, tmp_path
):
    """One daemon, one outlet, three faults; every sample is in one counter."""
    status = tmp_path / "status.jsonl"
    daemon = cli(
        *("-v", "serve", subject.bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}"),
        *("--wait", "--timeout", "0.1", "--status-json", status),
    )
    daemon.wait_for("waiting for the source", 30)
    player = start_player(cli, subject, unique_id, "--loop")
    daemon.wait_for("ready", 30)
    hd, markers = open_stream(f"hd-{unique_id}"), open_markers(f"hd-{unique_id}-markers")
    read_until([hd], lambda stamps: len(stamps[0]) > 0.2 * SFREQ)

    stop_for(daemon.process, 3.0)
    [(rows, stamps)] = read_until([hd], lambda seen: len(seen[0]) > 3.3 * SFREQ)
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=1e-6)
    skipped = np.isnan(rows).all(axis=1)
    events = pull_events(markers)
    assert {e["event"] for e in events} == {"skipped"}, "the source was not silent, we were"
    assert sum(e["samples"] for e in events) == skipped.sum() > SFREQ
    assert np.isfinite(rows[~skipped]).all()

    player.kill()
    daemon.wait_for("source is silent", 20)
    order = labels_of(subject)[::-1]
    start_player(cli, subject, unique_id, "--loop", "--channels", ",".join(order))
    daemon.wait_for("in another order", 30)
    daemon.wait_for("the source is back", 30)
    ld = open_stream(f"amp-{unique_id}")
    (rows, stamps), (raw, raw_stamps) = read_until(
        [hd, ld], lambda seen: min(map(len, seen)) > 1.2 * SFREQ
    )
    _, ours, theirs = np.intersect1d(stamps, raw_stamps, return_indices=True)
    assert len(ours) > 0.7 * SFREQ
    names = list(hd.format.labels)
    columns = rows[ours][:, [names.index(label) for label in order]]
    alike = np.corrcoef(columns.T, raw[theirs].T)[: len(order), len(order) :]
    np.testing.assert_array_equal(alike.argmax(axis=1), np.arange(len(order)))
    assert hd.current_format(5.0).uid == hd.format.uid, "the outlet was never taken down"
    assert daemon.interrupt() == 0
    last = summary_of(status)
    assert last["skipped"] == skipped.sum()
    assert last["gaps"] == last["recovered"] == 1
    assert "Traceback" not in daemon.output


@pytest.mark.parametrize("change", ["format", pytest.param("unit", marks=pytest.mark.soak)])
def test_stopped_while_catching_up_then_changed(cli, spawn, subject, unique_id, tmp_path, change):
    status, labels = tmp_path / "status.jsonl", ",".join(labels_of(subject))

    def amplifier(*extra):
        fmt = "int16" if change == "format" and extra else "float32"
        unit = ("V",) if change == "unit" and extra else ("microvolts",)
        child = spawn(
            AMPLIFIER, "amp", unique_id, labels, SFREQ, fmt, 10**6, *unit, *extra, "noise"
        )
        child.wait_for("up")
        return child

    amp = amplifier()
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}"),
        *("--late-policy", "catch_up", "--latency-budget", 0.4, "--status-json", status),
    )
    daemon.wait_for("ready", 30)
    hd = open_stream(f"hd-{unique_id}")
    if change == "format":
        read_until([hd], lambda stamps: len(stamps[0]) > 0.5 * SFREQ)
        stop_for(daemon.process, 1.5)
        [(rows, stamps)] = read_until([hd], lambda seen: len(seen[0]) > 1.7 * SFREQ)
        np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=1e-6)
        assert np.isfinite(rows).all(), "all rendered"
    amp.kill()
    daemon.wait_for("source is silent", 20)
    amplifier("nowait")
    assert daemon.finish(30) == 8, daemon.output
    wanted = {"format": "format float32 became int16", "unit": "['microvolts'] became ['V']"}
    assert f"must come back as it was: {wanted[change].split('[')[0]}" in daemon.output
    assert wanted[change] in daemon.output
    assert "Traceback" not in daemon.output
    last = summary_of(status)
    assert last["skipped"] == 0
    assert last["state"] == "stopped"
    if change == "format":
        assert last["overdue"] > 0.5 * SFREQ


def test_two_sources_with_one_id_are_listed(cli, spawn, subject, unique_id):
    labels = ",".join(labels_of(subject))
    for name in ("left", "right"):
        spawn(AMPLIFIER, name, unique_id, labels, SFREQ, "float32", 10).wait_for("up")
    daemon = cli("serve", subject.bundle, "--source-id", unique_id)
    assert daemon.finish(40) == 7
    assert "'left'" in daemon.output
    assert "'right'" in daemon.output
    assert "share one source id" in daemon.output
