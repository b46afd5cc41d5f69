"""``emag-rt upsample --montage``: electrodes nobody wore, from files and by name."""

from __future__ import annotations

import re

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.cli.main import cli
from emag_rt.errors import MontageError
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An HD recording, and a bundle of it."""
    folder = tmp_path_factory.mktemp("montage")
    head = SyntheticHead(32, 128.0, seed=4)
    path = folder / "hd_raw.fif"
    data = head.generate(128 * 24)
    write_raw(path, data, head.labels, 128.0, head.montage.positions_mm, origin_mm=head.origin_mm)
    FieldCalibrator(8, CalibrationSettings(refine=False)).fit([path]).save(folder / "s.emag")
    return path, folder / "s.emag"


def data_of(path):
    raw = mne.io.read_raw_fif(path, verbose="ERROR")
    return dict(zip(raw.ch_names, raw.get_data() * 1e6, strict=True))


def test_named_montage_keeps_the_cap_and_adds_virtual_electrodes(files, tmp_path):
    path, bundle = files
    own, more = tmp_path / "own_raw.fif", tmp_path / "more_raw.fif"
    assert run("upsample", bundle, path, "--out", own).exit_code == 0
    done = run("upsample", bundle, path, "--out", more, "--montage", "standard_1005")
    assert done.exit_code == 0, done.output
    assert re.search(r"virtual \(nobody wore them, NMSE 0\.\d\d expected\)", done.output)
    before, after = data_of(own), data_of(more)
    for label, values in before.items():
        # Exact at the electrodes of the calibration, through a fold of its own.
        np.testing.assert_allclose(after[label], values, atol=1e-2 * values.std())
    assert len(after) > 300
    assert np.isfinite(after["POO10h"]).all()


@pytest.mark.parametrize("suffix", [".tsv", ".elc"])
def test_files_in_any_frame(files, tmp_path, suffix):
    """A turned cap in another unit lands where its shared labels are; MNE reads what we do not."""
    path, bundle = files
    places = mne.channels.make_standard_montage("colin27_1020").get_positions()["ch_pos"]
    turned = {k: np.array([p[1], -p[0], p[2]]) * 1000 + 30 for k, p in places.items()}
    file = tmp_path / f"cap{suffix}"
    if suffix == ".tsv":
        lines = [f"{k}\t{p[0] / 10}\t{p[1] / 10}\t{p[2] / 10}" for k, p in turned.items()]
        file.write_text("\n".join(["name\tx\ty\tz", *lines]))
    else:
        rows = [f"{p[0]:.4f} {p[1]:.4f} {p[2]:.4f}" for p in turned.values()]
        head = ["ReferenceLabel avg", "UnitPosition mm", f"NumberPositions= {len(rows)}"]
        file.write_text("\n".join([*head, "Positions", *rows, "Labels", *turned, ""]))
    out, wanted = tmp_path / "out_raw.fif", tmp_path / "wanted_raw.fif"
    done = run("upsample", bundle, path, "--out", out, "--montage", file)
    assert done.exit_code == 0, done.output
    assert "turned" in done.output
    done = run("upsample", bundle, path, "--out", wanted, "--montage", "10-20")
    assert done.exit_code == 0, done.output
    found, expected = data_of(out), data_of(wanted)
    for label in ("AFz", "CP5", "Fz"):
        error = ((found[label] - expected[label]) ** 2).mean() / (expected[label] ** 2).mean()
        assert error < 0.01, label


def test_what_cannot_be_a_montage(files, tmp_path):
    path, bundle = files
    broken = tmp_path / "cap.csv"
    broken.write_text("name,x,y,z\nFz,1,2\n")
    for montage, text in ((broken, "line 2"), ("standard_99", "10-05"), ("Fz,Qz", "Qz")):
        done = run("upsample", bundle, path, "--out", tmp_path / "x_raw.fif", "--montage", montage)
        assert isinstance(done.exception, MontageError)
        assert text in str(done.exception)
        assert not (tmp_path / "x_raw.fif").exists()
