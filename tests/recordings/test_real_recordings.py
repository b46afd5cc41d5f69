"""The real recordings: what is known of them is found."""

import numpy as np
import pytest

from emag_rt.errors import RecordingError
from emag_rt.recordings.read import read_recording

pytestmark = pytest.mark.data


def test_physionet_labels_positions_and_padding(data_file):
    recording = read_recording(data_file("S001R03.edf"))
    assert recording.sfreq == 160.0
    assert len(recording.labels) == 64
    assert {"Fp1", "FCz", "T9", "Iz"} <= set(recording.labels)
    assert recording.segments == ((0, 19920),)
    assert recording.unplaced == recording.bads == ()
    assert 10 < np.median(np.abs(recording.data_uv)) < 100


def test_biosemi_has_its_own_positions_and_bads(data_file):
    recording = read_recording(data_file("biosemi128_s01_block0_raw.fif"))
    assert set(recording.bads) == {"C1", "C10", "C12", "C15"}
    assert recording.radius_mm == pytest.approx(95.0, abs=0.01)
    assert recording.segments == ((0, 34560),)


def test_joined_epochs_are_split(data_file):
    recording = read_recording(data_file("rank57_biosemi64_raw.fif"))
    assert len(recording.segments) == 16
    assert recording.duration_s == 256.0
    assert len(recording.bads) == 7


def test_averages_are_refused(data_file):
    with pytest.raises(RecordingError, match="averaged"):
        read_recording(data_file("sep256-ave.fif"))
