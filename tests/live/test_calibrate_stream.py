"""From a live HD stream to a served bundle, as a user does it: real processes, real LSL."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

import mne
import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from emag_rt.streams.lsl import LslMarkerSink, local_clock
from tests.live.conftest import SFREQ
from tests.live.reading import EVERY_ROW, open_stream, read_until

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
WORN = ("Fz", "Cz", "Pz", "C3", "C4", "O1")


def play(cli, recording, source_id, *options):
    player = cli("simulate", "--recording", recording, "--source-id", source_id, "--loop", *options)
    player.wait_for("playing", 60)
    return player


def calibrate(cli, source, out, *options):
    return cli("calibrate", "--stream", source, "--no-refine", "--out", out, *options)


def marks_of(path):
    raw = mne.io.read_raw_fif(path, verbose="ERROR")
    marks = raw.annotations
    return raw, list(zip(marks.onset, marks.duration, map(str, marks.description), strict=True))


@pytest.mark.parametrize("speed", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_recorded_with_a_restart_in_the_middle_fitted_and_served(
    cli, subject, unique_id, tmp_path, speed
):
    """LD labels come from the amplifier that will be worn; what is missing is never joined.

    Played faster than time, stamps run ahead of the clock, so the restart may set them back.
    """
    hd, ld, out = f"hd-{unique_id}", f"ld-{unique_id}", tmp_path / "s01.emag"
    recording = subject.folder / "calibration_raw.fif"
    player = play(cli, recording, hd, "--speed", speed)
    play(cli, recording, ld, "--no-wait", "--channels", ",".join(WORN))
    task = LslMarkerSink(f"task-{unique_id}", f"task-{unique_id}")
    run = calibrate(cli, hd, out, "--ld", f"@stream:{ld}", "--duration", 14, "--no-report")
    run.wait_for("recording the markers", 30)
    run.wait_for("32 of 32 channels good")
    now = local_clock()
    for i in range(100):
        task.push("stimulus/left", now + 0.25 * i)
    time.sleep(2.0 / speed)
    player.kill()
    play(cli, recording, hd, "--speed", speed)
    assert run.finish(60) == 0, run.output
    task.close()
    assert "the source is silent" in run.output
    assert "the source is back after" in run.output
    assert f"LD channels of stream 'emag_rt-simulate': {', '.join(WORN)}, at 200 Hz" in run.output

    raw, marks = marks_of(tmp_path / "s01_raw.fif")
    stimuli = [onset for onset, _, text in marks if text == "stimulus/left"]
    assert len(stimuli) > 8
    ((broken, missing, kind),) = [mark for mark in marks if mark[2] != "stimulus/left"]
    steps = np.diff(stimuli)
    if kind == "boundary":  # time before and after is not the same
        steps = steps[~((np.array(stimuli[:-1]) <= broken) & (np.array(stimuli[1:]) >= broken))]
    np.testing.assert_allclose(steps % 0.25 % 0.249, 0, atol=0.002)
    assert kind in (("BAD_gap",) if speed == 1 else ("BAD_gap", "boundary"))
    assert raw.times[-1] - missing == pytest.approx(14.0, abs=0.3)
    read = read_recording(tmp_path / "s01_raw.fif")
    assert len(read.segments) == 2, "never joined over the break"
    played = read_recording(recording)
    np.testing.assert_allclose(read.positions_mm, played.positions_mm, atol=0.01)
    head = read.data_uv[:200]
    start = int(np.abs(played.data_uv - head[0]).sum(axis=1).argmin())
    np.testing.assert_allclose(head, played.data_uv[start : start + 200], atol=1e-3)

    assert [e.label for e in load_bundle(out).manifest.ld] == list(WORN)
    daemon = cli("serve", out, "--source-id", ld, "--name", f"out-{unique_id}", *EVERY_ROW)
    daemon.wait_for("ready", 30)
    [(rows, _)] = read_until([open_stream(f"out-{unique_id}")], lambda s: len(s[0]) > 0.2 * SFREQ)
    assert rows.shape[1] == 32
    assert np.isfinite(rows).all()
    assert daemon.terminate() == 0


def test_given_up_it_leaves_the_recording_alone(cli, subject, unique_id, tmp_path):
    play(cli, subject.folder / "calibration_raw.fif", unique_id, "--speed", "20", "--no-wait")
    wrong = calibrate(cli, unique_id, tmp_path / "wrong.emag", "--ld", "Fz,Cz,Nose", "--quiet")
    run = calibrate(cli, unique_id, tmp_path / "s01.emag", "--ld", "8", "--duration", "3600")
    assert wrong.finish(30) == 4
    assert "--ld must name channels" in wrong.output, "said before anything is recorded"
    run.wait_for("recording:", 30)
    time.sleep(0.5)  # ten seconds of signal
    # A signal that comes again before the first was heard counts once, so: until it ends.
    # Not faster than a hand: a third in the middle of clearing up is heard as Python hears it.
    while run.process.poll() is None:
        run.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(1.0)
    assert run.finish(30) == 130, run.output
    assert "Traceback" not in run.output
    assert [p.name for p in tmp_path.iterdir()] == ["s01_raw.fif"]
    assert read_recording(tmp_path / "s01_raw.fif").duration_s > 5


@pytest.mark.soak
def test_ctrl_c_once_fits_what_is_there(cli, subject, unique_id, tmp_path):
    play(cli, subject.folder / "calibration_raw.fif", unique_id, "--speed", "20")
    out = tmp_path / "s01.emag"
    run = calibrate(cli, unique_id, out, "--ld", "8", "--duration", "3600", "--markers", "none")
    run.wait_for("recording:", 30)
    time.sleep(1.0)
    assert run.interrupt(60) == 0, run.output
    assert "recorded: " in run.output
    load_bundle(out)


@pytest.mark.data
@pytest.mark.soak
def test_a_real_recording_live_is_what_its_file_is(cli, data_dir, unique_id, tmp_path):
    """The bundle of a recording played live scores as that of the file; python -m pytest -m soak"""
    play(cli, data_dir / "S001R03.edf", unique_id, "--speed", "4")
    out = tmp_path / "live.emag"
    assert calibrate(cli, unique_id, out, "--ld", "16", "--duration", "110").finish(120) == 0
    path = tmp_path / "file.emag"
    file = cli("calibrate", data_dir / "S001R03.edf", "--ld", "16", "--no-refine", "--out", path)
    assert file.finish(60) == 0
    scores = [
        load_bundle(path).manifest.scores["methods"]["field"]["nmse_unseen"] for path in (out, path)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=0.15)
