"""One calibrated synthetic subject for all tests of the report."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_limits

from calibration import CalibrationSettings, FieldCalibrator
from calibration.report.evidence import from_calibration
from emag_rt.bundle import load_bundle


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    """As in the program: threads that share small problems wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def subject(session_files, tmp_path_factory):
    """Calibrated on one run of 25 s, 8 of 32 channels, without networks."""
    folder = tmp_path_factory.mktemp("report")
    calibrator = FieldCalibrator(8, CalibrationSettings(refine=False)).fit(session_files[:1])
    digest = calibrator.save(folder / "s01.emag")
    calibration = calibrator.result_
    return SimpleNamespace(
        calibration=calibration,
        digest=digest,
        bundle=load_bundle(folder / "s01.emag"),
        path=folder / "s01.emag",
        seen=session_files[0],
        unseen=session_files[2],
    )


@pytest.fixture(scope="session")
def evidence(subject):
    """What the report is made from."""
    return from_calibration(subject.calibration, subject.digest)
