"""Recordings as labs have them: refused in words, or used in a way that is told."""

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.cli.main import cli
from emag_rt.errors import CalibrationError, MontageError, RecordingError
from tests.factories import LD, make_bundle, mixing

SFREQ = 200.0
LABELS = (*LD, "Fz", "Pz", "C3", "C4")


def eeg(n_times=4000, n_channels=12):
    """Correlated, coloured, µV."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n_times, n_channels))
    for i in range(1, n_times):
        noise[i] += 0.9 * noise[i - 1]
    return 10.0 * noise @ mixing(n_channels)


@pytest.fixture
def record(tmp_path):
    def write(data, labels=LABELS, types="eeg", annotations=None, bads=()):
        info = mne.create_info(list(labels), SFREQ, types)
        raw = mne.io.RawArray(data.T * 1e-6, info, verbose="ERROR")
        raw.info["bads"] = list(bads)
        if annotations is not None:
            raw.set_annotations(annotations)
        raw.save(tmp_path / "lab_raw.fif", fmt="double", overwrite=True, verbose="ERROR")
        return tmp_path / "lab_raw.fif"

    return write


@pytest.fixture
def run(tmp_path):
    """Run a command on a recording; what it wrote (None: nothing), and how it ended."""

    def command(name, recording, bundle=None):
        out = tmp_path / ("out.emag" if name == "calibrate" else "out_raw.fif")
        arguments = ["calibrate", recording, "--ld", "5", "--out", out]
        arguments += ["--no-refine", "--no-report", "--quiet"]
        if name == "upsample":
            path = tmp_path / "bundle.emag"
            save_bundle(bundle or make_bundle(1), path)
            arguments = ["upsample", path, recording, "--out", out]
        result = CliRunner().invoke(cli, [str(a) for a in arguments])
        return out if out.exists() else None, result

    return command


def doubled(labels=LABELS):
    return (*labels[:-1], "T3")  # T7 under its old name


REFUSED = {
    "no EEG": (eeg, {"types": "misc"}, RecordingError, "of type EEG, got 0 among 12"),
    "double names": (eeg, {"labels": doubled()}, RecordingError, "'T7' and 'T3'"),
    "unprintable name": (eeg, {"labels": (*LABELS[:-1], "C\x1b4")}, RecordingError, "printable"),
    "all NaN": (lambda: eeg() * np.nan, {}, RecordingError, "must be usable, got 0 of 12"),
    "all BAD": (
        eeg,
        {"annotations": mne.Annotations([0.0], [20.0], ["BAD_all"])},
        RecordingError,
        "got none in 20.0 s",
    ),
    "all marked": (eeg, {"bads": LABELS}, RecordingError, "at least 2 EEG channels must be usable"),
    "flat": (lambda: 0 * eeg() + 5.0, {}, RecordingError, "everything is constant"),
    "µV as V": (lambda: eeg() * 1e6, {}, RecordingError, "unit looks wrong.*x \\* 1e-6"),
    "V as µV": (lambda: eeg() * 1e-6, {}, RecordingError, "unit looks wrong"),
    "one sample": (lambda: eeg(1), {}, RecordingError, "some stretch must be usable"),
}


@pytest.mark.parametrize("command", ["calibrate", "upsample"])
@pytest.mark.parametrize("fault", REFUSED)
def test_both_refuse(record, run, command, fault):
    make, options, kind, message = REFUSED[fault]
    written, result = run(command, record(make(), **options))
    assert written is None
    assert isinstance(result.exception, kind), result.output
    assert "\n" not in str(result.exception)
    with pytest.raises(kind, match=message):
        raise result.exception


NOWHERE = tuple(f"ch{i}" for i in range(len(LABELS)))


@pytest.mark.parametrize(
    ("command", "data", "labels", "kind", "message"),
    [
        ("calibrate", eeg(), NOWHERE, RecordingError, "at least 4 EEG .* position.*got 0 of 12"),
        ("upsample", eeg(), NOWHERE, MontageError, "missing Fp1.* it has ch0"),
        ("calibrate", eeg(1600), LABELS, CalibrationError, "at least 8 s .*got 7.0 s .*2 to 5 min"),
        ("calibrate", eeg(n_channels=2), LABELS[:2], RecordingError, "got 2 of 2 .*HD cap"),
        ("upsample", eeg(n_channels=2), LABELS[:2], MontageError, "missing F8, Cz"),
    ],
    ids=["no positions", "other names", "8 s", "2 channels", "2 of 8 channels"],
)
def test_one_refuses(record, run, command, data, labels, kind, message):
    written, result = run(command, record(data, labels))
    assert written is None
    assert isinstance(result.exception, kind), result.output
    with pytest.raises(kind, match=message):
        raise result.exception


def rendered(path):
    return mne.io.read_raw_fif(path, verbose="ERROR")


@pytest.mark.parametrize(
    ("data", "labels"),
    [(eeg(1600), LABELS), (eeg(), tuple(LD) + NOWHERE[:4])],
    ids=["8 s", "no positions"],
)
def test_upsample_takes_what_calibration_would_not(record, run, data, labels):
    written, result = run("upsample", record(data, labels))
    assert result.exception is None, result.output
    assert rendered(written).n_times == len(data)
    assert np.isfinite(rendered(written).get_data()).all()


def test_two_channels_are_upsampled_where_two_were_calibrated(record, run):
    pair = ("Cz", "Oz")
    bundle = make_bundle(1, labels=("Cz", "O1"))
    data = eeg(n_channels=2)
    written, result = run("upsample", record(data, ("Cz", "O1")), bundle)
    assert result.exception is None, result.output
    assert len(rendered(written).ch_names) == len(bundle.manifest.hd) > len(pair)
    assert np.isfinite(rendered(written).get_data()).all()


def holes():
    data = eeg()
    data[500:900] = np.nan  # all channels, 2 s
    data[1500:1600, 3] = np.inf  # one of them, half a second
    return data


def test_calibrate_leaves_out_what_is_no_number_or_marked(record, run, caplog):
    marks = mne.Annotations([10.0, 15.0], [2.0, 1.0], ["BAD_move", "T1"])
    written, result = run("calibrate", record(holes(), annotations=marks))
    assert result.exception is None, result.output
    # Stretches of 2.5, 3, 2 and 8 s, each less a second of settling, a quarter of it at most.
    assert load_bundle(written).manifest.calibration["duration_s"] == pytest.approx(12.62, abs=0.02)
    assert "left out 2.50 s: not a number" in caplog.text
    assert "left out 2.00 s: annotated BAD" in caplog.text
    assert "only 1" in result.output


def test_upsample_renders_around_what_is_no_number(record, run):
    marks = mne.Annotations([10.0], [2.0], ["BAD_move"])
    written, result = run("upsample", record(holes(), annotations=marks))
    assert result.exception is None, result.output
    raw = rendered(written)
    found = {(round(a["onset"], 2), round(a["duration"], 2), a["description"]) for a in
             raw.annotations}  # fmt: skip
    assert (10.0, 2.0, "BAD_move") in found  # what was marked is rendered, and stays marked
    # Two seconds without a number, and the half one until a clean block has been seen.
    assert (2.5, 2.5, "BAD_no_data") in found
    assert "1 stretches hold no number" in result.output
    lost = np.isnan(raw.get_data()).all(axis=0)
    np.testing.assert_array_equal(np.flatnonzero(lost), np.arange(500, 1000))
    assert np.isfinite(raw.get_data()[:, ~lost]).all()


def dependent():
    data = eeg()
    data[:, 9] = data[:, :4].mean(axis=1)  # interpolated
    return data - data.mean(axis=1, keepdims=True)  # average reference: no fault by itself


def test_dependent_channels_are_told_and_do_no_harm(record, run):
    written, result = run("calibrate", record(dependent()))
    assert result.exception is None, result.output
    assert "1 channels too few in rank" in result.output
    assert "Mark them as bad" in result.output
    field = load_bundle(written).manifest.method_scores["field"]
    assert all(0 <= value < 1.5 for value in field)
    written, result = run("upsample", record(dependent()))
    assert result.exception is None, result.output
    assert np.isfinite(rendered(written).get_data()).all()


def test_average_reference_alone_is_no_fault(record, run):
    data = eeg()
    written, result = run("calibrate", record(data - data.mean(axis=1, keepdims=True)))
    assert result.exception is None, result.output
    assert written is not None
    assert "in rank" not in result.output
