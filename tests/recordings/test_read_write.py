"""Reading and writing, on small files made here."""

import warnings

import mne
import numpy as np
import pytest

from emag_rt.errors import MontageError, OutputError, RecordingError, SettingsError
from emag_rt.recordings.positions import clean_labels, fill_from_template, template
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import _save, write_raw

LABELS = ("Fp1", "Fz", "Cz", "C3", "C4", "Pz", "O1", "O2")


def eeg(n=2000, n_channels=8, seed=0):
    """Microvolts."""
    return np.random.default_rng(seed).normal(scale=20.0, size=(n, n_channels))


def save(path, data_uv, labels=LABELS, sfreq=200.0, types="eeg", bads=(), annotations=None):
    raw = mne.io.RawArray(
        data_uv.T * 1e-6, mne.create_info(list(labels), sfreq, types), verbose="ERROR"
    )
    raw.info["bads"] = list(bads)
    if annotations is not None:
        raw.set_annotations(annotations)
    raw.save(path, fmt="double", verbose="ERROR")
    return path


def test_values_labels_template_positions_and_hash(tmp_path):
    data = eeg()
    recording = read_recording(save(tmp_path / "a_raw.fif", data, bads=["C3"]))
    np.testing.assert_allclose(recording.data_uv, data, rtol=1e-12)
    assert recording.data_uv.flags.c_contiguous
    assert recording.labels == LABELS
    assert (recording.sfreq, recording.bads, recording.unplaced) == (200.0, ("C3",), ())
    assert recording.segments == ((0, 2000),)
    assert recording.duration_s == 10.0
    assert 80 < recording.radius_mm < 110
    montage = recording.montage()
    assert montage.labels == LABELS
    np.testing.assert_allclose(
        montage.positions_mm + recording.origin_mm, [template()[name] for name in LABELS]
    )
    assert len(recording.sha256) == 64
    assert recording.info.get_montage() is not None


def test_edf_labels_are_cleaned():
    assert clean_labels(["Fc5.", "FCZ", "EEG FP1-REF", "T3", "X1.", "Iz.."]) == [
        "FC5",
        "FCz",
        "Fp1",
        "T3",
        "X1",
        "Iz",
    ]
    assert clean_labels(["Cz", "Cz."]) == ["Cz", "Cz."]  # would become one


def test_nets_are_recognised_by_their_labels():
    labels = [f"{row}{i}" for row in "ABCD" for i in range(1, 33)] + ["EXG1"]
    positions, name = fill_from_template(labels, np.full((129, 3), np.nan))
    assert name == "biosemi128"
    assert np.isfinite(positions).all(axis=1).sum() == 128
    with pytest.raises(MontageError, match="must be a file, or one of"):
        template("nothing")


def test_positions_of_the_file_are_kept(tmp_path):
    rng = np.random.default_rng(1)
    unit = rng.normal(size=(8, 3))
    positions = 90.0 * unit / np.linalg.norm(unit, axis=1, keepdims=True)
    path = write_raw(
        tmp_path / "p_raw.fif",
        eeg(),
        [f"E{i}" for i in range(8)],
        128.5,
        positions,
        origin_mm=(1.0, 10.0, 40.0),
    )
    recording = read_recording(path)
    assert recording.sfreq == 128.5
    np.testing.assert_allclose(recording.origin_mm, (1.0, 10.0, 40.0), atol=1e-3)
    np.testing.assert_allclose(recording.positions_mm, positions, atol=1e-3)
    assert recording.radius_mm == pytest.approx(90.0, abs=1e-3)


def test_unknown_positions_are_told_or_refused(tmp_path):
    mixed = save(tmp_path / "m_raw.fif", eeg(), [*LABELS[:7], "LOOSE"])
    recording = read_recording(mixed)
    assert recording.unplaced == ("LOOSE",)
    assert np.isnan(recording.positions_mm[7]).all()
    assert len(recording.montage()) == 7
    assert any("LOOSE" in note for note in recording.warnings)
    nowhere = save(tmp_path / "n_raw.fif", eeg(), [f"ch{i}" for i in range(8)])
    with pytest.raises(RecordingError, match="must have a known position"):
        read_recording(nowhere)
    free = read_recording(nowhere, need_positions=False)
    assert free.positions_mm is None
    with pytest.raises(MontageError):
        free.montage()


