"""One simulated subject's field on another's recordings."""

from __future__ import annotations

import json
from pathlib import Path

import mne
import numpy as np
import pytest

from calibration import CalibrationSettings, FieldCalibrator
from calibration.scores.held_out import evaluate_bundle
from emag_rt.errors import CalibrationError, RecordingError
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tools.studies.cross_subject.matrix import (
    Part,
    Subject,
    cross_subject,
    parse_subject,
    read_part,
)

QUICK = CalibrationSettings(refine=False)
LOST, BAD = ("AF3", "PO4"), "FC1"


@pytest.fixture(scope="module")
def subjects(session_files, tmp_path_factory):
    """The session's head, and another one without two channels and with a bad third, cut in two."""
    head = SyntheticHead(32, 128.0, seed=12)
    path = tmp_path_factory.mktemp("other") / "other_raw.fif"
    keep = [i for i, label in enumerate(head.labels) if label not in LOST]
    write_raw(
        path,
        head.generate(128 * 40)[:, keep],
        [head.labels[i] for i in keep],
        128.0,
        head.montage.positions_mm[keep],
        origin_mm=head.origin_mm,
    )
    raw = mne.io.read_raw_fif(path, preload=True, verbose="ERROR")
    raw.info["bads"] = [BAD]
    raw.save(path, overwrite=True, verbose="ERROR")
    return (
        Subject("one", (Part(session_files[0]), Part(session_files[1])), (Part(session_files[2]),)),
        Subject("two", (Part(path, 0.0, 0.75),), (Part(path, 0.75, 1.0),)),
    )


@pytest.fixture(scope="module")
def matrix(subjects):
    return cross_subject(subjects, ["Cz", "Fp1", "Fp2", "T7", "T8", "O1", "O2", "Pz"], QUICK)


def test_own_fields_are_better_than_strangers(matrix):
    assert matrix.names == ("one", "two")
    np.testing.assert_allclose(np.diag(matrix.ratios), 1.0)
    assert matrix.ratios[0, 1] > 1.02
    assert matrix.ratios[1, 0] > 1.02
    assert (np.diag(matrix.nmse) < matrix.baselines["spherical_spline"]).all()


def test_only_shared_good_unseen_channels_count(matrix):
    for labels in matrix.channels:
        assert len(labels) == 32 - 8 - len(LOST) - 1
        assert not set(labels) & {*LOST, BAD, *matrix.ld}


def test_the_diagonal_is_what_evaluate_says_on_these_channels(matrix, subjects):
    calibrator = FieldCalibrator(matrix.ld, QUICK).fit([p.path for p in subjects[0].train])
    bundle = calibrator.result_.bundle
    alone = evaluate_bundle(bundle, subjects[0].test[0].path)
    assert set(alone.unseen) > set(matrix.channels[0])
    truth_weighted = [alone.per_channel[label] for label in matrix.channels[0]]
    assert min(truth_weighted) < matrix.nmse[0, 0] < max(truth_weighted)


def test_tables(matrix):
    again = json.loads(json.dumps(matrix.as_dict()))
    assert again["nmse_unseen"][1][0] == matrix.nmse[1, 0]
    lines = matrix.as_markdown().splitlines()
    assert f"{matrix.nmse[1, 0]:.3f} ({matrix.ratios[1, 0]:.2f})" in lines[3]
    assert lines[3].startswith("| field of two |")
    assert any("spherical_spline" in line for line in lines)
    assert len({line.count("|") for line in lines}) == 1


def test_parts_of_a_recording(session_files):
    whole = read_recording(session_files[0])
    first, last = (read_part(Part(session_files[0], a, b)) for a, b in ((0, 0.75), (0.75, 1)))
    np.testing.assert_array_equal(np.vstack([first.data_uv, last.data_uv]), whole.data_uv)
    assert first.segments == ((0, 2400),)
    assert last.segments == ((0, 800),)
    assert len({whole.sha256, first.sha256, last.sha256}) == 3


def test_the_option_is_read_as_it_is_written():
    found = parse_subject("S4= a.fif@0-0.75, b.edf : a.fif@0.75-1")
    assert found == Subject(
        "S4",
        (Part(Path("a.fif"), 0.0, 0.75), Part(Path("b.edf"))),
        (Part(Path("a.fif"), 0.75, 1.0),),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.fif:b.fif", "NAME=train1"),
        ("S=a.fif", "NAME=train1"),
        ("S=a.fif@0.5:b.fif", "FROM"),
        ("S=a.fif@0.8-0.2:b.fif", "FROM"),
        ("S=a.fif:a.fif", "overlap"),
        ("S=a.fif@0-0.8:a.fif@0.7-1", "overlap"),
    ],
)
def test_subjects_that_cannot_be(text, message):
    with pytest.raises(CalibrationError, match=message):
        parse_subject(text)


def test_missing_recordings_and_other_rates_are_said_before_any_fit(
    subjects, tmp_path, monkeypatch
):
    monkeypatch.setattr(FieldCalibrator, "fit", lambda *_: pytest.fail("fitted"))
    gone = Subject("gone", (Part(tmp_path / "none_raw.fif"),), subjects[0].test)
    with pytest.raises(RecordingError, match=r"none_raw\.fif"):
        cross_subject([subjects[0], gone], 8, QUICK)
    with pytest.raises(CalibrationError, match="two or more"):
        cross_subject(subjects[:1], 8, QUICK)
    raw = mne.io.read_raw_fif(subjects[0].test[0].path, preload=True, verbose="ERROR")
    slow = tmp_path / "slow_raw.fif"
    raw.resample(100.0, verbose="ERROR").save(slow, verbose="ERROR")
    other = Subject("slow", (Part(slow, 0, 0.5),), (Part(slow, 0.5, 1),))
    with pytest.raises(CalibrationError, match="--sfreq"):
        cross_subject([subjects[0], other], 8, QUICK)
