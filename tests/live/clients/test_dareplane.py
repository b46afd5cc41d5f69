"""Dareplane's stream watcher, which every module of that platform reads LSL with."""

from __future__ import annotations

import time

import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from tests.live.clients.amplifier import Amplifier
from tests.live.reading import open_stream, read_until

NEEDS = "the tests with programs of others need emag-rt[clients]"
pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]


def test_it_watches_samples_status_and_markers(cli, subject, unique_id):
    module = pytest.importorskip("dareplane_utils.stream_watcher.lsl_stream_watcher", reason=NEEDS)
    amplifier = Amplifier(subject, unique_id, 700)
    hd = f"hd-{unique_id}"
    daemon = cli("serve", subject.bundle, "--source-id", unique_id, "--name", hd, "--quiet")
    daemon.wait_for("ready", 60)
    names = (hd, f"{hd}-status", f"{hd}-markers")
    watchers = [module.StreamWatcher(name, buffer_size_s=10) for name in names]
    for watcher in watchers:
        watcher.connect_to_stream()
    samples, status, markers = watchers
    beside = open_stream(hd)
    stamps = amplifier.play(lost=range(300, 360))
    [(rows, _)] = read_until([beside], lambda stamps: len(stamps[0]) >= 700)
    end = time.monotonic() + 20
    while samples.n_new < 700 or not status.n_new or not markers.n_new:
        assert time.monotonic() < end, [watcher.n_new for watcher in watchers]
        for watcher in watchers:
            watcher.update()
    assert samples.channel_names == [e.label for e in load_bundle(subject.bundle).manifest.hd]
    np.testing.assert_array_equal(samples.unfold_buffer()[-700:], rows)
    kept = np.r_[:300, 360:700]
    np.testing.assert_array_equal(samples.unfold_buffer_t()[-700:][kept], stamps[kept])
    assert status.channel_names[0] == "samples_in"
    assert status.unfold_buffer()[-1, 0] > 0
    assert '"event": "gap"' in str(markers.unfold_buffer()[-markers.n_new :])
    for watcher in watchers:
        watcher.disconnect()
