"""The command that makes a population, and the folders it reads."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from calibration.population.people import load_population
from emag_rt.errors import RecordingError
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tools.studies.population.__main__ import main
from tools.studies.population.folders import people_of
from tools.studies.population.leave_out import without


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("people")
    for seed in range(4):
        head = SyntheticHead(16, 160.0, seed=seed)
        path = place / f"S00{seed + 1}R03_raw.fif"
        write_raw(
            path,
            head.generate(round((10 if seed == 3 else 25) * 160.0)),
            head.labels,
            160.0,
            head.montage.positions_mm,
            origin_mm=head.origin_mm,
        )
    return place


def test_a_folder_becomes_a_population(folder, tmp_path):
    out = tmp_path / "own.safetensors"
    words = [str(folder), "--out", str(out), "--name", "children", "--licence", "CC0"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "left out: S004: must have at least 20 s" in done.output
    found = load_population(str(out))
    assert found.name == "children"
    assert found.texts["people"] == "S001,S002,S003"
    assert found.texts["licence"] == "CC0"
    assert found.texts["runs"].count(",") == 2
    smaller = without(found, "nobody")
    assert smaller.n_people == 3


def test_too_few_people_are_one_line(folder, tmp_path):
    done = CliRunner().invoke(
        main, [str(folder), "--out", str(tmp_path / "o"), "--leave-out", "S001,S002"]
    )
    assert done.exit_code != 0
    assert "at least 3 people, got 2" in done.output


def test_people_by_folder_or_by_file(folder, tmp_path):
    for i, path in enumerate(sorted(folder.glob("*.fif"))):
        below = tmp_path / "folders" / f"child-{i}"
        below.mkdir(parents=True)
        shutil.copy(path, below / "rest_raw.fif")
        flat = tmp_path / "files" / f"patient{i}_raw.fif"
        flat.parent.mkdir(exist_ok=True)
        shutil.copy(path, flat)
    by_folder = people_of(tmp_path / "folders")
    assert list(by_folder) == [f"child-{i}" for i in range(4)]
    assert len(people_of(tmp_path / "files")) == 4
    assert list(people_of(folder, ["S001", "S002", "S004"])) == ["S001", "S002", "S004"]
    with pytest.raises(RecordingError, match="S999"):
        people_of(folder, leave_out=["S999"])
    assert np.all([path.exists() for paths in by_folder.values() for path in paths])
