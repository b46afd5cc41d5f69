"""``emag-rt export``: the graph that other programs read gives the numbers of engine packed."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner

from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.cli.main import cli
from emag_rt.errors import EngineError, SettingsError
from emag_rt.render import RenderPlan, make_renderer
from tests.factories import LD, ld_signal, make_bundle, relative


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


OPTIONS = {
    "plain": {},
    "dilated": {"hidden": "dilated", "look_ahead": 3},
    "window": {"anchor": "window", "hidden": "relu", "look_ahead": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_graph_gives_the_numbers_of_packed(tmp_path, options):
    save_bundle(make_bundle(1, **options), tmp_path / "s01.emag")
    path = tmp_path / "s01.onnx"
    done = run("export", tmp_path / "s01.emag", "--onnx", path)
    assert done.exit_code == 0, done.output
    assert "8 LD to 19 HD channels" in done.output
    onnx.checker.check_model(path, full_check=True)
    bundle = load_bundle(tmp_path / "s01.emag")
    runtime = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    notes = runtime.get_modelmeta().custom_metadata_map
    assert json.loads(notes["ld"]) == list(LD)
    assert json.loads(notes["hd"]) == list(bundle.manifest.hd_montage.labels)
    assert json.loads(notes["sos"]) == bundle.manifest.frontend.sos
    assert (float(notes["sfreq"]), notes["unit"]) == (bundle.manifest.sfreq, "µV")
    assert notes["bundle_sha256"] == bundle.sha256
    n_context, look_ahead = int(notes["n_context"]), int(notes["look_ahead"])
    ld = ld_signal(40)
    rows = np.vstack([np.zeros((n_context, len(LD))), ld]).astype(np.float32)
    feeds = {"ld": rows}
    if "position" in [one.name for one in runtime.get_inputs()]:
        feeds["position"] = (np.arange(40) - look_ahead) % int(notes["n_window"])
    (found,) = runtime.run(["hd"], feeds)
    positions = bundle.manifest.hd_montage.positions_mm
    measured = tuple(bundle.measured_rows(bundle.manifest.hd_montage.labels))
    plan = RenderPlan(bundle.model, bundle.operator, positions, measured)
    assert relative(found, make_renderer("packed", plan).push(ld)) < 1e-5


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    save_bundle(make_bundle(1), tmp_path / "s01.emag")
    for out, said in (
        ("s01.emag", "would overwrite"),
        ("s01.pb", "must end with .onnx"),
        ("nowhere/s01.onnx", "the folder must exist"),
    ):
        error = run("export", tmp_path / "s01.emag", "--onnx", tmp_path / out).exception
        assert isinstance(error, SettingsError)
        assert said in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["s01.emag"]


def test_without_the_package_it_says_what_to_install(tmp_path):
    save_bundle(make_bundle(1), tmp_path / "s01.emag")
    code = "import sys; sys.modules['onnx'] = None; from emag_rt.cli.main import main; main()"
    command = ["export", "s01.emag", "--onnx", "s01.onnx"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EngineError.exit_code
    (line,) = done.stderr.splitlines()
    assert "pip install 'emag-rt[onnx]'" in line
    assert not (tmp_path / "s01.onnx").exists()
