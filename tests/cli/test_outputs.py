"""Outputs that must not overwrite inputs, and numbers that must be numbers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from emag_rt.cli.main import cli
from emag_rt.errors import CalibrationError, MontageError, SettingsError
from emag_rt.recordings.positions import template
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An HD recording with events, and a bundle of it."""
    folder = tmp_path_factory.mktemp("outputs")
    head = SyntheticHead(16, 128.0, seed=2)
    path = folder / "hd_raw.fif"
    write_raw(
        path,
        head.generate(128 * 20),
        head.labels,
        128.0,
        head.montage.positions_mm,
        origin_mm=head.origin_mm,
        events=[(3.0, 0.5, "T1"), (7.25, 0.0, "T2")],
    )
    bundle = folder / "s.emag"
    done = run(
        "calibrate", path, "--ld", "6", "--out", bundle, "--no-refine", "--no-report", "--quiet"
    )
    assert done.exit_code == 0, done.output
    return path, bundle


def test_inputs_are_never_overwritten(files):
    path, bundle = files
    before = path.read_bytes(), bundle.read_bytes()
    for arguments in (
        ("upsample", bundle, path, "--out", path),
        ("calibrate", path, "--ld", "6", "--out", path),
        ("evaluate", bundle, path, "--json", bundle),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, SettingsError), done.output
        assert "overwrite" in str(done.exception)
    assert (path.read_bytes(), bundle.read_bytes()) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "[Ii]s a directory"),
        ("no/x", "folder must exist"),
        ("ن" * 200, "name too long"),
        ("a\udce9", "UTF-8 without control"),
        ("a\n", "UTF-8 without control"),
        ("/proc/x", "cannot"),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "PATH", "--ld", "6", "--out", "X.emag"),
        ("calibrate", "PATH", "--ld", "6", "--out", "s.emag", "--report", "X.html"),
        ("calibrate", "--stream", "amp", "--ld", "6", "--out", "X.emag"),
        ("upsample", "BUNDLE", "PATH", "--out", "X.fif"),
        ("evaluate", "BUNDLE", "PATH", "--json", "X"),
        ("report", "BUNDLE", "PATH", "--out", "X.html"),
        ("montage", "PATH", "--count", "4", "--out", "X"),
        ("montage", "PATH", "--count", "4", "--picture", "X.png"),
        ("export", "BUNDLE", "--onnx", "X.onnx"),
        ("bench", "render", "--csv", "X.csv"),
        ("bench", "latency", "--bundle", "BUNDLE", "--json", "X"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_what_cannot_be_written_is_refused_before_the_work(
    files, tmp_path, monkeypatch, words, name, reason
):
    """Nothing is read, let alone worked on: a second would be long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emag_rt.streams.lsl.configure", lambda *_: None)
    (place,) = [word for word in words if word.startswith("X")]
    target = name + place.removeprefix("X")
    if name == "folder":
        Path(target).mkdir()
    known = {"PATH": str(files[0]), "BUNDLE": str(files[1]), place: target}
    done = run(*(known.get(word, word) for word in words))
    said = str(done.exception) if done.exit_code == 1 else done.output
    assert re.search(reason, said), said
    assert isinstance(done.exception, SettingsError) or done.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] in ([], [target])


@pytest.mark.usefixtures("undrawn")
def test_recordings_of_any_name_are_fitted_scored_and_reported(files, tmp_path):
    """Also where its bytes are no UTF-8: found out at the end, it would cost the work."""
    path = tmp_path / "سلام 😀 \udce9 a\x07b_raw.fif"
    shutil.copy(files[0], path)
    bundle = tmp_path / "s.emag"
    for words in (
        ("calibrate", path, "--ld", "6", "--out", bundle, "--no-refine", "--quiet"),
        ("inspect", bundle),
        ("inspect", bundle, "--json"),
        ("evaluate", bundle, path, "--json", tmp_path / "s.json"),
        ("upsample", bundle, path, "--out", tmp_path / "hd_raw.fif"),
    ):
        done = run(*words)
        assert done.exit_code == 0, (words, done.output, done.exception)
        assert "no report" not in done.output
    assert (tmp_path / "s.html").exists()


def test_output_folder_and_ending_are_checked_before_the_work(files, tmp_path):
    path, bundle = files
    done = run("calibrate", path, "--ld", "6", "--out", tmp_path / "no" / "x.emag")
    assert isinstance(done.exception, SettingsError)
    assert "folder" in str(done.exception)
    done = run("upsample", bundle, path, "--out", tmp_path / "x.edf")
    assert isinstance(done.exception, SettingsError)
    assert ".fif" in str(done.exception)


def test_upsample_carries_events_holes_and_bad_channels(files, tmp_path):
    path, bundle = files
    raw = mne.io.read_raw_fif(path, preload=True, verbose="ERROR")
    ld = mne.pick_channels(raw.ch_names, ["Cz"])[0]
    clean = tmp_path / "clean_raw.fif"
    assert run("upsample", bundle, path, "--out", clean).exit_code == 0
    raw._data[:, 1280:1400] = np.nan
    raw._data[ld] *= 1000
    raw.info["bads"] = ["Cz"]
    raw.save(tmp_path / "holed_raw.fif", verbose="ERROR")
    out = tmp_path / "out_raw.fif"
    done = run("upsample", bundle, tmp_path / "holed_raw.fif", "--out", out)
    assert done.exit_code == 0, done.output
    rendered = mne.io.read_raw_fif(out, preload=True, verbose="ERROR")
    marks = [(round(a["onset"], 3), a["description"]) for a in rendered.annotations]
    assert marks == [(3.0, "T1"), (7.25, "T2"), (10.0, "BAD_no_data")]
    # The channel marked as bad is filled from the others, so its wild values do not spread.
    expected = mne.io.read_raw_fif(clean, preload=True, verbose="ERROR").get_data()[:, 400:1200]
    error = rendered.get_data()[:, 400:1200] - expected
    assert (error**2).sum() < 0.5 * (expected**2).sum()


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--duration", "nan"),
        ("simulate", "--duration", "inf"),
        ("simulate", "--speed", "nan"),
        ("simulate", "--seed", "-1"),
        ("simulate", "--synthetic", "--sfreq", "1e9"),
        ("demo", "--seconds", "nan"),
    ],
)
def test_numbers_out_of_range_are_usage_errors(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert arguments[-2] in done.output


def test_the_same_recording_twice_is_refused(files, tmp_path):
    path, _ = files
    done = run("calibrate", path, path, "--ld", "6", "--out", tmp_path / "x.emag")
    assert isinstance(done.exception, CalibrationError)
    assert "twice" in str(done.exception)


def test_evaluating_on_a_calibration_recording_is_said(files):
    path, bundle = files
    done = run("evaluate", bundle, path)
    assert done.exit_code == 0
    assert "not held out" in done.output
    verdict = next(line for line in done.output.splitlines() if line and "warning" not in line)
    assert verdict.startswith(("Good: ", "Usable with care: ", "Poor: ", "Too early to tell: "))
    assert "next: emag-rt report" in done.output


def test_a_near_miss_is_suggested(files, tmp_path):
    path, _ = files
    done = run("calibrate", path, "--ld", "Cz,F3x,Pz", "--out", tmp_path / "x.emag")
    assert isinstance(done.exception, CalibrationError)
    assert "F3x (did you mean F3" in str(done.exception)


@pytest.mark.parametrize("name", ["standard_1005", "standard_1020", "biosemi64"])
def test_standard_montages_by_their_usual_names(name):
    assert "Cz" in template(name)


def test_an_unknown_montage_names_the_nearest():
    with pytest.raises(MontageError, match="biosemi64"):
        template("biosemi46")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "BUNDLE", "near_raw.fi"), "did you mean near_raw.fif?"),
        (("inspect", "small.emg"), "did you mean small.emag?"),
        (("evaluate", "near_raw.fif", "BUNDLE"), "The bundle comes first"),
        (("evaluate", "BUNDLE", "small.emag"), "it is a bundle. Swap the two?"),
        (("calibrate", "--ld", "8", "--out", "x.emag"), "--no-hd does without"),
        (("calibrate", "near_raw.fif", "--ld", "99", "--out", "x.emag"), "--no-hd"),
        (("calibrate", "near_raw.fif", "-ld", "4", "--out", "x.emag"), "Did you mean '--ld'?"),
        (("calibrate", "near_raw.fif", "--ld", "Cz; F3x", "--out", "x.emag"), "got F3x (did you"),
        (
            ("calibrate", "near_raw.fif", "--ld", "n.txt", "--out", "x.emag"),
            "--ld @n.txt: must be a text",
        ),
        (("calibrate", "near_raw.fif", "--ld", "headset:epoc", "--out", "x.emag"), "emotiv-epoc"),
        (("calibrate", "near_raw.fif", "--ld", "4", "--out", "s.edf"), "--out s.emag"),
        (("calibrate", "near_raw.fif", "--ld", "4", "--band", "0.5-45"), "--band LO HI"),
        (("inspect", "small"), "did you mean small.emag?"),
        (
            ("upsample", "BUNDLE", "near_raw.fif", "--out", "x_raw.fif", "--montage", "biosemi65"),
            "Did you mean biosemi64",
        ),
        (
            ("upsample", "BUNDLE", "near_raw.fif", "--out", "x_raw.fif", "--reference", "Czz"),
            "Did you mean Cz",
        ),
        (("serve", "AMP-1"), "serve NAME.emag --source-id AMP-1"),
        (("serve", "BUNDLE", "--stream", "AMP-1"), "'--source-id'"),
        (("serve", "BUNDLE", "--unit", "uV", "--scale", "2"), "source: give scale, in µV a step"),
        (("montage", "near_raw.fif", "--number", "8"), "'--count'"),
        (("simulate", "near_raw.fif"), "--recording near_raw.fif"),
        (("dashboard", "small.emag"), "emag-rt serve small.emag --dashboard"),
        (
            ("report", "small.emag"),
            "RECORDINGS is missing. small.emag was made from hd_raw.fif. "
            "Such as: emag-rt report small.emag hd_raw.fif",
        ),
        (("evaluate", "small.emag"), "emag-rt evaluate small.emag HELD_OUT_RECORDING"),
        (("evaluate", "near_raw.fif"), "The bundle comes first"),
        (("evaluate", "small2.emag"), "did you mean small.emag?"),
        (("upsample", "small.emag"), "emag-rt upsample small.emag ld.edf --out"),
        (("adapt", "small.emag"), "emag-rt adapt small.emag today.xdf --out"),
        (("montage", "--count", "4"), "emag-rt montage run1.edf run2.edf --count 16"),
        (("calibrate", "near_raw.fif", "--ld", "4", "--out", "s.html"), "--out s.emag"),
        (("adapt", "small.emag", "near_raw.fif", "--out", "y.fif"), "--out y.emag"),
        (("calibrate", "near_raw.fif", "--ld", "@small.emag", "--out", "x"), "must be a text file"),
        (("calibrate", "near_raw.fif", "--ld", "@none", "--out", "x"), "must be a text file"),
        (("calibrate", "near_raw.fif", "--count", "4"), "Did you mean '--ld'?"),
        (("calibrate", "--source-id", "AMP-1", "--ld", "4"), "Did you mean '--stream'?"),
        (("evaluate", "BUNDLE", "empty.edf"), "the file is empty"),
        (("inspect", "empty.emag"), "not an .emag file (it is empty). Copy"),
        (("evaluate", "BUNDLE", "."), "it is a folder (it holds empty.edf, near_raw.fif"),
        (("simulate", "--recording", "none"), "it is a folder (it holds no recording)"),
        (("evaluate", "my", "Ä.emag", "near_raw.fif"), "need quotes: 'my Ä.emag'"),
        (("upsample", "near_raw.fif", "BUNDLE", "--out", "x_raw.fif"), "The bundle comes first"),
        (("calibrate", "near_raw.fif", "--ld", "4", "--out", "x", "--band", "45", "1"), "LO < HI"),
        (("calibrate", "near_raw.fif", "--ld", "4", "--sfreq", "250Hz"), "from 16 to 100000"),
        (("montage", "near_raw.fif", "--count", "4", "--picture", "x.doc"), "end with .png"),
        (("serve", "BUNDLE", "--config", "names.txt"), "must hold sections"),
        (("serve", "BUNDLE", "AMP-1"), "Did you mean --source-id AMP-1?"),
        (("inspect",), "BUNDLE is missing. Such as: emag-rt inspect s01.emag"),
    ],
)
def test_a_mistake_is_answered_by_a_line_that_helps(files, tmp_path, monkeypatch, words, says):
    recording, bundle = files
    monkeypatch.chdir(tmp_path)
    (tmp_path / "near_raw.fif").write_bytes(Path(recording).read_bytes())
    (tmp_path / "small.emag").write_bytes(Path(bundle).read_bytes())
    (tmp_path / "my Ä.emag").write_bytes(Path(bundle).read_bytes())
    for name in ("empty.edf", "empty.emag"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "names.txt").write_text("Cz\n", encoding="utf-8")
    (tmp_path / "none").mkdir()
    done = run(*(str(bundle) if word == "BUNDLE" else word for word in words))
    assert says in f"{done.exception} {done.output}"
