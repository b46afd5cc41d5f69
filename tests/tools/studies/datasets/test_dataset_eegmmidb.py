"""eegmmidb on small EDF files, and on the real ones where they are."""

import mne
import numpy as np
import pytest

from emag_rt.errors import RecordingError, SettingsError
from tests.dataset_files import LABELS, eeg, write_edf, write_eegmmidb
from tools.studies.datasets import open_dataset


@pytest.mark.parametrize("nested", [True, False])
def test_layouts_labels_and_the_padded_tail(tmp_path, nested):
    write_eegmmidb(tmp_path, nested=nested)
    place = tmp_path / "S001" if nested else tmp_path
    data = eeg(30 * 160, 16, seed=77)
    data[-80:] = 0.0
    write_edf(place / "S001R02.edf", data, [label.upper() + "." for label in LABELS])
    (place / "S001R02.edf.event").write_text("not ours")
    dataset = open_dataset("eegmmidb", tmp_path)
    assert dataset.subjects() == ["S001", "S002"]
    assert [path.name for path in dataset.files("S001")] == [
        "S001R01.edf",
        "S001R02.edf",
        "S001R03.edf",
    ]
    loaded = dataset.load("S001")
    assert loaded.labels == LABELS
    assert [run for _, run in loaded.runs] == ["R01", "R02", "R03"]
    assert [len(s.data_uv) for s in loaded.stretches] == [4800, 4720, 4800]
    np.testing.assert_allclose(loaded.stretches[1].data_uv, data[:-80], atol=0.051)
    assert any("S001R02.edf" in note and "0.50 s" in note for note in loaded.warnings)


def test_doubled_runs_other_rates_and_damaged_files(tmp_path):
    write_eegmmidb(tmp_path, subjects=1)
    write_edf(tmp_path / "S001" / "S001R04.edf", eeg(30 * 128, 16), sfreq=128)
    with pytest.raises(RecordingError, match=r"S001R04.edf: all runs.*128 Hz"):
        open_dataset("eegmmidb", tmp_path).load("S001")
    (tmp_path / "S001" / "S001R04.edf").write_bytes(b"nothing")
    with pytest.raises(RecordingError, match=r"S001R04.edf"):
        open_dataset("eegmmidb", tmp_path).load("S001")
    write_edf(tmp_path / "S001R04.edf", eeg(160, 16))
    with pytest.raises(RecordingError, match="every run must be there once"):
        open_dataset("eegmmidb", tmp_path)


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    """Without a folder only MNE's cache is looked at."""
    monkeypatch.setattr(mne, "get_config", lambda key: str(tmp_path))
    with pytest.raises(RecordingError, match="MNE's cache must hold the database"):
        open_dataset("eegmmidb")
    write_eegmmidb(tmp_path / "MNE-eegbci-data/files/eegmmidb/1.0.0", subjects=1)
    assert open_dataset("eegmmidb").subjects() == ["S001"]
    with pytest.raises(SettingsError, match="root must name its folder"):
        open_dataset("seed")
    with pytest.raises(RecordingError, match="existing folder"):
        open_dataset("eegmmidb", tmp_path / "absent")
    with pytest.raises(SettingsError, match="dataset must be one of"):
        open_dataset("physionet", tmp_path)


@pytest.mark.data
def test_the_real_files(data_file):
    dataset = open_dataset("eegmmidb", data_file("S001R03.edf").parent)
    data = dataset.load("S001")
    assert len(data.labels) == 64
    assert {"FCz", "Fp1", "Iz"} <= set(data.labels)
    run = [s for s in data.stretches if s.run == "R03"]
    assert [len(s.data_uv) / 160 for s in run] == [pytest.approx(124.4, abs=0.1)]
