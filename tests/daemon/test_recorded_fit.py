"""The alarm for LD that does not fit, on real people: the own bundle, and another's."""

import numpy as np
import pytest

from calibration import CalibrationSettings
from calibration.session.segments import make_session
from emag_rt.core.ld_bands import band_edges, mean_bands
from emag_rt.core.misfit import misfit
from emag_rt.recordings.read import read_recording

pytestmark = pytest.mark.data
N_LD = 16
SETTINGS = CalibrationSettings(refine=False)


@pytest.fixture(scope="module")
def bands(data_dir):
    """Of 16 LD channels of S001, run 3."""
    return bands_of(make_session([read_recording(data_dir / "S001R03.edf")], N_LD, SETTINGS))


def bands_of(session, seconds=None):
    n = None if seconds is None else round(seconds * session.sfreq)
    signals = [y[:n, list(session.ld)] for _, y in session.segments]
    return mean_bands(signals, band_edges(SETTINGS.band_hz, session.sfreq), session.sfreq)


@pytest.mark.parametrize("run", ["S001R04", "S001R05", "S001R08"])
def test_the_own_bundle_fits_and_an_exchange_is_found(bands, data_file, run):
    now = bands_of(make_session([read_recording(data_file(f"{run}.edf"))], N_LD, SETTINGS), 60)
    assert misfit(bands, now.covariances, now.n_blocks, np.arange(N_LD)).fits
    for pair in ((0, 1), (4, 11), (7, 8)):
        order = np.arange(N_LD)
        order[list(pair)] = pair[::-1]
        wrong = now.covariances[:, order[:, None], order]
        assert misfit(bands, wrong, now.n_blocks, np.arange(N_LD)).exchanged == pair


@pytest.mark.parametrize("person", ["S002", "S003", "S006", "S008", "S009", "S011", "S013"])
def test_another_persons_bundle_does_not(bands, data_file, person):
    session = make_session([read_recording(data_file(f"{person}R04.edf"))], N_LD, SETTINGS)
    now = bands_of(session, 60)
    assert not misfit(bands, now.covariances, now.n_blocks, np.arange(N_LD)).fits
