"""Any BIDS folder, written by MNE-BIDS itself."""

import warnings

import mne
import numpy as np
import pytest

from emag_rt.errors import RecordingError
from tests.dataset_files import LABELS, eeg, write_edf
from tools.studies.datasets import open_dataset

mne_bids = pytest.importorskip("mne_bids", reason="needs the extra [studies]")


def write_run(root, scratch, subject="01", session=None, run="01", seed=0, bads=(), mark=None):
    """One run, through EDF, as a user would convert it; the last channel is an EOG."""
    data = eeg(20 * 160, len(LABELS), seed=seed)
    edf = write_edf(scratch / f"{subject}{session}{run}.edf", data)
    raw = mne.io.read_raw_edf(edf, verbose="ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw.set_channel_types({LABELS[-1]: "eog"}, verbose="ERROR")
        raw.set_montage("standard_1005", verbose="ERROR")
        raw.info["bads"] = list(bads)
        raw.info["line_freq"] = 50
        if mark is not None:
            raw.set_annotations(mne.Annotations(*mark))
        path = mne_bids.BIDSPath(
            subject=subject, session=session, task="rest", run=run, datatype="eeg", root=root
        )
        mne_bids.write_raw_bids(raw, path, overwrite=True, verbose="ERROR")
    return data


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "study"
    write_run(root, tmp_path, run="10", seed=10)
    truth = write_run(root, tmp_path, run="2", seed=2, bads=["F7"], mark=([5.0], [2.0], ["BAD_x"]))
    write_run(root, tmp_path, subject="02", session="a", seed=3)
    return root, truth


def test_types_bads_annotations_units_and_order(folder):
    root, truth = folder
    dataset = open_dataset("bids", root)
    assert dataset.name == "bids-study"
    assert dataset.subjects() == ["sub-01", "sub-02"]
    data = dataset.load("sub-01")
    assert data.labels == LABELS[:-1], "the EOG is no EEG"
    assert data.bads == ("F7",)
    assert data.runs == (("", "task-rest_run-2"), ("", "task-rest_run-10"))
    assert [len(s.data_uv) for s in data.stretches] == [800, 20 * 160 - 800 - 320, 3200]
    np.testing.assert_allclose(data.stretches[0].data_uv, truth[:800, :-1], atol=0.051)
    assert any("2.00 s" in note for note in data.warnings)
    assert dataset.load("sub-02").runs == (("a", "task-rest_run-01"),)
    assert 80 < data.radius_mm < 110


def test_recordings_serve_the_calibrator(folder):
    from calibration import CalibrationSettings, FieldCalibrator

    data = open_dataset("bids", folder[0]).load("sub-01")
    calibrator = FieldCalibrator(6, CalibrationSettings(refine=False))
    fitted = calibrator.fit(data.recordings()).result_
    assert "F7" not in {fitted.session.montage.labels[i] for i in fitted.session.targets}
    assert fitted.scores.methods["field"].nmse_unseen < 0.9


def test_malformed_folders(folder, tmp_path):
    root, _ = folder
    with pytest.raises(RecordingError, match="must hold sub-"):
        open_dataset("bids", tmp_path / "study" / "sub-01")
    (path,) = root.rglob("*run-10_eeg.edf")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RecordingError, match=r"sub-01_task-rest_run-10_eeg.edf: must be EEG"):
        open_dataset("bids", root).load("sub-01")
    write_run(root, tmp_path, run="10", seed=10)
    (table,) = root.rglob("*run-10_channels.tsv")
    table.write_text(table.read_text().replace("C3\tEEG", "C3\tEOG"))
    with pytest.raises(RecordingError, match="all runs of a subject must have the same EEG"):
        open_dataset("bids", root).load("sub-01")