def test_breaks_holes_padding_and_bad_stretches_are_left_out(tmp_path):
    data = eeg()
    data[1900:] = 0.0
    data[300:310, 2] = np.nan
    data[:, 4] = np.nan  # a channel without a number is bad, not a hole of ten seconds
    annotations = mne.Annotations([2.5, 5.0, 7.0], [0.5, 0.0, 0.0], ["BAD_x", "boundary", "T1"])
    recording = read_recording(save(tmp_path / "b_raw.fif", data, annotations=annotations))
    assert recording.segments == ((0, 300), (310, 500), (600, 1000), (1000, 1900))
    assert recording.bads == ("C4",)
    text = " ".join(recording.warnings)
    for what in ("padding", "not a number", "annotated BAD"):
        assert what in text


def test_cropped_recordings_have_annotations_in_the_right_place(tmp_path):
    raw = mne.io.RawArray(
        eeg().T * 1e-6, mne.create_info(list(LABELS), 200.0, "eeg"), first_samp=700, verbose="ERROR"
    )
    raw.set_meas_date(1_000_000_000)
    raw.set_annotations(mne.Annotations([1.0], [0.5], ["BAD"]))  # taken from the first sample
    raw.save(tmp_path / "c_raw.fif", verbose="ERROR")
    again = mne.io.read_raw(tmp_path / "c_raw.fif", verbose="ERROR")
    onset = round((again.annotations.onset[0] - again.first_time) * 200)
    segments = read_recording(tmp_path / "c_raw.fif").segments
    assert segments == tuple(s for s in ((0, onset), (onset + 100, 2000)) if s[1] > s[0])


def test_resampling_keeps_signal_offset_and_stretches(tmp_path):
    t = np.arange(4000) / 400.0
    wave = 30.0 * np.sin(2 * np.pi * 7.0 * t) + 5e4  # 50 mV of offset
    data = np.repeat(wave[:, None], 8, axis=1)
    path = save(
        tmp_path / "r_raw.fif",
        data,
        sfreq=400.0,
        annotations=mne.Annotations([4.0], [1.0], ["BAD"]),
    )
    recording = read_recording(path, sfreq=160.0)
    assert recording.sfreq == 160.0
    assert recording.data_uv.shape == (1600, 8)
    assert recording.segments == ((0, 640), (800, 1600))
    assert np.isnan(recording.data_uv[640:800]).all()
    expected = 30.0 * np.sin(2 * np.pi * 7.0 * np.arange(1600) / 160.0) + 5e4
    for start, stop in recording.segments:
        inner = slice(start + 16, stop - 16)
        np.testing.assert_allclose(recording.data_uv[inner, 0], expected[inner], atol=0.05)
        assert np.abs(recording.data_uv[start:stop, 0] - expected[start:stop]).max() < 8.0
    odd = read_recording(path, sfreq=127.3)
    assert odd.data_uv.shape[0] == round(4000 * 127.3 / 400)
    assert all(np.isfinite(odd.data_uv[a:b]).all() for a, b in odd.segments)
    with pytest.raises(SettingsError, match="from 1 to"):
        read_recording(path, sfreq=-1.0)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_wrong_units_are_refused(tmp_path, factor):
    with pytest.raises(RecordingError, match="unit looks wrong"):
        read_recording(save(tmp_path / "u_raw.fif", eeg() * factor))


def test_channels_that_are_not_eeg_are_left_out(tmp_path):
    labels = [*LABELS[:5], "VEOG", "ECG", "STI 014"]
    types = ["eeg"] * 7 + ["stim"]
    recording = read_recording(save(tmp_path / "t_raw.fif", eeg(), labels, types=types))
    assert recording.labels == LABELS[:5]
    assert any("VEOG" in note for note in recording.warnings)


