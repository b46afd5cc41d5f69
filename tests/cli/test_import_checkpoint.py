"""``emag-rt import-checkpoint``: from a .pt file to a bundle that the other commands take."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from calibration.cli.import_checkpoint import import_checkpoint
from emag_rt.cli.main import cli
from emag_rt.errors import CalibrationError, SettingsError
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tests.checkpoints import make_state, write

pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint whose electrodes are a simulated wearer's, and a recording of the wearer."""
    folder = tmp_path_factory.mktemp("import")
    head = SyntheticHead(16, 200.0, seed=2)
    recording = folder / "hd_raw.fif"
    write_raw(
        recording,
        head.generate(200 * 12),
        head.labels,
        200.0,
        head.montage.positions_mm,
        origin_mm=head.origin_mm,
    )
    state, config = make_state(1, support="sphere", n_hd=16)
    state["electrode_pos"] = head.montage.positions_mm.astype(np.float32)
    names = folder / "names.txt"
    names.write_text("\n".join(head.labels), encoding="utf-8")
    return write(folder / "emag.pt", state, config), recording, names


def test_the_command_is_plugged_in():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    point = settings["project"]["entry-points"]["emag_rt.commands"]["import-checkpoint"]
    module, attribute = point.split(":")
    assert (module, attribute) == (import_checkpoint.callback.__module__, "import_checkpoint")


def test_imported_bundles_inspect_upsample_and_evaluate(files, tmp_path):
    checkpoint, recording, names = files
    out = tmp_path / "emag.emag"
    arguments = (checkpoint, "--out", out, "--ld", "Cz,Oz,C3", "--hd", f"@{names}")
    done = run(import_checkpoint, *arguments, "--statistics", recording, "--n-window", "50")
    assert done.exit_code == 0, done.output
    assert "z-scores" in done.output
    assert "3 LD channels (Cz, Oz, C3) -> 16 HD" in done.output
    shown = json.loads(run(cli, "inspect", out, "--json").stdout)
    assert shown["anchor"] == "window"
    assert shown["facts"]["n_hidden"] == 6
    assert "window" in run(cli, "inspect", out).output
    done = run(cli, "upsample", out, recording, "--out", tmp_path / "hd_raw.fif")
    assert done.exit_code == 0, done.output
    # A random network renders no EEG; the command must still score it beside the baselines.
    done = run(cli, "evaluate", out, recording)
    assert done.exit_code == 0, done.output
    assert "spherical_spline" in done.output
    assert "lagged_ridge" not in done.output
    assert "not held out" in done.output


def test_what_the_command_refuses(files, tmp_path):
    checkpoint, recording, _ = files
    out = tmp_path / "x.emag"
    for arguments, kind, message in (
        ((checkpoint, "--out", checkpoint), SettingsError, "overwrite"),
        ((checkpoint, "--out", tmp_path / "x.pt2"), SettingsError, ".emag"),
        ((checkpoint, "--out", out, "--ld", "3"), SettingsError, "--ld must name"),
        ((checkpoint, "--out", out, "--ld-scale-uv", "ten"), SettingsError, "--ld-scale-uv"),
        ((recording, "--out", out), CalibrationError, "weights_only"),
    ):
        done = run(import_checkpoint, *arguments)
        assert isinstance(done.exception, kind), done.output
        assert message in str(done.exception)
    assert not out.exists()
    assert run(import_checkpoint, checkpoint, "--out", out, "--sfreq", "nan").exit_code == 2
