"""The estimator, from files to a bundle that renders what the fits said."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from calibration import CalibrationSettings, FieldCalibrator
from calibration.scores.held_out import METHODS, evaluate_bundle
from emag_rt.bundle import load_bundle
from emag_rt.core.direct import render_direct
from emag_rt.core.grid import lattice
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError, RecordingError
from emag_rt.recordings.read import read_recording


def fit(files, ld=8, **settings):
    return FieldCalibrator(ld, CalibrationSettings(**settings)).fit(files)


@pytest.fixture(scope="module")
def closed(session_files):
    return fit(session_files[:2], refine=False)


@pytest.fixture(scope="module")
def bundle(closed, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "s.emag"
    closed.save(path)
    return load_bundle(path)


def test_field_gives_the_fits_numbers_at_the_electrodes(closed):
    """K A = W exactly: the mixture, summed as written, is the linear fit."""
    session, linear = closed.result_.session, closed.result_.field.linear
    x, y = session.segments[0]
    n_context = closed.result_.model.n_context
    ld = y[: n_context + 40, list(session.ld)]
    rows = list(session.targets)
    rendered = render_direct(closed.result_.model, session.montage.positions_mm[rows], ld)
    expected = linear.predict(x)[n_context : n_context + 40]
    np.testing.assert_allclose(rendered, expected, atol=1e-5 * np.abs(expected).max())


def test_the_bundle_knows_how_rendered_channels_differ_from_measured_ones(closed, bundle):
    session = closed.result_.session
    y = np.concatenate([y for _, y in session.segments])
    measured, rendered = bundle.cross_spectra.over(0, 48)
    wanted = y.T @ y / len(y)
    np.testing.assert_allclose(measured, wanted, atol=0.05 * np.diag(wanted).max())
    ld, targets = list(session.ld), list(session.targets)
    np.testing.assert_array_equal(rendered[np.ix_(ld, ld)], measured[np.ix_(ld, ld)])
    lost = 1 - rendered[targets, targets].sum() / measured[targets, targets].sum()
    assert 0 < lost < 2 * closed.result_.scores.methods["field"].nmse_unseen


def test_field_is_no_worse_than_lagged_ridge_and_better_than_the_spline(bundle, session_files):
    result = evaluate_bundle(bundle, session_files[2])
    assert result.ratios["lagged_ridge"] < 1.005
    assert result.ratios["spherical_spline"] < 0.8
    assert set(result.methods) == set(METHODS)
    assert len(result.unseen) == 24
    assert not set(result.unseen) & {e.label for e in bundle.manifest.ld}
    for engine in ("packed", "direct"):
        other = evaluate_bundle(bundle, session_files[2], engine)
        assert other.methods["field"]["unseen"]["nmse"] == pytest.approx(
            result.methods["field"]["unseen"]["nmse"], rel=1e-5
        )


def test_cross_validated_scores_foretell_held_out_ones(closed, bundle, session_files):
    said = closed.result_.scores.methods
    found = evaluate_bundle(bundle, session_files[2]).methods
    for name in METHODS:
        assert said[name].nmse_unseen == pytest.approx(found[name]["unseen"]["nmse"], rel=0.35)
    manifest = bundle.manifest
    expected = {e.label: e.expected_nmse for e in manifest.hd}
    assert all(expected[e.label] is None for e in manifest.ld)
    assert all(0 < expected[label] < 2 for label in closed.result_.scores.per_channel)


def test_manifest_keeps_the_contract_and_no_paths(closed, bundle):
    content = json.loads(bundle.manifest.model_dump_json())
    for key in ("format", "sfreq", "ld", "hd", "look_ahead_samples", "reference", "scores"):
        assert key in content
    assert {"label", "position_mm"} <= set(content["ld"][0])
    assert len(content["frontend"]["sos"][0]) == 6
    assert [i["file"] for i in content["provenance"]["inputs"]] == ["run0_raw.fif", "run1_raw.fif"]
    folder = closed.result_.session.recordings[0].path.parent
    assert str(folder) not in bundle.manifest.model_dump_json()


def test_same_seed_gives_the_same_field(session_files, closed):
    again = fit(session_files[:2], refine=False)
    first, second = (each.result_.model.drive.readout for each in (closed, again))
    np.testing.assert_array_equal(first, second)


def test_the_result_is_one_frozen_whole(closed):
    result = closed.result_
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.notes = ()
    manifest = result.bundle.manifest
    assert manifest.scores == result.scores.as_dict()
    assert manifest.calibration["notes"] == list(result.notes)
    assert set(manifest.calibration["seconds"]) < set(result.timings)
    assert result.stream is result.field
    assert result.model is result.bundle.model


def test_look_ahead_helps_and_is_honoured(session_files, tmp_path):
    waiting = fit(session_files[:2], refine=False, look_ahead_s=0.05)
    waiting.save(tmp_path / "w.emag")
    bundle = load_bundle(tmp_path / "w.emag")
    assert bundle.manifest.look_ahead_samples == 6
    result = evaluate_bundle(bundle, session_files[2])
    assert result.ratios["lagged_ridge"] < 1.01
    recording = read_recording(session_files[2])
    upsampler = Upsampler(bundle, channels=recording.labels)
    hd, _ = upsampler.push(recording.data_uv[:100])
    assert len(hd) == 94, "six samples are waited for"
    with pytest.raises(CalibrationError, match="at least one sample"):
        fit(session_files[:1], refine=False, look_ahead_s=0.001)


def test_window_anchor_end_to_end(session_files, tmp_path):
    window = fit(session_files[:2], refine=False, anchor="window", window_s=0.5)
    with pytest.raises(CalibrationError, match="anchor must be stream, got a window field"):
        _ = window.result_.stream
    window.save(tmp_path / "w.emag")
    bundle = load_bundle(tmp_path / "w.emag")
    assert bundle.manifest.anchor == "window"
    assert bundle.manifest.n_window == 64
    result = evaluate_bundle(bundle, session_files[2])
    assert result.ratios["spherical_spline"] < 0.85
    assert result.ratios["lagged_ridge"] < 1.1


def test_bad_channels_are_rendered_from_the_field(session_files):
    recordings = [read_recording(path) for path in session_files[:2]]
    truth = recordings[0].labels.index("P3")
    marked = [dataclasses.replace(r, bads=("P3",)) for r in recordings]
    fitted = FieldCalibrator(8, CalibrationSettings(refine=False)).fit(marked).result_
    manifest = fitted.bundle.manifest
    row = [e.label for e in manifest.hd].index("P3")
    assert manifest.hd[row].bad
    assert manifest.hd[row].expected_nmse is None
    upsampler = Upsampler(fitted.bundle, channels=recordings[0].labels)
    hd, _ = upsampler.push(recordings[0].data_uv)
    filtered = np.concatenate([y for _, y in fitted.session.segments])[: len(hd) - 128, truth]
    mean = hd[128:, fitted.bundle.manifest.hd_montage.index([e.label for e in manifest.ld])].mean(
        axis=1
    )
    rendered = hd[128:, row] - mean
    error = ((filtered[: len(rendered)] - rendered) ** 2).sum() / (filtered**2).sum()
    assert error < 0.5, "an electrode nobody learned from is still mostly right"


def test_evaluation_needs_unseen_channels_and_the_rate(bundle, session_files, tmp_path):
    import mne

    raw = mne.io.read_raw_fif(session_files[2], preload=True, verbose="ERROR")
    ld = [e.label for e in bundle.manifest.ld]
    raw.copy().pick(ld).save(tmp_path / "ld_raw.fif", verbose="ERROR")
    with pytest.raises(RecordingError, match="besides the LD"):
        evaluate_bundle(bundle, tmp_path / "ld_raw.fif")
    raw.resample(100, verbose="ERROR").save(tmp_path / "slow_raw.fif", verbose="ERROR")
    with pytest.raises(RecordingError, match="--sfreq 100"):
        evaluate_bundle(bundle, tmp_path / "slow_raw.fif")


def test_without_torch_it_stops_after_the_closed_form_and_says_so(session_files, monkeypatch):
    monkeypatch.setattr("calibration.stages.find_spec", lambda name: None)
    fitted = fit(session_files[:1], refine=True)
    assert fitted.result_.field.residual is None
    assert fitted.result_.field.refinement is None
    assert any("emag-rt[calibrate]" in note for note in fitted.result_.notes)


@pytest.mark.live  # trains networks
def test_refinement_keeps_or_betters_the_start(session_files, tmp_path):
    pytest.importorskip("torch")
    seen = []
    fitted = FieldCalibrator(
        8, CalibrationSettings(seed=1, prior="none"), lambda share, what: seen.append(share)
    ).fit(session_files[:1])
    assert fitted.result_.field.refinement.validation_ratio <= 1.0
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    fitted.save(tmp_path / "r.emag")
    result = evaluate_bundle(load_bundle(tmp_path / "r.emag"), session_files[2])
    assert result.ratios["lagged_ridge"] < 1.01


def test_gradient_steps_on_the_field_lower_the_error():
    """Away from the optimum the Gaussians do move, and the held-out error falls."""
    pytest.importorskip("torch")
    from calibration.field.refinement import refine_field
    from calibration.regression.blocks import make_blocks
    from emag_rt.core.drive import Drive
    from emag_rt.core.field import GaussianField, isotropic_cholesky
    from emag_rt.core.model import FieldModel

    rng = np.random.default_rng(0)
    centers, positions = lattice(4), 90 * rng.normal(size=(6, 3)) / 2
    mu = np.tile([0.0, 0.03], (len(centers), 1))
    cholesky = isotropic_cholesky(len(centers), 40.0, [0.001, 0.02])
    field = GaussianField(centers, mu, cholesky, np.zeros((len(centers), 2)))
    readout = rng.normal(size=(len(centers), 2, 3))
    model = FieldModel(field, Drive(np.ones((1, 1)), readout), np.ones(3), 100.0, n_lags=10)
    x = rng.normal(size=(3000, 3))
    x -= x.mean(axis=1, keepdims=True)
    padded = np.concatenate([np.zeros((model.n_context, 3)), x])
    y = render_direct(model, positions, padded)
    off = 0.7 * readout
    start = FieldModel(field, Drive(np.ones((1, 1)), off), np.ones(3), 100.0, n_lags=10)
    blocks = make_blocks([len(x)])
    result = refine_field(start, off, blocks, [(x, y)], positions)
    assert result.steps > 0
    assert result.validation_ratio < 0.95
    refined = render_direct(result.model, positions, padded)
    assert ((refined - y) ** 2).sum() < 0.95 * (
        (render_direct(start, positions, padded) - y) ** 2
    ).sum()
    assert "torch" in sys.modules


def test_the_estimator_is_imported_without_torch():
    """Modules that only torch code needs wait until something is trained."""
    code = "import sys; sys.modules['torch'] = None; import calibration.estimator"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