@pytest.mark.parametrize(
    ("name", "labels", "types", "text"),
    [
        ("none_raw.fif", LABELS, "misc", "of type EEG, got 0"),
        ("dup_raw.fif", ("T3", "T7", *LABELS[2:]), "eeg", "unique"),
    ],
)
def test_unusable_channels(tmp_path, name, labels, types, text):
    with pytest.raises(RecordingError, match=text):
        read_recording(save(tmp_path / name, eeg(), labels, types=types))


def test_unusable_files(tmp_path):
    (tmp_path / "x.edf").write_text("not edf")
    for name, text in (("absent_raw.fif", "must exist"), ("x.edf", "MNE can read")):
        with pytest.raises(RecordingError, match=text):
            read_recording(tmp_path / name)
    evoked = mne.EvokedArray(eeg(200).T * 1e-6, mne.create_info(list(LABELS), 200.0, "eeg"))
    for name in ("e-ave.fif", "evoked_ave.fif"):
        evoked.save(tmp_path / name, verbose="ERROR")
        with pytest.raises(RecordingError, match="continuous"):
            read_recording(tmp_path / name)
    dead = save(tmp_path / "d_raw.fif", np.zeros((2000, 8)))
    with pytest.raises(RecordingError, match="some stretch must be usable"):
        read_recording(dead)


def test_written_files_say_what_they_are(tmp_path):
    import datetime

    data = eeg()
    positions = np.array([template()[name] for name in LABELS])
    when = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
    path = write_raw(
        tmp_path / "out_raw.fif",
        data,
        LABELS,
        160.0,
        positions,
        bads=["O2"],
        meas_date=when,
        highpass=0.5,
        lowpass=500.0,
        description="from 8 channels",
        events=[(1.0, 0.0, "T1")],
    )
    assert [p.name for p in tmp_path.iterdir()] == ["out_raw.fif"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = mne.io.read_raw_fif(path, verbose="ERROR")
    np.testing.assert_allclose(raw.get_data().T * 1e6, data, rtol=1e-6, atol=1e-6)
    assert raw.info["description"].startswith("rendered by emag_rt from 8")
    assert raw.info["bads"] == ["O2"]
    assert (raw.info["highpass"], raw.info["lowpass"]) == (0.5, 80.0)
    assert raw.info["meas_date"] == when
    assert list(raw.annotations.description) == ["T1"]
    np.testing.assert_allclose(
        [ch["loc"][:3] * 1000 for ch in raw.info["chs"]], positions, atol=1e-3
    )


def test_outputs_that_cannot_be_written(tmp_path):
    for name, text in (("x.edf", "end with .fif"), ("no/x_raw.fif", "folder must exist")):
        with pytest.raises(RecordingError, match=text):
            write_raw(tmp_path / name, eeg(), LABELS, 100.0)
    with pytest.raises(RecordingError, match=r"shape \(n_times, 7\)"):
        write_raw(tmp_path / "a_raw.fif", eeg(), LABELS[:7], 100.0)
    path = write_raw(tmp_path / "a_raw.fif", eeg(), LABELS, 100.0)
    with pytest.raises(RecordingError, match="exists"):
        write_raw(path, eeg(), LABELS, 100.0, overwrite=False)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_raw(tmp_path / "a_raw.fif", eeg(), LABELS, 100.0)
    before = path.read_bytes()

    def broken(self, name, **_):
        with open(name, "w") as file:
            file.write("half")
        raise OSError("disk full")

    monkeypatch.setattr(mne.io.BaseRaw, "save", broken)
    with pytest.raises(OutputError, match="disk full"):
        write_raw(path, eeg(seed=1), LABELS, 100.0)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_parts_of_a_long_recording_find_each_other(tmp_path):
    path = tmp_path / "long_raw.fif"
    data = np.random.default_rng(0).normal(size=(2_000_000, len(LABELS))) * 1e-6
    raw = mne.io.RawArray(data.T, mne.create_info(LABELS, 100.0, "eeg"), verbose="ERROR")
    _save(raw, path, split_size="30MB")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) > 1
    assert names[-1] == "long_raw.fif"
    again = mne.io.read_raw_fif(path, verbose="ERROR")
    assert again.n_times == len(data)
