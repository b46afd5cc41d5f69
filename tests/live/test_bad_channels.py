"""Faults of electrodes and of the reference, as a user meets them: real processes, real LSL."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from tests.live.conftest import SFREQ
from tests.live.reading import open_stream, read_until
from tests.live.test_serve import open_markers, pull_events

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(180)]
JUMP_UV = 3e5


@pytest.fixture(scope="module")
def faulty(subject):
    """The play with too many channels lost, the reference and an electrode jumping."""
    recording = read_recording(subject.play)
    labels = [e.label for e in load_bundle(subject.bundle).manifest.ld]
    columns = [recording.labels.index(label) for label in labels]
    data = np.array(recording.data_uv, dtype=np.float64)[: round(8 * SFREQ)]
    data[round(1 * SFREQ) : round(1.6 * SFREQ), columns[:5]] = 1e30
    data[round(5 * SFREQ) :] += JUMP_UV
    data[round(6 * SFREQ) :, columns[2]] -= JUMP_UV
    path = subject.folder / "faulty_raw.fif"
    write_raw(path, data, recording.labels, SFREQ, recording.montage().positions_mm)
    return path, labels


def test_too_many_bad_channels_and_jumps(cli, subject, faulty, unique_id, tmp_path):
    path, labels = faulty
    player = cli(
        *("simulate", "--recording", path, "--channels", f"ld:{subject.bundle}"),
        *("--source-id", unique_id, "--name", f"amp-{unique_id}"),
    )
    player.wait_for("playing", 60)
    status = tmp_path / "status.jsonl"
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}"),
        *("--status-json", status),
    )
    daemon.wait_for("ready", 60)
    markers = open_markers(f"hd-{unique_id}-markers")
    hd = open_stream(f"hd-{unique_id}")
    [(rows, stamps)] = read_until([hd], lambda _: player.process.poll() is not None)
    events = pull_events(markers)
    assert daemon.terminate() == 0
    summary = json.loads(status.read_text().splitlines()[-1])
    assert summary["samples_in"] == summary["samples_out"] == round(8 * SFREQ)
    assert summary["unrenderable"] > 0.6 * SFREQ
    assert summary["steps"] >= 2
    assert summary["bad_reasons"] in ({}, {labels[2]: "jumped"})
    (too_many,) = [e for e in events if e["event"] == "too_many_bad"]
    assert too_many["channels"] == labels[:5]
    assert [e["event"] for e in events].count("enough_good") == 1
    jumps = [(e["common"], e["channels"]) for e in events if e["event"] == "step"]
    assert jumps == [(True, labels), (False, [labels[2]])]
    lost = np.isnan(rows).any(axis=1)
    assert lost.any()
    assert lost.sum() <= summary["unrenderable"]
    assert (np.diff(stamps) > 0).all()
    # 300 mV went by, and nothing beyond what EEG does came out.
    assert np.abs(rows[~lost]).max() < 500.0
    assert "too many to render" in daemon.output
