"""``--statistics`` and ``--train-like-served`` of upsample and evaluate, through the commands."""

from __future__ import annotations

import json
import re

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.bundle import load_bundle
from emag_rt.cli.main import cli
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two HD recordings of one head, and a bundle of the first."""
    folder = tmp_path_factory.mktemp("statistics")
    head = SyntheticHead(32, 128.0, seed=4)
    data = head.generate(128 * 80)
    paths = [folder / "first_raw.fif", folder / "second_raw.fif"]
    for path, part in zip(paths, (data[: 128 * 40], data[128 * 40 :]), strict=True):
        places, origin = head.montage.positions_mm, head.origin_mm
        write_raw(path, part, head.labels, 128.0, places, origin_mm=origin)
    FieldCalibrator(8, CalibrationSettings(refine=False)).fit(paths[:1]).save(folder / "s.emag")
    return folder / "s.emag", *paths


def data_of(path):
    raw = mne.io.read_raw_fif(path, verbose="ERROR")
    return dict(zip(raw.ch_names, raw.get_data() * 1e6, strict=True))


def test_the_modes_behave_as_they_should(files, tmp_path):
    """On a run that was not seen: power nearer to the truth, error within its bound."""
    bundle, _, second = files
    done = run("evaluate", bundle, second, "--json", tmp_path / "scores.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "scores.json").read_text())["statistics_unseen"]
    for mode, of_mode in found.items():
        values = of_mode["nmse"], of_mode["rank"], of_mode["eigenvalues"][15], of_mode["power"]
        nmse, rank, last, power = values
        cells = rf"{nmse:.4f} │ +{rank} │.* {last:.{int(last < 10)}f} │ +{power['delta']:.2f} "
        assert re.search(rf"│ {mode} +│{cells}", done.output), done.output
    assert found["truth"]["nmse"] == 0
    assert found["matched"]["nmse"] <= 1.3 * found["estimate"]["nmse"]
    assert found["simulated"]["rank"] > found["estimate"]["rank"]
    for mode in ("matched", "simulated"):
        for band in ("delta", "theta", "alpha", "beta"):
            assert 0.8 < found[mode]["power"][band] < 1.25


def test_upsample_writes_what_evaluate_scores(files, tmp_path):
    bundle, _, second = files
    out = {}
    for mode in ("estimate", "matched", "simulated"):
        path = tmp_path / f"{mode}_raw.fif"
        done = run("upsample", bundle, second, "--out", path, "--statistics", mode)
        assert done.exit_code == 0, done.output
        out[mode] = data_of(path)
        assert f"statistics {mode}" in mne.io.read_info(path, verbose="ERROR")["description"]
    ld = {e.label for e in load_bundle(bundle).manifest.ld}
    for label, values in out["estimate"].items():
        same = [np.array_equal(values, out[mode][label]) for mode in ("matched", "simulated")]
        assert same == [label in ld] * 2


def test_train_like_served_reads_ld_channels_alone_and_judges_them_itself(files, tmp_path):
    bundle, first, second = files
    raw = mne.io.read_raw_fif(second, preload=True, verbose="ERROR")
    ld = [e.label for e in load_bundle(bundle).manifest.ld]
    raw.info["bads"] = ld[:1]
    raw.apply_function(lambda x: -0.5 * x, [name for name in raw.ch_names if name not in ld])
    raw.save(tmp_path / "marked_raw.fif", verbose="ERROR")
    paths = [tmp_path / "plain_raw.fif", tmp_path / "served_raw.fif"]
    assert run("upsample", bundle, second, "--out", paths[0]).exit_code == 0
    served = ("--out", paths[1], "--train-like-served")
    done = run("upsample", bundle, tmp_path / "marked_raw.fif", *served)
    assert done.exit_code == 0, done.output
    plain, trained = (data_of(path) for path in paths)
    for label, values in plain.items():
        np.testing.assert_allclose(trained[label], values, atol=1e-3)
    again = run("upsample", bundle, first, "--out", paths[1], "--train-like-served")
    assert "calibrated on this very recording" in again.output


def test_train_like_served_needs_hd(files, tmp_path):
    bundle, _, second = files
    ld = [e.label for e in load_bundle(bundle).manifest.ld]
    raw = mne.io.read_raw_fif(second, preload=True, verbose="ERROR").pick(ld)
    raw.save(tmp_path / "ld_raw.fif", verbose="ERROR")
    out = ("--out", tmp_path / "out_raw.fif", "--train-like-served")
    done = run("upsample", bundle, tmp_path / "ld_raw.fif", *out)
    assert done.exit_code != 0
    assert "must be HD with --train-like-served" in str(done.exception)
