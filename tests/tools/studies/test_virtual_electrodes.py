"""The protocol of electrodes left out, and what it finds on the simulated subject."""

import numpy as np
import pytest

from calibration import CalibrationSettings
from emag_rt.errors import CalibrationError, RecordingError
from emag_rt.recordings.read import read_recording
from tests.factories import on_sphere
from tools.studies.virtual_electrodes import (
    METHODS,
    left_out_groups,
    score_left_out,
    score_virtual,
    without,
)

CLOSED = CalibrationSettings(refine=False)


@pytest.fixture(scope="module")
def recordings(session_files):
    return [read_recording(path) for path in session_files]


def test_groups_are_spread_and_use_everyone_before_anyone_twice():
    positions = on_sphere(np.random.default_rng(0), 48)
    groups = left_out_groups(positions, 8, 8)
    counts = np.bincount(np.concatenate(groups), minlength=48)
    assert set(counts[np.unique(np.concatenate(groups[:6]))]) <= {1, 2}
    assert len(set(np.concatenate(groups[:6]))) == 48
    assert len({tuple(g) for g in groups}) == 8
    unit = positions / 95.0
    nearest = [np.sort(np.arccos(np.clip(unit[g] @ unit[g].T, -1, 1)))[:, 1].min() for g in groups]
    assert min(nearest[:2]) > 0.3, "no two neighbours in one group while there is a choice"
    with pytest.raises(CalibrationError, match="size"):
        left_out_groups(positions, 49, 1)


def test_without_forgets_channels(recordings):
    recording = recordings[0]
    gone = recording.labels[2:4]
    less = without(recording, [gone[0].lower(), gone[1]])
    assert not set(gone) & set(less.labels)
    assert less.data_uv.shape[1] == len(recording.labels) - 2 == len(less.positions_mm)
    np.testing.assert_array_equal(less.data_uv[:, 2], recording.data_uv[:, 4])


def test_field_beats_splines_where_nobody_wore_an_electrode(recordings):
    scores = score_virtual(recordings[:2], recordings[2:], 8, CLOSED, n_rotations=2)
    assert len(scores) == 2
    assert all(len(s.left_out) == 4 and set(s.nmse) == set(METHODS) for s in scores)
    mean = {m: np.mean([s.nmse[m] for s in scores]) for m in METHODS}
    assert mean["field"] < 0.75 * mean["spline_from_ld"]
    assert mean["field"] < 1.05 * mean["spline_from_rendered"]
    expected = np.mean([s.expected for s in scores])
    assert 0.4 < expected / mean["field"] < 2.5, "what the bundle expects is of the right size"


def test_electrodes_of_the_calibration_are_not_virtual(recordings):
    from calibration import FieldCalibrator

    fitted = FieldCalibrator(8, CLOSED).fit(recordings[:1]).result_
    left_out = fitted.bundle.manifest.scores["left_out"]
    assert set(left_out["per_channel"]) == {
        fitted.session.montage.labels[i] for i in fitted.session.targets
    }
    assert 0 < left_out["nmse"] < 1
    known = fitted.session.montage.select([fitted.session.targets[0]])
    moved = type(known)(("other",), known.positions_mm)
    with pytest.raises(RecordingError, match="did not have"):
        score_left_out(fitted.bundle, fitted.session, moved, recordings[2:])
