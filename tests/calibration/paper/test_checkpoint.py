"""Checkpoints of the EMAG authors: read safely, and rendered as their equation says."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.paper.checkpoint import read_checkpoint
from calibration.paper.checkpoint_bundle import ImportSettings, checkpoint_bundle, checkpoint_model
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.core.direct import render_direct
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError, MontageError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.positions import template
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tests.checkpoints import R_CUBE, R_SPHERE, formula, grid, make_state, write

pytest.importorskip("torch")

SFREQ, N_WINDOW = 200.0, 4
LABELS = ("Fz", "Cz", "Pz", "C3", "C4", "Oz")
INSIDE = np.flatnonzero(np.linalg.norm(grid(R_SPHERE, "cube"), axis=1) <= 90.0)
# What active_grid_idx holds, and which points it means.
CASES = {
    "cube": ("cube", None, grid(R_CUBE, "cube")),
    "cube partial": ("cube", np.array([5, 60, 2, 33]), grid(R_CUBE, "cube")[[5, 60, 2, 33]]),
    "sphere": ("sphere", None, grid(R_SPHERE, "sphere")),
    "sphere partial": (
        "sphere",
        np.array([0, 1, 31, 4, 17]),
        grid(R_SPHERE, "sphere")[[0, 1, 31, 4, 17]],
    ),
    "sphere, counted in the cube": ("sphere", INSIDE[::3], grid(R_SPHERE, "cube")[INSIDE[::3]]),
}


def features(ld, scale):
    return (ld - ld.mean(axis=1, keepdims=True)) / scale


@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("case", CASES)
def test_the_field_is_the_papers_formula(case, layout, tmp_path):
    support, active, centers = CASES[case]
    state, config = make_state(3, support=support, layout=layout, active=active)
    read = read_checkpoint(write(tmp_path / "c.pt", state, config))
    np.testing.assert_allclose(read.field.centers_mm, centers, atol=1e-9)
    assert (read.sfreq, read.n_window, read.n_ld) == (200.0, 800, 3)
    scale = np.array([3.0, 8.0, 5.0])
    model = checkpoint_model(read, SFREQ, N_WINDOW, scale, hd_scale_uv=2.5)
    ld = 8.0 * np.random.default_rng(1).normal(size=(6, 3)) + 40.0
    expected = 2.5 * formula(state, centers, 2, features(ld, scale), SFREQ, N_WINDOW)
    found = render_direct(model, read.positions_mm, ld)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.1


def test_a_checkpoint_may_bring_its_centres_and_a_global_modulator(tmp_path):
    state, config = make_state(5, n_gaussians=3)
    centers = np.random.default_rng(0).uniform(-80, 80, grid(R_CUBE, "cube").shape)
    state["grid_pos"] = centers.astype(np.float32)
    for part in ("weight", "bias"):
        state[f"ld_modulator.2.{part}"] = state[f"ld_modulator.2.{part}"][:1]
    read = read_checkpoint(write(tmp_path / "c.pt", state, config))
    model = checkpoint_model(read, SFREQ, N_WINDOW, np.ones(3), 1.0)
    ld = np.random.default_rng(1).normal(size=(5, 3))
    expected = formula(state, np.float64(state["grid_pos"]), 3, features(ld, 1.0), SFREQ, N_WINDOW)
    found = render_direct(model, read.positions_mm, ld)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    assert any("all points alike" in note for note in read.notes)


@pytest.mark.parametrize("engine", ["onnx", "packed", "direct"])
def test_a_saved_bundle_renders_the_formula_behind_the_front_end(engine, tmp_path):
    state, config = make_state(7, support="sphere")
    path = write(tmp_path / "c.pt", state, config)
    settings = ImportSettings(
        ld=("Cz", "Oz", "Fz"), hd=LABELS, ld_scale_uv=(9.0,), hd_scale_uv=4.0, n_window=N_WINDOW
    )
    made, notes = checkpoint_bundle(read_checkpoint(path), path, settings)
    save_bundle(made, tmp_path / "c.emag")
    bundle = load_bundle(tmp_path / "c.emag")
    assert bundle.manifest.anchor == "window"
    assert [e.label for e in bundle.manifest.hd if e.origin == "measured"] == ["Fz", "Cz", "Oz"]
    assert any("z-scores each channel in each window" in note for note in notes)
    ld = 30.0 * np.random.default_rng(1).normal(size=(11, 3)).cumsum(axis=0)
    sos = np.array(bundle.manifest.frontend.sos)
    filtered = CausalFilter(sos, 3).process(ld)
    centers = grid(R_SPHERE, "sphere")
    relative = formula(state, centers, 2, features(filtered, 9.0), SFREQ, N_WINDOW)
    expected = 4.0 * relative + filtered.mean(axis=1, keepdims=True)
    rendered, _ = Upsampler(bundle, engine=engine, measured="render").push(ld)
    np.testing.assert_allclose(rendered, expected, atol=1e-5 * np.abs(expected).max())
    passed, _ = Upsampler(bundle, engine=engine).push(ld)
    np.testing.assert_allclose(passed[:, [1, 5, 0]], filtered, atol=1e-4)


def test_unknown_labels_are_generated_and_nothing_passes_through(tmp_path):
    state, config = make_state(1)
    path = write(tmp_path / "c.pt", state, config)
    bundle, notes = checkpoint_bundle(read_checkpoint(path), path, ImportSettings(n_window=4))
    assert [e.label for e in bundle.manifest.ld] == ["LD001", "LD002", "LD003"]
    assert bundle.manifest.hd[5].label == "HD006"
    assert all(e.origin == "rendered" for e in bundle.manifest.hd)
    text = " ".join(notes)
    for said in ("--ld", "--hd", "placeholders", "assumed: 10", "covariance is unknown"):
        assert said in text


def test_labels_of_a_standard_montage_by_position(tmp_path):
    places = template("standard_1005")
    names = ["Fz", "Cz", "Pz", "C3", "C4", "Oz", "F7", "P8"]
    state, config = make_state(1, n_hd=len(names))
    points = np.array([places[name] for name in names])
    points -= points.mean(axis=0) * [1, 1, 0] + [0, 0, 40]
    state["electrode_pos"] = points.astype(np.float32)
    path = write(tmp_path / "c.pt", state, config)
    bundle, _ = checkpoint_bundle(
        read_checkpoint(path), path, ImportSettings(hd="biosemi64", ld=["Cz", "Oz", "C3"])
    )
    assert [e.label for e in bundle.manifest.hd] == names
    assert [e.label for e in bundle.manifest.ld] == ["Cz", "Oz", "C3"]
    assert bundle.manifest.n_window == 800
    state["electrode_pos"][0, 2] -= 170.0
    moved = read_checkpoint(write(tmp_path / "c.pt", state, config))
    with pytest.raises(MontageError, match="degrees off"):
        checkpoint_bundle(moved, path, ImportSettings(hd="biosemi64"))


def test_statistics_of_the_wearer(tmp_path):
    head = SyntheticHead(16, 200.0, seed=2)
    data = head.generate(200 * 12)
    recording = tmp_path / "r_raw.fif"
    write_raw(
        recording, data, head.labels, 200.0, head.montage.positions_mm, origin_mm=head.origin_mm
    )
    state, config = make_state(1, n_hd=16)
    state["electrode_pos"] = head.montage.positions_mm.astype(np.float32)
    path = write(tmp_path / "c.pt", state, config)
    settings = ImportSettings(ld=["Cz", "Oz", "C3"], hd=head.labels, statistics=recording)
    bundle, notes = checkpoint_bundle(read_checkpoint(path), path, settings)
    filtered = CausalFilter(np.array(bundle.manifest.frontend.sos), 16).process(data)[200:]
    rows = [head.labels.index(name) for name in settings.ld]
    ld = filtered[:, rows] - filtered[:, rows].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(bundle.model.scale_uv, ld.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(bundle.covariance, np.cov(ld.T, bias=True), rtol=0.02, atol=0.5)
    assert not any("assumed" in note or "unknown" in note for note in notes)
    rest = [i for i in range(16) if i not in rows]
    hd = filtered[:, rest] - filtered[:, rows].mean(axis=1, keepdims=True)
    assert bundle.manifest.calibration["hd_scale_uv"] == pytest.approx(
        np.sqrt((hd**2).mean()), rel=1e-3
    )
    assert [i["file"] for i in bundle.manifest.provenance["inputs"]] == ["c.pt", "r_raw.fif"]


def changed(**values):
    return lambda state, config: state.update(values)


def without(*names):
    return lambda state, config: [state.pop(name) for name in names]


def nan_in(name):
    def change(state, config):
        state[name].flat[0] = np.nan

    return change


def said(**values):
    return lambda state, config: config.update(values)


DAMAGE = {
    "missing": (without("mu_t"), "must hold 'mu_t'"),
    "no factors": (without("chol_off_diag"), "chol_off_diag_spatial"),
    "no network": (without("ld_encoder.0.weight"), "ld_encoder.0.weight"),
    "shape": (changed(chol_log_diag=np.zeros((128, 3))), r"chol_log_diag .*\(128, 4\).*\(128, 3\)"),
    "length": (changed(mu_t=np.zeros(7)), r"mu_t must have shape \(128\)"),
    "not chained": (changed(**{"ld_encoder.2.weight": np.zeros((5, 9))}), "ld_encoder.2.weight"),
    "not finite": (nan_in("amplitude"), "amplitude must be finite"),
    "overflow": (changed(chol_log_diag=np.full((128, 4), 800.0)), "chol_log_diag.*logarithms"),
    "metres": (changed(electrode_pos=np.full((6, 3), 0.05)), "Metres"),
    "doubled point": (changed(active_grid_idx=np.zeros(64, dtype=int)), "different whole numbers"),
    "point outside": (
        changed(active_grid_idx=np.arange(64) + 1),
        "active_grid_idx must stay below",
    ),
    "resolution": (said(grid_resolution=None), "--grid-resolution"),
    "support": (said(grid_support="shell", grid_type="shell"), "--grid-support"),
    "gaussians": (said(n_gaussians_per_point=3), "n_gaussians_per_point must fit"),
    "fraction": (said(grid_resolution=4.5), "whole number"),
    "rate": (said(sfreq="fast"), "sfreq"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(case, tmp_path):
    change, message = DAMAGE[case]
    state, config = make_state(0)
    change(state, config)
    with pytest.raises(CalibrationError, match=message):
        read_checkpoint(write(tmp_path / "c.pt", state, config))


def test_a_grid_without_indices_must_have_as_many_points(tmp_path):
    state, config = make_state(0)
    del state["active_grid_idx"]
    path = write(tmp_path / "c.pt", state, config)
    assert read_checkpoint(path).field.n_points == 64
    with pytest.raises(CalibrationError, match="125 points"):
        read_checkpoint(path, grid_resolution=5)


def test_an_index_that_can_mean_two_things_is_not_guessed(tmp_path):
    both = np.array([i for i in INSIDE if i < len(INSIDE)][:3])
    state, config = make_state(0, support="sphere", active=both)
    path = write(tmp_path / "c.pt", state, config)
    with pytest.raises(CalibrationError, match="--grid-index"):
        read_checkpoint(path)
    for name, space in (("cube", grid(R_SPHERE, "cube")), ("support", grid(R_SPHERE, "sphere"))):
        read = read_checkpoint(path, grid_index=name)
        np.testing.assert_allclose(read.field.centers_mm, space[both])


class Stranger:
    """A class of the authors' code, which is not here and is never loaded."""


