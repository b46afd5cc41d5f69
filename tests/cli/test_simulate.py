"""The simulator: pacing without a clock, and the whole command in a process of its own."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from emag_rt.bundle import save_bundle
from emag_rt.cli.simulate import Signal, _columns, _length, play, simulate
from emag_rt.errors import MontageError, SettingsError
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from emag_rt.streams.lsl import LslSource, StreamQuery
from emag_rt.streams.memory import ManualClock, MemorySink
from tests.factories import LD, make_bundle

LABELS = ("Fp1", "Fz", "Cz", "C3", "C4", "Pz", "O1", "O2")


def ramp_signal(n_times=100, sfreq=100.0):
    data = np.arange(2.0 * n_times).reshape(n_times, 2)
    return Signal(
        ("A", "B"),
        sfreq,
        None,
        (0.0, 0.0, 0.0),
        "ramp",
        n_times,
        lambda first, count: data[np.arange(first, first + count) % n_times],
    )


def paced(n_total, n_chunk, speed=1.0, late=0.0):
    """Play on a manual clock; waiting takes ``late`` seconds longer than asked."""
    clock, sink, pushed_at = ManualClock(500.0), MemorySink(), []
    push = sink.push

    def wait(seconds):
        clock.advance(max(0.0, seconds) + late)
        pushed_at.append(clock())
        return False

    sink.push = push
    sent = play(ramp_signal(), [1], sink, n_total, n_chunk, speed, clock, wait)
    return sent, sink, np.array(pushed_at)


def test_chunks_leave_when_their_last_sample_is_due():
    sent, sink, pushed_at = paced(25, 10)
    assert sent == 25
    np.testing.assert_array_equal(sink.samples[:, 0], np.arange(25) * 2 + 1)
    np.testing.assert_array_equal(sink.timestamps, 500.0 + np.arange(25) / 100.0)
    np.testing.assert_allclose(pushed_at, 500.0 + np.array([9, 19, 24]) / 100.0)


def test_late_chunks_delay_no_others():
    _, sink, pushed_at = paced(100, 5, late=0.03)
    due = 500.0 + (np.arange(20) * 5 + 4) / 100.0
    assert np.all(pushed_at - due < 0.031)
    np.testing.assert_array_equal(sink.timestamps, 500.0 + np.arange(100) / 100.0)


def test_speed_moves_the_deadlines_and_not_the_stamps():
    _, sink, pushed_at = paced(100, 10, speed=4.0)
    assert pushed_at[-1] == pytest.approx(500.0 + 0.99 / 4.0)
    assert sink.timestamps[-1] == 500.0 + 99 / 100.0


def test_a_loop_goes_on_without_a_gap():
    sent, sink, _ = paced(250, 30)
    assert sent == 250
    np.testing.assert_array_equal(sink.samples[:, 0], (np.arange(250) % 100) * 2 + 1)
    np.testing.assert_array_equal(sink.timestamps, 500.0 + np.arange(250) / 100.0)


def test_length():
    assert _length(ramp_signal(), loop=False, duration=None) == 100
    assert _length(ramp_signal(), loop=True, duration=None) is None
    assert _length(ramp_signal(), loop=False, duration=5.0) == 100
    assert _length(ramp_signal(), loop=True, duration=5.0) == 500


@pytest.fixture
def recording(tmp_path):
    data = np.random.default_rng(0).normal(scale=20.0, size=(320, 8))
    return write_raw(tmp_path / "rec_raw.fif", data, LABELS, 160.0)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--synthetic", "--recording", "{}"], SettingsError),
        (["--recording", "{}", "--channels", "Fp1,Nope"], MontageError),
        (["--recording", "{}", "--channels", ","], SettingsError),
    ],
)
def test_wrong_options(recording, arguments, error):
    result = CliRunner().invoke(simulate, [a.format(recording) for a in arguments])
    assert isinstance(result.exception, error), result.output


@pytest.mark.lsl
def test_a_recording_is_heard_whole_with_regular_stamps(cli, recording, unique_id):
    child = cli(
        *("simulate", "--recording", recording, "--source-id", unique_id, "--chunk", 7),
        *("--channels", "o2,Cz", "--name", "amp"),
    )
    child.wait_for("playing")
    source = LslSource.open(StreamQuery(source_id=unique_id, name="amp"), 15.0)
    assert source.format.labels == ("O2", "Cz")
    assert source.format.units == ("microvolts", "microvolts")
    assert source.format.sfreq == 160.0
    pieces = []
    while sum(len(p[1]) for p in pieces) < 320:
        samples, stamps = source.pull(5.0)
        assert len(stamps), f"silent after {sum(len(p[1]) for p in pieces)} samples"
        pieces.append((samples.copy(), stamps.copy()))
    samples, stamps = (np.concatenate(part) for part in zip(*pieces, strict=True))
    expected = read_recording(recording).data_uv[:, [7, 2]].astype(np.float32)
    np.testing.assert_array_equal(samples, expected)
    np.testing.assert_array_equal(stamps, stamps[0] + np.arange(320) / 160.0)
    assert child.finish(15.0) == 0
    assert "played 320 samples" in child.output


@pytest.mark.lsl
def test_a_signal_ends_it_with_exit_0(cli, unique_id):
    child = cli("simulate", "--synthetic", "--sfreq", 100, "--source-id", unique_id, "--no-wait")
    child.wait_for("playing synthetic head 0: 64 channels at 100 Hz")
    source = LslSource.open(StreamQuery(source_id=unique_id), 15.0)
    assert len(source.pull(5.0)[1])
    assert child.interrupt() == 0
    assert "played" in child.output


@pytest.mark.lsl
def test_signals_end_it_while_it_waits_and_the_default_id_is_stable(cli, recording):
    lines = []
    for _ in range(2):
        child = cli("simulate", "--recording", recording)
        lines.append(child.wait_for("playing"))
        assert child.terminate() == 0
    assert lines[0] == lines[1]
    assert "waiting for the first receiver" in lines[0]


@pytest.mark.lsl
def test_errors_are_one_line_with_their_exit_code(cli, tmp_path):
    child = cli("simulate", "--recording", tmp_path / "absent.fif")
    assert child.finish() == 3
    assert child.lines[-1].startswith("error: recording")
    assert "Traceback" not in child.output


@pytest.mark.lsl
@pytest.mark.data
def test_mne_lsl_hears_a_real_recording(cli, data_file, unique_id, wait_until):
    mne_lsl = pytest.importorskip("mne_lsl")
    path = data_file("S001R05.edf")
    child = cli("simulate", "--recording", path, "--source-id", unique_id, "--duration", 20)
    child.wait_for("playing")
    stream = mne_lsl.stream.StreamLSL(4.0, source_id=unique_id)
    stream.connect(acquisition_delay=0.02, timeout=30.0)
    try:
        wait_until(lambda: stream.n_new_samples >= 160, 15.0)
        data, stamps = stream.get_data(winsize=1.0)
        recording = read_recording(path)
        assert tuple(stream.info.ch_names) == recording.labels
        np.testing.assert_allclose(np.diff(stamps), 1 / 160.0, atol=1e-4)
        places = np.array([ch["loc"][:3] for ch in stream.info["chs"]]) * 1000.0
        np.testing.assert_allclose(places, recording.positions_mm + recording.origin_mm, atol=1e-4)
        # every window of the stream is one of the recording
        whole = recording.data_uv.astype(np.float32)
        first = np.flatnonzero((whole == data[:, 0]).all(axis=1))
        assert any(np.array_equal(whole[k : k + data.shape[1]], data.T) for k in first)
    finally:
        stream.disconnect()
    assert child.terminate() == 0


@pytest.mark.parametrize("words", ["ld:{}", "{}"])
def test_the_ld_channels_of_a_bundle_are_played(tmp_path, words):
    path = tmp_path / "s01.emag"
    save_bundle(make_bundle(1), path)
    labels = ("X", *LD[::-1])
    source = replace(ramp_signal(), labels=labels)
    assert _columns(words.format(path), source) == [labels.index(label) for label in LD]
