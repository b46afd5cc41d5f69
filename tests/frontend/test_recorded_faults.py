"""Verdicts on real EEG: no alarm on clean channels, every injected fault found."""

import numpy as np
import pytest

from calibration import CalibrationSettings
from calibration.session.segments import make_session
from emag_rt.frontend import FrontEnd, FrontEndSettings
from emag_rt.recordings.read import read_recording

pytestmark = pytest.mark.data
BLOCK_S = 0.5


@pytest.fixture(scope="module")
def subject(data_dir):
    """Front end as calibrated on run 3 of S001, and run 5."""
    train = read_recording(data_dir / "S001R03.edf")
    session = make_session([train], 16, CalibrationSettings(refine=False))
    settings = FrontEndSettings(
        tuple(session.montage.labels[i] for i in session.ld),
        session.sos,
        session.sfreq,
        session.covariance,
        session.lagged_covariance,
    )
    recording = read_recording(data_dir / "S001R05.edf")
    (start, stop), *_ = recording.segments
    columns = [recording.labels.index(label) for label in settings.labels]
    return settings, np.ascontiguousarray(recording.data_uv[start:stop, columns], float)


def history_of(settings, raw):
    stage, history = FrontEnd(settings), []
    size = round(BLOCK_S * settings.sfreq)
    for i in range(0, len(raw) - size + 1, size):
        stage.process(raw[i : i + size])
        history.append(stage.reasons if stage.bad else {})
    return history


def test_no_false_alarms(subject):
    settings, raw = subject
    stage = FrontEnd(settings)
    stage.process(raw)
    assert stage.n_jumps == 0
    assert not any(history_of(settings, raw))


@pytest.mark.parametrize("pair", [("Fpz", "Oz"), ("T7", "T8"), ("FC3", "FC4"), ("P1", "P2")])
def test_swapped_channels_are_found(subject, pair):
    settings, raw = subject
    i, j = (settings.labels.index(label) for label in pair)
    swapped = raw[: round(60 * settings.sfreq)].copy()
    swapped[:, [i, j]] = swapped[:, [j, i]]
    assert history_of(settings, swapped)[-1] == dict.fromkeys(
        sorted(pair, key=settings.labels.index), "swapped"
    )


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_a_flooded_channel_is_found(subject, hz):
    settings, raw = subject
    flooded = raw[: round(10 * settings.sfreq)].copy()
    wave = np.sin(2 * np.pi * hz * np.arange(len(flooded)) / settings.sfreq)
    flooded[:, 2] += (100.0 if hz == 50.0 else 400.0) * wave
    history = history_of(settings, flooded)
    assert history[-1] == {settings.labels[2]: "line noise"}
    assert not any(len(reasons) > 1 for reasons in history)


def test_jumps_of_300_mv_leave_no_ringing(subject):
    settings, raw = subject
    raw = raw[: round(20 * settings.sfreq)]
    at = len(raw) // 2
    clean = FrontEnd(settings).process(raw)
    eeg_uv = np.abs(clean).max()
    for columns in (slice(None), slice(4, 5)):
        jumped = raw.copy()
        jumped[at:, columns] += 3e5
        stage = FrontEnd(settings)
        error = np.abs(stage.process(jumped) - clean)
        assert error[:at].max() < 1e-6
        assert error.max() < eeg_uv
        assert error[at + round(5 * settings.sfreq) :].max() < 0.01 * eeg_uv
        assert len(stage.take_jumps()) == 1
        assert stage.bad == ()
