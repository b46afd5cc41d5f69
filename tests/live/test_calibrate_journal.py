"""A recording session is never lost: killed, doubled, flooded with markers; as a user meets it."""

from __future__ import annotations

import time

import mne
import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from emag_rt.streams.lsl import LslMarkerSink, local_clock
from tests.live.conftest import SFREQ
from tests.live.test_calibrate_stream import calibrate, play

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]


def rows_of(found, played):
    """Rows of what was played, over and over, that a recording holds from its first on."""
    start = int(np.abs(played - found[0]).sum(axis=1).argmin())
    return np.take(played, np.arange(start, start + len(found)), axis=0, mode="wrap")


def test_killed_it_loses_five_seconds_at_most(cli, subject, unique_id, tmp_path):
    recording = subject.folder / "calibration_raw.fif"
    play(cli, recording, unique_id, "--no-wait")
    task = LslMarkerSink(f"task-{unique_id}", f"task-{unique_id}")
    out, journal = tmp_path / "s01.emag", tmp_path / "s01_raw.xdf"
    run = calibrate(cli, unique_id, out, "--ld", "8", "--duration", 600)
    run.wait_for("recording the markers", 30)
    began = local_clock()
    task.push("سلام 😀", began + 2.0)
    time.sleep(13.0)
    killed = local_clock()
    run.kill()
    task.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s01_raw.xdf"]
    read = read_recording(journal)
    ((onset, _, text),) = read.events
    assert text == "سلام 😀"
    end = began + 2.0 - onset + len(read.data_uv) / SFREQ
    assert killed - 5.0 < end < killed + 0.1
    assert len(read.data_uv) > 10 * SFREQ
    played = read_recording(recording)
    np.testing.assert_allclose(read.data_uv, rows_of(read.data_uv, played.data_uv), atol=1e-3)
    np.testing.assert_allclose(read.positions_mm, played.positions_mm, atol=0.01)

    # It is fitted as any recording is, also where the disk lost its end; the next one spares it.
    journal.write_bytes(journal.read_bytes()[:-1000])
    fit = cli("calibrate", journal, "--ld", "8", "--no-refine", "--no-report", "--out", out)
    assert fit.finish(60) == 0, fit.output
    load_bundle(out)
    again = calibrate(cli, unique_id, out, "--ld", "8", "--duration", 600)
    again.wait_for("recording to s01-2_raw.xdf", 30)
    again.wait_for("s01_raw.xdf: of sessions that go on or were cut short", 30)


def test_two_sessions_with_one_bundle_keep_both_recordings(cli, subject, unique_id, tmp_path):
    recording, out = subject.folder / "calibration_raw.fif", tmp_path / "s01.emag"
    play(cli, recording, unique_id, "--speed", "4", "--no-wait")
    runs = [
        calibrate(cli, unique_id, out, "--ld", "8", "--duration", 12, "--no-report")
        for _ in range(2)
    ]
    assert [run.finish(60) for run in runs] == [0, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "s01-2_raw.fif",
        "s01.emag",
        "s01_raw.fif",
    ]
    played = read_recording(recording).data_uv
    for path in tmp_path.glob("*.fif"):
        found = read_recording(path).data_uv
        assert len(found) == pytest.approx(12 * SFREQ, abs=SFREQ)
        np.testing.assert_allclose(found, rows_of(found, played), atol=1e-3)


# Four seconds of nine, the least that is a session: MNE takes longer to copy the markers than they
# took to come, and the rate is the point; a minute of them is the soak's.
@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.soak)])
@pytest.mark.timeout(400)
def test_ten_thousand_markers_a_second(cli, subject, unique_id, tmp_path, seconds):
    """No EEG is lost, one Ctrl-C ends it, and all is saved and fitted."""
    recording, out = subject.folder / "calibration_raw.fif", tmp_path / "s01.emag"
    play(cli, recording, unique_id, "--no-wait")
    task = LslMarkerSink(f"task-{unique_id}", f"task-{unique_id}")
    run = calibrate(cli, unique_id, out, "--ld", "8", "--duration", 600, "--no-report")
    run.wait_for("recording the markers", 30)
    began, sent = local_clock(), 0
    while local_clock() < began + seconds:
        due = round(10_000 * (local_clock() - began))
        for i in range(sent, due):
            task.push(f"m{i}", began + 1e-4 * i)
        sent = max(sent, due)
        time.sleep(0.01)
    time.sleep(max(0.5, began + 9.5 - local_clock()))  # what is shorter is no session
    asked = time.monotonic()
    assert run.interrupt(300) == 0, run.output
    print(f"{sent} markers; ended within {time.monotonic() - asked:.1f} s of Ctrl-C")
    task.close()
    raw = mne.io.read_raw_fif(tmp_path / "s01_raw.fif", verbose="ERROR")
    assert not {"BAD_gap", "bridged"} & set(raw.annotations.description), "no EEG is lost"
    assert len(raw.times) > SFREQ * max(seconds, 9)
    played = read_recording(recording).data_uv
    found = raw.get_data().T * 1e6
    np.testing.assert_allclose(found, rows_of(found, played), atol=1e-3)
    assert len(raw.annotations) == sent
    steps = np.diff(raw.annotations.onset)
    assert np.abs(steps - 1e-4).max() < 1e-3, "in order, each in its place"
    load_bundle(out)
