"""Options of the paper's model: contradictions are refused, and each message says what to do."""

import numpy as np
import pytest

from calibration.paper.lead_field import read_lead_field
from calibration.settings.calibration_settings import CalibrationSettings
from calibration.settings.paper_options import PaperOptions
from emag_rt.errors import CalibrationError, SettingsError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariance": "round"}, "covariance must be one of full_4d"),
        ({"off_diagonals": "some"}, "off_diagonals must be one of all"),
        ({"conditioning": "per_channel"}, "conditioning must be one of per_grid"),
        ({"forward": "mlp"}, "forward must be one of splat"),
        ({"grid_support": "torus"}, "grid_support must be one of cube"),
        ({"covariance": "diagonal_4d", "off_diagonals": "all"}, "off_diagonals must be none"),
        ({"covariance": "isotropic", "off_diagonals": "spatial_only"}, "must be none"),
        ({"covariance": "spatial_3d_only", "off_diagonals": "all"}, "spatial_only or none"),
        ({"covariance": "spatial_3d_only", "off_diagonals": "spacetime_only"}, "or none"),
        ({"forward": "linear", "learn_centers": True}, "learn_centers must be off"),
        ({"forward": "linear", "off_diagonals": "all"}, "off_diagonals must be none"),
        ({"forward_rank": 3}, "needs forward linear"),
        ({"forward": "linear", "forward_rank": 0}, "forward_rank must be from 1"),
        ({"forward": "lead_field"}, "lead_field must be given"),
        ({"lead_field": "g.npy"}, "lead_field must be given with forward lead_field"),
        ({"point_share": 0.0}, "point_share must be above 0"),
        ({"point_share": float("nan")}, "point_share must be above 0"),
        ({"n_gaussians": 0}, "n_gaussians must be from 1"),
        ({"grid_resolution": 1}, "grid_resolution must be from 2"),
        ({"epochs": 0}, "epochs must be from 1"),
        ({"learning_rate": 0.0}, "learning_rate must be from"),
        ({"clip": float("nan")}, "clip must be from"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        PaperOptions(**options)


@pytest.mark.parametrize(
    ("options", "learned"),
    [
        ({}, "all"),
        ({"covariance": "spatial_3d_only"}, "spatial_only"),
        ({"covariance": "diagonal_4d"}, "none"),
        ({"covariance": "isotropic"}, "none"),
        ({"off_diagonals": "spacetime_only"}, "spacetime_only"),
        ({"covariance": "spatial_3d_only", "off_diagonals": "none"}, "none"),
        ({"forward": "linear"}, "none"),
    ],
    ids=str,
)
def test_off_diagonals_follow_the_covariance(options, learned):
    assert PaperOptions(**options).learned_off_diagonals == learned


def test_settings_refuse_what_the_method_cannot_do():
    with pytest.raises(SettingsError, match="method must be"):
        CalibrationSettings(method="splat")
    with pytest.raises(SettingsError, match="look_ahead_s must be 0"):
        CalibrationSettings(method="paper", look_ahead_s=0.1)
    with pytest.raises(SettingsError, match="grid_resolution must be that"):
        CalibrationSettings(method="paper", grid_resolution=7)
    with pytest.raises(SettingsError, match="grid_support must be that"):
        CalibrationSettings(method="paper", grid_support="cube")
    with pytest.raises(SettingsError, match="paper must be left out"):
        CalibrationSettings(paper=PaperOptions())
    assert CalibrationSettings(grid_resolution=7).method == "ridge_start"


def test_the_report_has_no_path_and_no_array():
    report = PaperOptions(forward="lead_field", lead_field=np.eye(2)).report()
    assert "lead_field" not in report
    assert report["forward"] == "lead_field"
    assert report["off_diagonals"] == "none"


def test_lead_fields_are_checked_and_scaled(tmp_path):
    given = np.random.default_rng(0).normal(size=(4, 6))
    np.save(tmp_path / "g.npy", 1e-9 * given)
    read = read_lead_field(tmp_path / "g.npy", 4, 6)
    assert np.sqrt((read**2).mean()) == pytest.approx(1.0)
    np.testing.assert_allclose(read, read_lead_field(given, 4, 6))
    with pytest.raises(CalibrationError, match=r"must have shape \(6, 4\)"):
        read_lead_field(given, 6, 4)
    with pytest.raises(CalibrationError, match="not all zero"):
        read_lead_field(0 * given, 4, 6)
    with pytest.raises(CalibrationError, match="not all zero"):
        read_lead_field(np.full((4, 6), np.nan), 4, 6)
    with pytest.raises(CalibrationError, match="real numbers"):
        read_lead_field(given.astype(complex), 4, 6)
    with pytest.raises(CalibrationError, match=r"numpy\.save"):
        read_lead_field(tmp_path / "none.npy", 4, 6)
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(CalibrationError, match=r"numpy\.save"):
        read_lead_field(tmp_path / "text.npy", 4, 6)
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CalibrationError, match=r"numpy\.save"):
        read_lead_field(tmp_path / "object.npy", 4, 6)
