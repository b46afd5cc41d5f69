"""Stand-ins have the shapes that calibration writes, and tame numbers."""

import numpy as np
import pytest

from calibration.regression.closed_form import _plan, _union
from calibration.regression.profiles import n_lags_of
from calibration.residual.bag import encoder_taps
from calibration.residual.task import ResidualSettings
from emag_rt.bench.cases import Case, parse_case
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.core.direct import render_direct
from emag_rt.core.folding import fold
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import SettingsError
from emag_rt.synthetic.layout import N_BLOCKS, N_NETWORKS, N_UNITS, layout_of
from emag_rt.synthetic.standin import cap_of, eeg_like, spread
from tests.factories import relative

SMALL = Case(6, 20, 200.0, look_ahead=2)


@pytest.mark.parametrize("sfreq", [100.0, 160.0, 250.0, 500.0, 1000.0, 8000.0])
@pytest.mark.parametrize("look_ahead", [0, 7])
def test_layout_is_calibrations(sfreq, look_ahead):
    found = layout_of(sfreq, look_ahead)
    bank, _ = _union(_plan(sfreq, look_ahead, None, (0.0,))[0])
    np.testing.assert_allclose(found.centers_s, bank.centers_s, atol=1e-11)
    np.testing.assert_allclose(found.widths_s, bank.widths_s, atol=1e-11)
    assert found.n_lags == n_lags_of(bank, sfreq, look_ahead)
    kernel, step = encoder_taps(sfreq)
    np.testing.assert_array_equal(found.encoder, kernel)
    assert found.step == step


def test_networks_are_calibrations():
    settings = ResidualSettings()
    assert (settings.n_units, settings.n_blocks) == (N_UNITS, N_BLOCKS)
    assert 5 + settings.n_whole == N_NETWORKS


def test_folds_as_the_core_does():
    bundle = SMALL.standin()
    montage = bundle.manifest.hd_montage.positions_mm
    own, core = bundle.operator, fold(bundle.model, montage)
    assert own.n_context == core.n_context
    assert own.taps.shape == core.taps.shape

    def whole(operator):
        weights = operator.weights[0].reshape(operator.n_out, len(operator.taps), -1)
        return np.einsum("erc,rl->ecl", weights, operator.taps)

    assert relative(whole(own), whole(core)) < 1e-9
    wanted = core.hidden.weights * core.hidden.out_taps[0, 0]
    assert relative(own.hidden.weights, wanted) < 1e-9


def test_rendering_is_the_equation_and_tame(tmp_path):
    bundle = SMALL.standin()
    save_bundle(bundle, tmp_path / "s.emag")
    bundle = load_bundle(tmp_path / "s.emag")
    ld = eeg_like(bundle.covariance, SMALL.sfreq).astype(np.float64)
    upsampler = Upsampler(bundle, engine="packed")
    hd, _ = upsampler.push(ld)
    assert upsampler.bad == ()
    rendered = [i for i, e in enumerate(bundle.manifest.hd) if e.origin == "rendered"]
    ratio = hd[400:, rendered].std() / ld.std()
    assert 0.2 < ratio < 5.0
    context = bundle.model.n_context
    positions = bundle.manifest.hd_montage.positions_mm
    direct = render_direct(bundle.model, positions, ld[: context + 1])
    assert np.isfinite(direct).all()
    # LD channels drive themselves at once.
    columns = dict(bundle.measured_rows(bundle.manifest.hd_montage.labels))
    now = ld[context - 2 : context - 1]
    now = now - now.mean(axis=1, keepdims=True)
    for row, column in columns.items():
        np.testing.assert_allclose(direct[:, row], now[:, column], atol=1e-6)


def test_without_residual():
    bundle = Case(6, 20, 200.0, residual=False).standin()
    assert bundle.model.drive.hidden is None
    assert bundle.operator.n_context == bundle.operator.taps.shape[1] - 1


def test_a_long_lag_axis_stays_small():
    case = parse_case("16:64@8000/8")
    bundle = case.standin()
    assert bundle.operator.taps.shape[1] > 6500
    assert bundle.operator.weights.nbytes < 2e6
    assert bundle.model.n_lags > 6500


@pytest.mark.parametrize("n_hd", [20, 64, 128, 256])
def test_caps(n_hd):
    montage = cap_of(n_hd)
    assert len(montage) == n_hd
    rows = spread(montage.positions_mm, 8)
    assert len(set(rows)) == 8
    apart = np.linalg.norm(montage.positions_mm[rows][:, None] - montage.positions_mm[rows], axis=2)
    assert apart[~np.eye(8, dtype=bool)].min() > 40.0


def test_no_such_cap():
    with pytest.raises(SettingsError, match="--bundle"):
        cap_of(1000)


def test_the_noise_has_the_subjects_covariance_and_no_seam():
    bundle = SMALL.standin()
    noise = eeg_like(bundle.covariance, 200.0, seconds=200.0).astype(np.float64)
    centred = noise - noise.mean(axis=1, keepdims=True)
    assert relative(np.cov(centred.T), bundle.covariance) < 0.3
    steps = np.abs(np.diff(noise, axis=0)).max(axis=0)
    assert (np.abs(noise[0] - noise[-1]) <= steps).all()
