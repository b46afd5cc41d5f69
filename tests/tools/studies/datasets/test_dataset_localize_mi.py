"""Localize-MI, on files written in its layout."""

import json

import numpy as np
import pytest

from emag_rt.errors import RecordingError
from tests.dataset_files import write_localize, write_table
from tools.studies.datasets import open_dataset

STEM = "sub-01_task-seegstim_run-01"


@pytest.fixture
def eeg_folder(tmp_path):
    write_localize(tmp_path)
    return tmp_path / "sub-01" / "eeg"


@pytest.mark.parametrize("units", ["V", "mV", "µV", "uV"])
def test_units_column_decides(tmp_path, units):
    truth = write_localize(tmp_path, units=units)
    data = open_dataset("localize-mi", tmp_path).load("sub-01")
    assert data.epoched
    assert (data.sfreq, len(data.stretches)) == (2000.0, 24)
    assert data.window_s == pytest.approx(0.26)
    np.testing.assert_allclose(data.stretches[13].data_uv, truth[1][1].T, rtol=1e-12)
    assert data.runs == (("", STEM), ("", STEM.replace("run-01", "run-02")))


def test_positions_in_metres_become_mm_about_the_sphere(eeg_folder):
    data = open_dataset("localize-mi", eeg_folder.parent.parent).load("sub-01")
    np.testing.assert_allclose(np.linalg.norm(data.montage.positions_mm, axis=1), 90.0, rtol=1e-6)
    np.testing.assert_allclose(data.origin_mm, [1.0, 20.0, 40.0], atol=1e-6)


def test_a_declared_unit_of_positions_is_kept_to(eeg_folder):
    table = eeg_folder / "sub-01_task-seegstim_electrodes.tsv"
    head, *rows = table.read_text().splitlines()
    moved = [row.split("\t") for row in rows]
    moved = [[row[0], *(float(value) * 1000 for value in row[1:])] for row in moved]
    write_table(table, head.split("\t"), moved)
    dataset = open_dataset("localize-mi", eeg_folder.parent.parent)
    with pytest.raises(RecordingError, match="head-sized sphere"):
        dataset.load("sub-01")
    side = eeg_folder / "sub-01_task-seegstim_coordsystem.json"
    side.write_text(json.dumps({"EEGCoordinateUnits": "mm"}))
    assert dataset.load("sub-01").radius_mm == pytest.approx(90.0)
    assert side in dataset.files("sub-01")


def test_bad_epochs_and_channels_other_types_and_unplaced_ones(eeg_folder):
    channels = [
        (f"E{i + 1}", "ECG" if i == 19 else "EEG", "V", "bad" if i == 4 else "good")
        for i in range(20)
    ]
    for run in (1, 2):
        table = eeg_folder / f"sub-01_task-seegstim_run-{run:02d}_channels.tsv"
        write_table(table, ("name", "type", "units", "status"), channels)
        (eeg_folder / f"sub-01_task-seegstim_run-{run:02d}_eeg.json").write_text(
            json.dumps({"SamplingFrequency": 2000})
        )
    statuses = [(e, "bad" if e in (0, 5) else "good") for e in range(12)]
    write_table(eeg_folder / f"{STEM}_epochs.tsv", ("epoch", "status"), statuses)
    table = eeg_folder / "sub-01_task-seegstim_electrodes.tsv"
    rows = [row.split("\t") for row in table.read_text().splitlines()]
    rows[3][1:] = ["n/a"] * 3  # E3
    write_table(table, rows[0], rows[1:])
    data = open_dataset("localize-mi", eeg_folder.parent.parent).load("sub-01")
    assert data.bads == ("E5",)
    assert "E20" not in data.labels
    assert "E3" not in data.labels
    assert len(data.labels) == 18
    assert len(data.stretches) == 22
    said = " ".join(data.warnings)
    assert "2 epochs marked bad" in said
    assert "positions unknown, left out: E3" in said


def test_a_missing_rate_is_the_datasets_own_and_said(eeg_folder):
    for run in (1, 2):
        table = eeg_folder / f"sub-01_task-seegstim_run-{run:02d}_channels.tsv"
        write_table(table, ("name", "units"), [(f"E{i + 1}", "V") for i in range(20)])
    data = open_dataset("localize-mi", eeg_folder.parent.parent).load("sub-01")
    assert data.sfreq == 8000.0
    assert any("8000 Hz is assumed" in note for note in data.warnings)


def _table(suffix, columns, rows):
    return lambda folder: write_table(folder / f"{STEM}_{suffix}", columns, rows)


def _unknown_unit(folder):
    rows = [(f"E{i + 1}", "n/a" if i == 7 else "V") for i in range(20)]
    _table("channels.tsv", ("name", "units"), rows)(folder)


def _objects(folder):
    np.save(folder / f"{STEM}_epochs.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _two_axes(folder):
    np.save(folder / f"{STEM}_epochs.npy", np.zeros((20, 520)))


def _truncated(folder):
    path = folder / f"{STEM}_epochs.npy"
    path.write_bytes(path.read_bytes()[:60])


def _wrong_scale(folder):
    path = folder / f"{STEM}_epochs.npy"
    np.save(path, np.load(path) * 1e6)


def _no_positions(folder):
    (folder / "sub-01_task-seegstim_electrodes.tsv").unlink()


def _row_too_long(folder):
    path = folder / f"{STEM}_channels.tsv"
    path.write_text(path.read_text().replace("E4\tEEG", "E4\tEEG\tEEG"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_unknown_unit, r"units of channel E8 must be V, mV, µV or nV.*'n/a'"),
        (_table("channels.tsv", ("name",), [("E1",)]), "lacks units"),
        (_table("channels.tsv", ("name", "units"), [("E1", "V")]), "each of the 20.*got 1"),
        (
            _table("channels.tsv", ("name", "units"), [("E1", "V")] * 20),
            "must be unique, got e1",
        ),
        (_table("epochs.tsv", ("epoch",), [(0,)]), "each of the 12 epochs.*got 1"),
        (_objects, "without pickled objects"),
        (_two_axes, r"shape \(epochs, channels, times\).*\(20, 520\)"),
        (_truncated, "NumPy array"),
        (_wrong_scale, "unit looks wrong"),
        (_no_positions, r"a \*_electrodes.tsv must lie beside it or above it"),
        (_row_too_long, "every row must have 4.*got 5 in row 5"),
    ],
)
def test_malformed_files_are_named_with_rule_and_remedy(eeg_folder, spoil, says):
    spoil(eeg_folder)
    with pytest.raises(RecordingError, match=says) as caught:
        open_dataset("localize-mi", eeg_folder.parent.parent).load("sub-01")
    assert "sub-01_task-seegstim" in str(caught.value)


def test_runs_of_other_channels_and_ambiguous_tables_are_refused(eeg_folder):
    root = eeg_folder.parent.parent
    positions = eeg_folder / "sub-01_task-seegstim_electrodes.tsv"
    twin = eeg_folder / "sub-01_run-01_electrodes.tsv"
    twin.write_text(positions.read_text())
    with pytest.raises(RecordingError, match=r"one electrodes.tsv must belong to it"):
        open_dataset("localize-mi", root).load("sub-01")
    twin.unlink()
    rows = [(f"X{i + 1}", "V", 2000) for i in range(20)]
    table = eeg_folder / "sub-01_task-seegstim_run-02_channels.tsv"
    write_table(table, ("name", "units", "sampling_frequency"), rows)
    with pytest.raises(RecordingError, match=r"run-02_epochs.npy: all runs .* same EEG channels"):
        open_dataset("localize-mi", root).load("sub-01")
