"""Spatial baselines from MNE: linear maps that reproduce constants and know the physics."""

from __future__ import annotations

import json

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from calibration import CalibrationSettings, FieldCalibrator
from calibration.baselines.mne import (
    SNRS,
    _info,
    field_interpolation_matrix,
    minimum_norm_matrix,
)
from calibration.baselines.spatial import SPATIAL_METHODS, spatial_matrices
from emag_rt.cli.main import cli
from emag_rt.core.montage import spread_choice
from emag_rt.errors import CalibrationError, EmagError, MontageError
from emag_rt.synthetic.head import SyntheticHead

MAPS = {"minimum_norm": minimum_norm_matrix, "field_interpolation": field_interpolation_matrix}


@pytest.fixture(scope="module")
def big_head():
    """Lead fields of known sources at 64 electrodes, and 16 of these to measure."""
    head = SyntheticHead(64, 128.0, seed=4)
    positions = head.montage.positions_mm
    return positions, spread_choice(positions, 16), head.lead_field


@pytest.mark.parametrize("name", MAPS)
def test_constants_pass_and_references_do_not_matter(name, big_head):
    positions, ld, gains = big_head
    matrix = MAPS[name](positions[ld], positions)
    assert matrix.shape == (64, 16)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix @ np.full(16, 7.0), 7.0, rtol=1e-9)
    shifted = matrix @ (gains[ld] + 100.0) - 100.0
    np.testing.assert_allclose(shifted, matrix @ gains[ld], atol=1e-9 * np.abs(gains).max() * 1e3)


@pytest.mark.parametrize("name", MAPS)
def test_planted_dipoles_are_interpolated(name, big_head):
    """Relative to the LD mean, where the zero prediction has an error of 1."""
    positions, ld, gains = big_head
    truth = gains - gains[ld].mean(axis=0)
    unseen = [i for i in range(64) if i not in ld]
    rendered = MAPS[name](positions[ld], positions) @ truth[ld]
    error = ((rendered - truth)[unseen] ** 2).sum(axis=0) / (truth[unseen] ** 2).sum(axis=0)
    assert np.median(error) < 0.35
    assert (error < 1.0).mean() > 0.95
    # Electrodes that are mixed up break it: the map knows where it is.
    mixed = MAPS[name](positions[ld], positions[::-1]) @ truth[ld]
    assert ((mixed - truth)[unseen] ** 2).sum() > 3 * ((rendered - truth)[unseen] ** 2).sum()


def test_minimum_norm_is_mne_s(big_head):
    """Our matrix from Gram matrices against :mod:`mne.minimum_norm`, source by source."""
    positions, ld, _ = big_head
    n_ld, snr = len(ld), 3.0
    n_sources = 60
    ours = minimum_norm_matrix(positions[ld], positions, snr=snr, n_sources=n_sources)
    info = _info(np.vstack([positions[ld], positions]))
    radius = np.linalg.norm(positions[ld], axis=1).mean() / 1000
    k = np.arange(n_sources)
    height = 1.0 - 1.45 * (k + 0.5) / n_sources
    turn = np.pi * (3.0 - np.sqrt(5.0)) * k
    ring = np.sqrt(1 - height**2)
    outward = np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
    sphere = mne.make_sphere_model(r0=(0, 0, 0), head_radius=radius, verbose="ERROR")
    source_space = mne.setup_volume_source_space(
        pos={"rr": 0.8 * radius * outward, "nn": outward}, sphere_units="m", verbose="ERROR"
    )
    forward = mne.make_forward_solution(
        info,
        trans=None,
        src=source_space,
        bem=sphere,
        meg=False,
        eeg=True,
        mindist=0.0,
        verbose="ERROR",
    )
    names = info["ch_names"][:n_ld]
    measured = mne.pick_info(info, range(n_ld), copy=True)
    evoked = mne.EvokedArray(1e-6 * np.eye(n_ld), measured, verbose="ERROR")
    evoked.set_eeg_reference(projection=True, verbose="ERROR")
    inverse = mne.minimum_norm.make_inverse_operator(
        evoked.info,
        mne.pick_channels_forward(forward, names),
        mne.make_ad_hoc_cov(evoked.info, verbose="ERROR"),
        loose=1.0,
        depth=None,
        verbose="ERROR",
    )
    found = mne.minimum_norm.apply_inverse(
        evoked, inverse, 1 / snr**2, "MNE", pick_ori="vector", verbose="ERROR"
    )
    moments = found.data.reshape(-1, n_ld)  # three components a source, in head coordinates
    field = 1e6 * forward["sol"]["data"] @ moments
    expected = field[n_ld:] - field[:n_ld].mean(axis=0) + 1.0 / n_ld
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_noisier_channels_make_a_smoother_map(big_head):
    positions, ld, gains = big_head
    brain = gains[ld] @ gains[ld].T
    power = np.trace(brain) / len(ld)
    noisy = brain + 4.0 * power * np.eye(len(ld))
    energies = []
    for covariance in (brain, noisy):
        chosen = minimum_norm_matrix(positions[ld], positions, covariance=covariance, n_sources=80)
        energies.append((chosen**2).sum())
        fixed = [minimum_norm_matrix(positions[ld], positions, snr=s, n_sources=80) for s in SNRS]
        assert min(np.abs(m - chosen).max() for m in fixed) < 1e-12, "the choice is one of SNRS"
    assert energies[1] < energies[0]


