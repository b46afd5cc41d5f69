"""SEED and SEED-IV, on files written in their layouts."""

import numpy as np
import pytest
import scipy.io

from emag_rt.core.montage import fit_sphere
from emag_rt.errors import RecordingError
from tests.dataset_files import write_seed
from tools.studies.datasets import open_dataset
from tools.studies.datasets.seed import CHANNELS, channel_positions


def test_session_folders_trials_in_order_and_values_unchanged(tmp_path):
    """Trial 10 comes after trial 9, not after trial 1; subject 10 after subject 2."""
    raw = tmp_path / "eeg_raw_data"
    first = write_seed(raw / "1" / "2_20150915.mat", n_trials=24, prefix="cz", seed=1)
    write_seed(raw / "2" / "2_20151012.mat", n_trials=24, prefix="cz", seed=2)
    write_seed(raw / "1" / "10_20151014.mat", n_trials=24, prefix="tyc", seed=3)
    dataset = open_dataset("seed-iv", tmp_path)
    assert dataset.subjects() == ["2", "10"]
    data = dataset.load("2")
    assert data.sfreq == 200.0
    assert data.window_s * data.sfreq == 800
    assert [s.of_run for s in data.stretches[:24]] == [("1", f"eeg{k}") for k in range(1, 25)]
    assert data.runs[24] == ("2", "eeg1")
    np.testing.assert_array_equal(data.stretches[9].data_uv, first["cz_eeg10"].T)
    assert data.labels[:4] == ("Fp1", "Fpz", "Fp2", "AF3")
    assert data.labels[-5:] == ("CB1", "O1", "Oz", "O2", "CB2")
    assert data.warnings == ()


def test_flat_layout_numbers_sessions_by_date(tmp_path):
    flat = tmp_path / "Preprocessed_EEG"
    later = write_seed(flat / "1_20131107.mat", seed=2)
    write_seed(flat / "1_20131027.mat", seed=1)
    scipy.io.savemat(flat / "label.mat", {"label": np.zeros((1, 15))})
    data = open_dataset("seed", tmp_path).load("1")
    assert len(data.runs) == 30
    np.testing.assert_array_equal(data.stretches[15].data_uv, later["djc_eeg1"].T)
    assert data.stretches[15].session == "2"
    # The folder of the files may be named as well.
    assert open_dataset("seed", flat).subjects() == ["1"]


def test_cb_electrodes_lie_below_po7_and_o1():
    positions = dict(zip(CHANNELS, channel_positions(), strict=True))
    points = np.array(list(positions.values()))
    assert np.isfinite(points).all()
    center, radius = fit_sphere(points)
    for cb, neighbours, side in (("CB1", ("PO7", "O1"), -1), ("CB2", ("PO8", "O2"), 1)):
        place = positions[cb] - center
        a, b = (positions[name] - center for name in neighbours)
        assert place[2] < min(a[2], b[2]) - 10, "below both"
        assert side * place[0] > 0
        assert min(abs(a[0]), abs(b[0])) < abs(place[0]) < max(abs(a[0]), abs(b[0]))
        assert 0.85 < np.linalg.norm(place) / radius < 1.15
    np.testing.assert_allclose(
        positions["CB1"] * [-1, 1, 1], positions["CB2"], atol=5.0
    )  # left and right mirror each other, as far as the template does


def test_gaps_in_a_trial_split_it_and_are_said(tmp_path):
    path = tmp_path / "1_20131027.mat"
    trials = write_seed(path, n_trials=2)
    trials["djc_eeg2"][:, 400:410] = np.nan
    scipy.io.savemat(path, trials)
    data = open_dataset("seed", tmp_path).load("1")
    assert [len(s.data_uv) for s in data.stretches] == [1000, 400, 590]
    assert any("djc_eeg2" in note and "0.05 s" in note for note in data.warnings)
    assert any("2 of 15 trials" in note for note in data.warnings)
    recordings = data.recordings()
    assert [r.segments for r in recordings] == [((0, 1000),), ((0, 400), (400, 990))]
    assert len({r.sha256 for r in recordings}) == 2


def _wrong_shape(path):
    scipy.io.savemat(path, {"x_eeg1": np.ones((64, 500))})


def _gap(path):
    scipy.io.savemat(path, {f"x_eeg{k}": np.ones((62, 500)) for k in (1, 3)})


def _no_trials(path):
    scipy.io.savemat(path, {"de_LDS1": np.ones((62, 5))})


def _text(path):
    path.write_text("not a matrix")


def _hdf5(path):
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x00" * 400)


def _volts(path):
    write_seed(path)
    trials = {k: v * 1e-6 for k, v in scipy.io.loadmat(path).items() if "_eeg" in k}
    scipy.io.savemat(path, trials)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_wrong_shape, r"x_eeg1 must be numbers of shape \(62, n_times\).*\(64, 500\)"),
        (_gap, "without a gap, got 1, 3"),
        (_no_trials, "_eeg1, _eeg2.*got none"),
        (_text, "must be a MATLAB file that can be read"),
        (_hdf5, "version 7.3.*-v7"),
        (_volts, "unit looks wrong"),
    ],
)
def test_malformed_files_are_named_with_rule_and_remedy(tmp_path, write, says):
    write(tmp_path / "3_20140603.mat")
    with pytest.raises(RecordingError, match=says) as caught:
        open_dataset("seed", tmp_path).load("3")
    assert "3_20140603.mat" in str(caught.value)


def test_doubled_session_unknown_subject_and_empty_folder(tmp_path):
    with pytest.raises(RecordingError, match="must hold eeg_raw_data"):
        open_dataset("seed", tmp_path)
    write_seed(tmp_path / "1" / "1_20131027.mat", n_trials=1)
    with pytest.raises(RecordingError, match=r"subject must be one of the 1.*got '9'"):
        open_dataset("seed", tmp_path).load("9")
    write_seed(tmp_path / "1" / "1_20131030.mat", n_trials=1)
    with pytest.raises(RecordingError, match="one file a session"):
        open_dataset("seed", tmp_path)
