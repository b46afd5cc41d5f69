"""Calibration: from a short HD session of one subject to a bundle.

The estimator is :class:`calibration.FieldCalibrator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calibration.settings import CalibrationSettings

if TYPE_CHECKING:
    from calibration.estimator import FieldCalibrator

__all__ = ["CalibrationSettings", "FieldCalibrator"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `emag-rt --help` need not import MNE.
    if name == "FieldCalibrator":
        from calibration.estimator import FieldCalibrator

        return FieldCalibrator
    raise AttributeError(f"module 'calibration' has no attribute {name!r}")
