"""What a calibration gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from calibration.baselines.ridge import RidgeBaseline
from calibration.field_fits import CalibratedField, StreamField
from calibration.scores.cross_validated import CrossValidatedScores
from calibration.session.segments import Session
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.bundle import Bundle
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError


@dataclass(frozen=True, eq=False)
class Calibration:
    """A subject's field, what it was fitted to, and what it is worth.

    Attributes
    ----------
    settings : CalibrationSettings
        As it was asked for.
    session : Session
        What was fitted.
    baselines : mapping of str to RidgeBaseline
        ``ridge`` and ``lagged_ridge``, on the same session.
    field : StreamField, WindowField or PaperField
        What the method fitted: by the ``stream`` anchor, the ``window`` anchor, or as the paper.
    scores : CrossValidatedScores
        Of the field and of the baselines.
    bundle : Bundle
        Ready to save or serve.
    timings : mapping of str to float
        Seconds each stage took.
    notes : tuple of str
        What the user should know.
    """

    settings: CalibrationSettings
    session: Session
    baselines: Mapping[str, RidgeBaseline]
    field: CalibratedField
    scores: CrossValidatedScores
    bundle: Bundle
    timings: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def model(self) -> FieldModel:
        """The field."""
        return self.field.model

    @property
    def stream(self) -> StreamField:
        """The field of the ``stream`` anchor, with its closed form.

        Raises
        ------
        CalibrationError
            If the field is of another anchor, which has no such closed form.
        """
        if not isinstance(self.field, StreamField):
            raise CalibrationError(
                f"anchor must be stream, got a {self.field.model.anchor} field. Calibrate with "
                "--anchor stream."
            )
        return self.field