def test_only_tensors_and_plain_values_are_loaded(tmp_path):
    import torch

    state, config = make_state(0)
    path = write(tmp_path / "c.pt", state, config, trainer=Stranger())
    with pytest.raises(CalibrationError, match="weights_only=True"):
        read_checkpoint(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CalibrationError, match=r"c\.pt"):
        read_checkpoint(path)
    torch.save({"state": {}}, path)
    with pytest.raises(CalibrationError, match="model_state_dict"):
        read_checkpoint(path)
    with pytest.raises(CalibrationError, match="No such file"):
        read_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ImportSettings(ld=["Fz", "Cz"], hd=LABELS), "3 channels that ld_encoder takes"),
        (ImportSettings(ld=["Fz", "Cz", "Fz"], hd=LABELS), "once"),
        (ImportSettings(ld=["Fz", "Cz", "F3"], hd=LABELS), "missing F3"),
        (ImportSettings(hd=LABELS[:4]), "6 electrodes"),
        (ImportSettings(ld_scale_uv=(1.0, 2.0)), "ld-scale-uv"),
        (ImportSettings(hd_scale_uv=float("nan")), "hd-scale-uv"),
        (ImportSettings(n_window=100_000_000), "--n-window"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message, tmp_path):
    state, config = make_state(0)
    path = write(tmp_path / "c.pt", state, config)
    with pytest.raises((CalibrationError, MontageError), match=message):
        checkpoint_bundle(read_checkpoint(path), path, settings)


def test_an_unknown_dataset_needs_its_rate_and_window(tmp_path):
    state, config = make_state(0)
    path = write(tmp_path / "c.pt", state, config | {"dataset": "ours"})
    with pytest.raises(CalibrationError, match="--sfreq and --n-window"):
        checkpoint_bundle(read_checkpoint(path), path, ImportSettings())
    path = write(tmp_path / "c.pt", state, config | {"dataset": "Localize-MI"})
    read = read_checkpoint(path)
    assert (read.sfreq, read.n_window) == (8000.0, 2081)
