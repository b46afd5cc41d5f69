"""What tools/record_xdf.py writes of live streams: pyxdf and we read stamps, labels, markers."""

import mne
import numpy as np
import pytest
import pyxdf

from calibration.scores.held_out import evaluate_bundle
from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from emag_rt.streams.lsl import LslSink, OutletSpec
from tests.live.conftest import SFREQ

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
RECORD = ("-m", "tools.record_xdf")


@pytest.fixture
def annotated(subject, tmp_path):
    """The recording that is played, with an event every half a second."""
    raw = mne.io.read_raw_fif(subject.play, verbose="ERROR")
    onsets = 0.25 + 0.5 * np.arange(20)
    raw.set_annotations(mne.Annotations(onsets, 0.0, [f"event {i}" for i in range(20)]))
    raw.save(tmp_path / "annotated_raw.fif", verbose="ERROR")
    return tmp_path / "annotated_raw.fif", onsets


def test_low_density_high_density_and_markers_in_one_file(
    cli, spawn, subject, annotated, unique_id, tmp_path
):
    recording, onsets = annotated
    amp, hd = f"amp-{unique_id}", f"hd-{unique_id}"
    player = cli(
        *("simulate", "--recording", recording, "--channels", "hd", "--source-id", unique_id),
        *("--name", amp, "--markers", "--loop"),
    )
    player.wait_for("waiting for the first receiver", 30)
    xdf = tmp_path / "session.xdf"
    daemon = cli("serve", subject.bundle, "--source-id", unique_id, "--name", hd, "--wait")
    daemon.wait_for("ready", 60)
    names = [word for name in (amp, hd, f"{amp}-markers") for word in ("--name", name)]
    recorder = spawn(*RECORD, xdf, *names, "--duration", "2.8")
    assert recorder.finish(30) == 0, recorder.output
    player.kill()
    daemon.kill()

    streams, _ = pyxdf.load_xdf(xdf, synchronize_clocks=False, dejitter_timestamps=False)
    found = {s["info"]["name"][0]: s for s in streams}
    assert set(found) == {amp, hd, f"{amp}-markers"}
    low, high = found[amp]["time_stamps"], found[hd]["time_stamps"]
    both = np.intersect1d(low, high)  # bit for bit
    assert len(both) > 2.2 * SFREQ
    for stamps in (low, high):
        np.testing.assert_array_equal(stamps[(stamps >= both[0]) & (stamps <= both[-1])], both)
    assert min(len(low), len(high)) - len(both) < 0.1 * SFREQ
    assert all(len(found[name]["clock_values"]) >= 2 for name in found)
    assert all("footer" in found[name] for name in found)

    ld, rendered = (read_recording(f"{xdf}#{name}") for name in (amp, hd))
    bundle = load_bundle(subject.bundle)
    assert rendered.labels == tuple(e.label for e in bundle.manifest.hd)
    assert ld.sfreq == rendered.sfreq == SFREQ
    assert len(ld.segments) == len(rendered.segments) == 1
    wanted = np.array([e.position_mm for e in bundle.manifest.hd])
    np.testing.assert_allclose(rendered.positions_mm, wanted, atol=0.01)
    np.testing.assert_allclose(rendered.data_uv, found[hd]["time_series"], rtol=1e-6)
    # Where a marker stands in the recording is where it stood in the file that was played.
    original = read_recording(recording)
    first = np.abs(original.data_uv - found[amp]["time_series"][0]).sum(axis=1).argmin() / SFREQ
    played = dict(zip([f"event {i}" for i in range(20)], onsets - first, strict=True))
    assert len(ld.events) >= 5
    for onset, _, text in ld.events:
        off = (onset - played[text] + 6.0) % 12.0 - 6.0  # it is played again and again
        assert abs(off) < 0.51 / SFREQ
    # The true HD signal was recorded beside the rendered one: the file alone scores it.
    score = evaluate_bundle(bundle, f"{xdf}#{amp}")
    assert score.methods["field"]["unseen"]["nmse"] < 1.0


def test_what_cannot_be_recorded_is_said(spawn, unique_id, tmp_path):
    nobody = spawn(*RECORD, tmp_path / "a.xdf", "--name", unique_id, "--timeout", "0.1")
    nothing = spawn(*RECORD, tmp_path / "a.xdf")
    assert nobody.finish(30) == 7
    assert f"name '{unique_id}' must be there" in nobody.output
    assert nothing.finish(30) == 2
    assert not (tmp_path / "a.xdf").exists()
    assert "Traceback" not in nobody.output + nothing.output


def test_a_full_disk_ends_it_with_one_line(spawn, unique_id):
    sink = LslSink(OutletSpec(unique_id, unique_id, ("Fz",), 100.0))
    arguments = ("--overwrite", "--name", unique_id, "--duration", "0.1")
    recorder = spawn(*RECORD, "/dev/full", *arguments)
    assert recorder.finish(30) == 9, recorder.output
    (line,) = [line for line in recorder.lines if line.startswith("error: ")]
    assert "cannot be written: No space left" in line
    assert "Traceback" not in recorder.output
    sink.close()