@pytest.mark.parametrize(
    ("call", "kind", "names"),
    [
        (lambda p: minimum_norm_matrix(p / 1000, p), MontageError, "ld_positions_mm"),
        (lambda p: field_interpolation_matrix(p, p * np.nan), MontageError, "hd_positions_mm"),
        (lambda p: field_interpolation_matrix(p[:1], p), MontageError, "at least 2"),
        (lambda p: minimum_norm_matrix(p, p, snr=0.0), CalibrationError, "snr"),
        (lambda p: minimum_norm_matrix(p, p, n_sources=3), CalibrationError, "n_sources"),
        (lambda p: minimum_norm_matrix(p, p, covariance=np.eye(3)), CalibrationError, "covariance"),
    ],
)
def test_bad_arguments_are_named(call, kind, names, big_head):
    assert issubclass(kind, EmagError)
    with pytest.raises(kind, match=names):
        call(big_head[0][:8])


def test_evaluate_prints_them_and_calibration_scores_them(session_files, tmp_path):
    fitted = FieldCalibrator(8, CalibrationSettings(refine=False)).fit(session_files[:2])
    assert set(SPATIAL_METHODS) < set(fitted.result_.scores.methods)
    fitted.save(tmp_path / "s.emag")
    done = CliRunner().invoke(cli, ["evaluate", str(tmp_path / "s.emag"), str(session_files[2])])
    assert done.exit_code == 0, done.output
    for name in SPATIAL_METHODS:
        assert name in done.output
    arguments = ["evaluate", str(tmp_path / "s.emag"), str(session_files[2]), "--json", "-"]
    scores = json.loads(CliRunner().invoke(cli, arguments).stdout)
    for name in SPATIAL_METHODS:
        assert 0.0 < scores["methods"][name]["unseen"]["nmse"] < 1.0, "better than zeros"
        assert scores["ratios_unseen"][name] < 1.0
    # One code path: calibration applies the very matrices that evaluation does.
    session = fitted.result_.session
    rows = list(session.ld)
    matrices = spatial_matrices(
        session.montage.positions_mm[rows], session.montage.positions_mm, session.covariance
    )
    y = np.concatenate([part for _, part in session.segments])
    unseen = list(session.unseen)
    for name, matrix in matrices.items():
        error = ((y - y[:, rows] @ matrix.T)[:, unseen] ** 2).sum() / (y[:, unseen] ** 2).sum()
        assert fitted.result_.scores.methods[name].nmse_unseen == pytest.approx(error, rel=1e-6)
