"""``calibrate --no-hd`` on the command line: bundle, report, what the other commands make of it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from emag_rt.bundle import load_bundle
from emag_rt.cli.main import cli
from emag_rt.errors import EmagError
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead

LD = "Fz,C3,C4,Pz,Oz"


@pytest.fixture(scope="module")
def hd_file(tmp_path_factory):
    head = SyntheticHead(32, 160.0, seed=3)
    path = tmp_path_factory.mktemp("hd") / "hd_raw.fif"
    data = head.generate(3200)
    write_raw(path, data, head.labels, 160.0, head.montage.positions_mm, origin_mm=head.origin_mm)
    return path


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def done(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.live
@pytest.mark.usefixtures("undrawn")
def test_a_bundle_without_hd_works_with_every_command(tmp_path, hd_file):
    bundle = tmp_path / "any.emag"
    words = ("--ld", LD, "--hd", "standard_1020")
    said = done("calibrate", "--no-hd", *words, "--out", bundle, hd_file)
    assert "nobody's HD was measured" in said
    assert "between people" in said
    report = bundle.with_suffix(".html").read_text(encoding="utf-8")
    assert "nobody&#x27;s HD was measured" in report
    assert "PhysioNet" in report
    loaded = load_bundle(bundle)
    assert loaded.manifest.sfreq == 160.0
    assert loaded.manifest.amplitudes_known
    said = done("inspect", bundle)
    assert "none: nobody's HD was measured" in " ".join(said.replace("│", " ").split())
    assert "between people: NMSE" in said
    scores = tmp_path / "scores.json"
    done("evaluate", bundle, hd_file, "--json", scores)
    assert np.isfinite(json.loads(scores.read_text())["methods"]["field"]["unseen"]["nmse"])
    done("upsample", bundle, hd_file, "--out", tmp_path / "out_raw.fif")
    out = tmp_path / "seen.html"
    done("report", bundle, hd_file, "--out", out, "--curves", "no", "--quiet")
    assert "other people" in out.read_text(encoding="utf-8")


@pytest.mark.live
def test_a_headset_at_its_amplifiers_rate_without_any_recording(tmp_path):
    bundle = tmp_path / "cyton.emag"
    words = ("--ld", "@headset:openbci-cyton-8", "--hd", "biosemi32", "--sfreq", "250")
    done("calibrate", "--no-hd", *words, "--no-report", "--out", bundle)
    manifest = load_bundle(bundle).manifest
    assert manifest.sfreq == 250.0
    assert len(manifest.ld) == 8
    assert not manifest.amplitudes_known


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--no-hd", "--hd", "biosemi32"), "--ld must say what is worn"),
        (("hd.fif",), "Missing option '--ld'"),
        (("--no-hd", "--ld", LD, "--sfreq", "250"), "--hd must say"),
        (("--no-hd", "--ld", LD, "--hd", "biosemi32"), "--sfreq must give"),
        (("--no-hd", "--ld", LD, "--hd", "x", "--seed", "1"), "--seed must go with an HD"),
        (("--ld", LD, "--hd", "biosemi32", "hd.fif"), "--hd must go with --no-hd"),
        (
            ("--no-hd", "--ld", LD, "--hd", "biosemi32", "--sfreq", "250", "--population", "x"),
            "--population must be one of adult",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, words, text):
    result = run("calibrate", *words, "--out", tmp_path / "a.emag")
    if isinstance(result.exception, EmagError):  # the command line puts "error: " before it
        said, code = str(result.exception), result.exception.exit_code
        assert "\n" not in said
    else:
        assert isinstance(result.exception, SystemExit)
        said, code = result.output, result.exit_code
    assert code in (2, 3, 4)
    assert text in said
    assert not (tmp_path / "a.emag").exists()
