"""From the command line to a served field, with the paper's model."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from calibration import CalibrationSettings, FieldCalibrator
from calibration.cli.calibrate import calibrate
from calibration.cli.evaluate import evaluate
from calibration.scores.held_out import evaluate_bundle
from calibration.settings.paper_options import PaperOptions
from emag_rt.bundle import load_bundle
from emag_rt.core.direct import render_direct
from emag_rt.core.grid import lattice
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError, MontageError, SettingsError
from emag_rt.recordings.read import read_recording
from tests.factories import relative

QUICK = ("--ld", "8", "--method", "paper", "--window-s", "0.125", "--grid-resolution", "5")


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def small(**options):
    """Settings that train in seconds."""
    paper = PaperOptions(**{"grid_resolution": 5, "epochs": 2, **options})
    return CalibrationSettings(method="paper", window_s=0.125, anchor="window", paper=paper)


@pytest.mark.usefixtures("undrawn")
def test_calibrate_to_bundle_to_evaluate(session_files, tmp_path):
    out = tmp_path / "paper.emag"
    done = run(
        calibrate,
        session_files[0],
        *QUICK,
        *("--out", out, "--epochs", 60, "--covariance", "full_4d", "--off-diagonals"),
        *("spatial_only", "--learn-centers", "--gaussians", 2, "--point-share", 0.8),
        *("--device", "cpu", "--quiet"),
    )
    assert done.exit_code == 0, done.output
    assert "on one split, which also chose its epochs" in done.output
    assert "had not converged after 60 epochs" in done.output
    bundle = load_bundle(out)
    field = bundle.model.field
    assert bundle.manifest.anchor == "window"
    assert bundle.manifest.n_window == 16
    assert bundle.manifest.render["activation"] == "relu"
    assert field.n_gaussians == 2
    assert field.n_points == round(0.8 * len(lattice(5)))
    assert not field.cholesky[..., 3, :3].any()
    assert np.abs(field.cholesky[..., 2, 1]).max() > 0
    told = bundle.manifest.calibration
    assert told["method"] == "paper"
    assert told["paper"]["off_diagonals"] == "spatial_only"
    assert 0 < told["paper"]["epochs_trained"] <= 60
    scored = run(evaluate, out, session_files[2], "--json", "-")
    assert scored.exit_code == 0, scored.output
    unseen = {k: v["unseen"]["nmse"] for k, v in json.loads(scored.stdout)["methods"].items()}
    assert unseen["field"] < 0.9
    assert unseen["field"] == pytest.approx(told["paper"]["validation_nmse"], rel=1.0)
    recording = read_recording(session_files[2])
    rendered = {
        engine: Upsampler(bundle, channels=recording.labels, engine=engine, measured="render")
        .push(recording.data_uv[:300])[0]
        .copy()
        for engine in ("direct", "packed", "onnx")
    }
    assert relative(rendered["packed"], rendered["direct"]) < 1e-5
    assert relative(rendered["onnx"], rendered["direct"]) < 1e-5


def test_a_lead_field_from_a_file(session_files, tmp_path, head):
    """Rows follow the montage; channels marked bad are rendered through the matrix as well."""
    centers = lattice(5)
    offset = np.linalg.norm(head.montage.positions_mm[:, None] - centers, axis=-1)
    np.save(tmp_path / "lead.npy", 1e-6 / (20.0 + offset))
    arguments = (*session_files[:1], *QUICK, "--epochs", 3, "--quiet", "--no-report")
    arguments += ("--out", tmp_path / "l.emag")
    lead = ("--forward", "lead_field", "--lead-field", tmp_path / "lead.npy")
    done = run(calibrate, *arguments, *lead)
    assert done.exit_code == 0, done.output
    bundle = load_bundle(tmp_path / "l.emag")
    matrix = bundle.model.forward.matrix
    assert matrix.shape == (len(head.labels), len(centers))
    assert (
        relative(
            matrix * (20.0 + offset), np.full(matrix.shape, matrix[0, 0] * (20.0 + offset[0, 0]))
        )
        < 1e-9
    )
    assert evaluate_bundle(bundle, session_files[2]).methods["field"]["unseen"]["nmse"] < 1.0
    with pytest.raises(MontageError, match="electrodes of the fit"):
        bundle.operator_at(bundle.manifest.hd_montage.positions_mm + 3.0)
    np.save(tmp_path / "short.npy", np.ones((3, 3)))
    short = ("--forward", "lead_field", "--lead-field", tmp_path / "short.npy")
    with pytest.raises(CalibrationError, match=r"must have shape \(32, "):
        run(calibrate, *arguments, *short)


def test_a_learned_matrix_renders_bad_channels_from_their_neighbours(session_files):
    import dataclasses

    marked = dataclasses.replace(read_recording(session_files[0]), bads=("P3",))
    settings = small(forward="linear", forward_rank=6, epochs=25, learning_rate=1e-2)
    fitted = FieldCalibrator(8, settings).fit([marked]).result_
    session, matrix = fitted.session, fitted.model.forward.matrix
    row = session.montage.labels.index("P3")
    assert matrix.shape[0] == len(session.montage)
    assert np.linalg.matrix_rank(matrix, tol=1e-4 * np.abs(matrix).max()) == 6
    assert fitted.bundle.manifest.hd[row].bad
    truth = session.segments[0][1][:800]
    place = session.montage.positions_mm[[row]]
    rendered = render_direct(fitted.model, place, truth[:, list(session.ld)])[:, 0]
    assert np.corrcoef(rendered, truth[:, row])[0, 1] > 0.7


@pytest.mark.parametrize("conditioning", ["global_scalar", "none"])
def test_every_conditioning_is_bundled(session_files, tmp_path, conditioning):
    fitted = FieldCalibrator(8, small(conditioning=conditioning)).fit(session_files[:1])
    fitted.save(tmp_path / "c.emag")
    bundle = load_bundle(tmp_path / "c.emag")
    assert (bundle.model.drive.hidden is None) == (conditioning == "none")
    direct, onnx = (
        evaluate_bundle(bundle, session_files[2], engine).methods["field"]["unseen"]["nmse"]
        for engine in ("packed", "onnx")
    )
    assert direct == pytest.approx(onnx, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--covariance", "isotropic"), "--covariance must go with --method paper"),
        (("--gaussians", "2"), "--gaussians must go with"),
        (("--method", "paper", "--anchor", "stream"), "--anchor must be window"),
        (("--method", "paper", "--no-refine"), "do nothing with --method paper"),
        (("--method", "paper", "--look-ahead-s", "0.1"), "look_ahead_s must be 0"),
        (
            ("--method", "paper", "--covariance", "diagonal_4d", "--off-diagonals", "all"),
            "off_diagonals must be none",
        ),
        (("--method", "paper", "--forward", "lead_field"), "lead_field must be given"),
    ],
    ids=str,
)
def test_options_that_contradict_each_other_are_refused(session_files, tmp_path, options, message):
    out = tmp_path / "x.emag"
    with pytest.raises(SettingsError, match=message):
        run(calibrate, session_files[0], "--ld", "8", "--out", out, "--no-report", *options)
    assert not out.exists()


def test_without_torch_the_error_comes_before_any_work(session_files, monkeypatch):
    monkeypatch.setattr("calibration.paper.training.find_spec", lambda name: None)
    calibrator = FieldCalibrator(8, small())
    with pytest.raises(CalibrationError, match=r"emag-rt\[calibrate\]"):
        calibrator.fit(session_files[:1])
    assert not hasattr(calibrator, "result_")
