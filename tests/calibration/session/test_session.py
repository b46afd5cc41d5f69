"""From recordings to a session: choices, bad channels, and errors that say what to do."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from calibration import CalibrationSettings
from calibration.session.channel_quality import (
    bridged_channels,
    dependent_channels,
    suspicious_channels,
)
from calibration.session.ld_choice import read_ld_choice
from calibration.session.segments import open_session
from emag_rt.errors import CalibrationError, EmagError, SettingsError
from emag_rt.recordings.read import read_recording

SETTINGS = CalibrationSettings(refine=False)


def changed(path, out, change):
    """A copy of a recording after ``change(raw)``."""
    raw = mne.io.read_raw_fif(path, preload=True, verbose="ERROR")
    raw = change(raw) or raw
    raw.save(out, verbose="ERROR")
    return out


def test_targets_ld_and_scale(session_files):
    session = open_session(session_files[:2], 8, SETTINGS)
    assert len(session.ld) == 8
    assert len(session.targets) == 24
    assert not set(session.ld) & set(session.targets)
    x = np.concatenate([x for x, _ in session.segments])
    np.testing.assert_allclose(x.std(axis=0), 1.0, rtol=1e-6)
    y = np.concatenate([y for _, y in session.segments])
    ld = list(session.ld)
    np.testing.assert_allclose(y[:, ld].mean(axis=1), 0.0, atol=1e-9)
    np.testing.assert_allclose(y[:, ld], x * session.scale_uv, atol=1e-9)
    assert session.duration_s == pytest.approx(48.0, abs=0.1), "one second settles in each run"


def test_files_and_recordings_may_come_together(session_files):
    mixed = open_session([session_files[0], read_recording(session_files[1])], 8, SETTINGS)
    files = open_session(session_files[:2], 8, SETTINGS)
    for (x, y), (wanted_x, wanted_y) in zip(mixed.segments, files.segments, strict=True):
        np.testing.assert_array_equal(x, wanted_x)
        np.testing.assert_array_equal(y, wanted_y)
    with pytest.raises(CalibrationError, match="at least one file"):
        open_session([], 8, SETTINGS)


def test_names_in_any_case_and_old_spelling(session_files):
    session = open_session(session_files[:1], ["cz", "T3", "FP1", "oz"], SETTINGS)
    labels = [session.montage.labels[i] for i in session.ld]
    assert [label.lower() for label in labels] == ["cz", "t7", "fp1", "oz"]


def test_ld_choice_is_a_count_names_or_a_file(tmp_path):
    assert read_ld_choice("16") == 16
    assert read_ld_choice("Cz, Pz") == ["Cz", "Pz"]
    file = tmp_path / "ld.txt"
    file.write_text("Cz\nPz, Oz\n")
    assert read_ld_choice(f"@{file}") == ["Cz", "Pz", "Oz"]
    assert read_ld_choice(str(file)) == ["Cz", "Pz", "Oz"], "without its @"
    with pytest.raises(CalibrationError, match="must be a text file of names"):
        read_ld_choice(f"@{tmp_path / 'none.txt'}")
    with pytest.raises(CalibrationError, match="got nothing"):
        read_ld_choice(" , ")


@pytest.mark.parametrize(
    ("ld", "error", "says"),
    [
        (1, CalibrationError, "from 2 to"),
        (-3, CalibrationError, "from 2 to"),
        (32, CalibrationError, "from 2 to"),
        (["Cz", "Nope"], CalibrationError, "Nope"),
        (["Cz", "cz", "Pz"], CalibrationError, "once"),
    ],
)
def test_impossible_choices_say_why(session_files, ld, error, says):
    with pytest.raises(error, match=says):
        open_session(session_files[:1], ld, SETTINGS)


def test_marked_flat_and_wild_channels_are_not_learned_from(session_files, tmp_path):
    def spoil(raw):
        raw._data[raw.ch_names.index("P3")] *= 1e-4
        raw._data[raw.ch_names.index("C4")] *= 30
        raw.info["bads"] = ["F7"]

    path = changed(session_files[0], tmp_path / "bad_raw.fif", spoil)
    session = open_session([path], 8, SETTINGS)
    bad = {session.montage.labels[i] for i in session.bad}
    assert bad == {"P3", "C4", "F7"}
    assert not bad & {session.montage.labels[i] for i in (*session.ld, *session.targets)}
    assert any("P3" in note and "flat" in note for note in session.warnings)
    assert any("C4" in note and "wild" in note for note in session.warnings)
    with pytest.raises(CalibrationError, match="C4 are bad"):
        open_session([path], ["Cz", "C4", "Oz"], SETTINGS)


def test_interpolated_channels_are_told(session_files, tmp_path):
    def interpolate(raw):
        names = raw.ch_names
        raw._data[names.index("P3")] = 0.5 * (
            raw._data[names.index("C3")] + raw._data[names.index("O1")]
        )

    path = changed(session_files[0], tmp_path / "rank_raw.fif", interpolate)
    # Average-referenced data lack one rank by right; this has no such reference.
    path = changed(
        path,
        tmp_path / "rank2_raw.fif",
        lambda raw: raw.set_eeg_reference("average", verbose="ERROR"),
    )
    session = open_session([path], 8, SETTINGS)
    assert any("rank" in note for note in session.warnings)


def test_too_short_a_session_is_refused_and_a_short_one_told(session_files, tmp_path):
    path = changed(session_files[0], tmp_path / "short_raw.fif", lambda raw: raw.crop(0, 6))
    with pytest.raises(CalibrationError, match="at least 8 s"):
        open_session([path], 8, SETTINGS)
    session = open_session(session_files[:1], 8, SETTINGS)
    assert any("only 24 s" in note for note in session.warnings)


def test_rate_below_the_band_and_mixed_rates(session_files, tmp_path):
    with pytest.raises(SettingsError, match="--band"):
        open_session(session_files[:1], 8, CalibrationSettings(sfreq=80.0))
    other = changed(
        session_files[1],
        tmp_path / "slow_raw.fif",
        lambda raw: raw.resample(100, verbose="ERROR"),
    )
    with pytest.raises(CalibrationError, match="--sfreq"):
        open_session([session_files[0], other], 8, SETTINGS)
    session = open_session([session_files[0], other], 8, CalibrationSettings(sfreq=100.0))
    assert session.sfreq == 100.0
    assert session.duration_s == pytest.approx(48.0, abs=0.2)


def test_bad_annotations_and_boundaries_cut(session_files, tmp_path):
    def annotate(raw):
        raw.set_annotations(
            mne.Annotations(
                [5.0, 15.0],
                [2.0, 0.0],
                ["BAD_move", "EDGE boundary"],
                orig_time=raw.info["meas_date"],
            )
        )

    path = changed(session_files[0], tmp_path / "cut_raw.fif", annotate)
    session = open_session([path], 8, SETTINGS)
    assert len(session.segments) == 3
    assert session.duration_s == pytest.approx(25 - 2 - 3, abs=0.2)


def test_channel_quality_on_plain_numbers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 10))
    x[:, 2] *= 0.01
    x[:, 5] *= 10
    assert set(suspicious_channels([x], 100.0)) == {2, 5}
    assert suspicious_channels([x[:50]], 100.0) == {}, "nothing to judge in half a second"
    x[:, 7] = x[:, 1] + 1e-3 * rng.normal(size=4000)
    assert bridged_channels(x, [1]) == {7}
    mixed = x @ np.diag([1] * 10)
    mixed[:, 9] = mixed[:, 0] + mixed[:, 3]
    mixed -= mixed.mean(axis=1, keepdims=True)
    assert dependent_channels(np.cov(mixed, rowvar=False)) == 1


def test_no_recordings_and_no_file(tmp_path):
    with pytest.raises(CalibrationError, match="at least one file"):
        open_session([], 8, SETTINGS)
    with pytest.raises(EmagError, match="none"):
        open_session([tmp_path / "none_raw.fif"], 8, SETTINGS)


@pytest.mark.parametrize(
    "bad",
    [
        {"sfreq": 1.0},
        {"sfreq": float("nan")},
        {"look_ahead_s": -0.1},
        {"look_ahead_s": float("nan")},
        {"window_s": 0.0},
        {"anchor": "middle"},
        {"device": "tpu"},
        {"seed": -1},
        {"settle_s": -1.0},
    ],
)
def test_settings_are_checked(bad):
    with pytest.raises(SettingsError):
        CalibrationSettings(**bad)
