"""Calibration: from a short HD session of one subject to a bundle.

The estimator is :class:`calibration.FieldCalibrator`; what it gives is a
:class:`calibration.Calibration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.settings.calibration_settings import CalibrationSettings

if TYPE_CHECKING:
    from calibration.estimator import FieldCalibrator
    from calibration.result import Calibration

__all__ = ["Calibration", "CalibrationSettings", "FieldCalibrator"]


def __getattr__(name: str) -> object:
    # Lazy, so that `emag-rt --help` need not import MNE.
    if name == "FieldCalibrator":
        from calibration.estimator import FieldCalibrator

        return FieldCalibrator
    if name == "Calibration":
        from calibration.result import Calibration

        return Calibration
    raise AttributeError(f"module 'calibration' has no attribute {name!r}")
