"""What a fitted calibrator offers to those that score it and write it down."""

from __future__ import annotations

from typing import Any, Protocol

from calibration.baselines import RidgeBaseline
from calibration.closed_form import LinearFit
from calibration.paper.training import PaperFit
from calibration.refine import Refinement
from calibration.residual import ResidualNet
from calibration.session import Session
from calibration.settings import CalibrationSettings
from calibration.window_start import WindowFit
from emag_rt.core.model import FieldModel


class Fitted(Protocol):
    """Fitted attributes of :class:`calibration.FieldCalibrator`, described there."""

    settings: CalibrationSettings
    session_: Session
    baselines_: dict[str, RidgeBaseline]
    linear_: LinearFit | None
    window_: WindowFit | None
    residual_: ResidualNet | None
    refinement_: Refinement | None
    paper_: PaperFit | None
    model_: FieldModel
    scores_: dict[str, Any]
    timings_: dict[str, float]
    notes_: list[str]

    @property
    def width_mm(self) -> float:
        """Spatial width of the Gaussians."""
        ...
