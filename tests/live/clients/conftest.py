"""What the tests with other people's programs share."""

from __future__ import annotations

import pytest

from calibration import CalibrationSettings, FieldCalibrator


@pytest.fixture(scope="session")
def ten_twenty(subject):
    """A bundle of the channels that pylsl's SendDataAdvanced has."""
    labels = ["Fp1", "Fp2", "C3", "C4", "Cz", "P3", "P4", "Pz", "O1", "O2"]
    calibrator = FieldCalibrator(labels, CalibrationSettings(refine=False))
    path = subject.folder / "ten_twenty.emag"
    calibrator.fit([subject.folder / "calibration_raw.fif"]).save(path)
    return path
