"""ezmsg on both sides: its outlet as the amplifier, its inlet as the receiver."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from tests.live.clients.amplifier import Amplifier
from tests.live.conftest import SFREQ
from tests.live.reading import open_stream, read_until

NEEDS = "the tests with programs of others need emag-rt[clients]"
pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
GRAPH = ("-m", "tests.live.clients.ezmsg_graph")


def test_its_outlet_is_an_amplifier_and_its_inlet_reads_hd(
    cli, spawn, subject, unique_id, tmp_path
):
    pytest.importorskip("ezmsg.lsl", reason=NEEDS)
    played = Amplifier(subject, unique_id, 1000)
    played.sink.close()
    np.savez(tmp_path / "amp.npz", rows=played.rows, labels=played.labels, sfreq=SFREQ)
    amp, hd, n = f"ezmsg-{unique_id}", f"hd-{unique_id}", 600
    player = spawn(*GRAPH, "send", amp, tmp_path / "amp.npz")
    daemon = cli(
        *("serve", subject.bundle, "--source-name", amp, "--name", hd, "--wait"),
        *("--status-json", tmp_path / "status.jsonl"),
    )
    daemon.wait_for("ready", 60)
    beside = open_stream(hd)
    reader = spawn(*GRAPH, "read", hd, n, tmp_path / "hd.npz")
    assert reader.finish(60) == 0, reader.output
    read = np.load(tmp_path / "hd.npz")
    last = read["stamps"][-1] - 0.5 / SFREQ
    [(rows, stamps)] = read_until([beside], lambda times: (times[0] > last).any())
    assert daemon.terminate() == 0
    assert player.interrupt() == 0, player.output
    assert "declares no unit" not in daemon.output
    first = np.flatnonzero((rows == read["rows"][0]).all(axis=1)).item()
    same = slice(first, first + len(read["rows"]))
    np.testing.assert_array_equal(read["rows"], rows[same])
    np.testing.assert_allclose(read["stamps"], stamps[same], atol=1e-6)
    manifest = load_bundle(subject.bundle).manifest
    assert read["label"].tolist() == [electrode.label for electrode in manifest.hd]
    assert set(read["unit"]) == {"microvolts"}
    places = np.column_stack([read[axis] for axis in "xyz"])
    np.testing.assert_allclose(places, [e.position_mm for e in manifest.hd], atol=1e-3)
    summary = json.loads((tmp_path / "status.jsonl").read_text().splitlines()[-1])
    assert summary["samples_in"] == summary["samples_out"] > n
    assert summary["gaps"] == summary["bridged"] == summary["restamped"] == 0
