"""What a fitted calibrator offers to those that score it and write it down."""

from __future__ import annotations

from typing import Any, Protocol

from calibration.field.refinement import Refinement
from calibration.paper.training import PaperFit
from calibration.regression.closed_form import LinearFit
from calibration.regression.gram_matrices import RidgeBaseline
from calibration.regression.window_closed_form import WindowFit
from calibration.residual.bag import ResidualNet
from calibration.session.segments import Session
from calibration.settings import CalibrationSettings
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
