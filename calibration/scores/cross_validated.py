"""Scores of the field beside the baselines, on blocks of time that no fit has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from calibration.baselines.ridge import RidgeBaseline
from calibration.baselines.spatial import spatial_matrices
from calibration.field.model import LeftOutScores
from calibration.session.segments import Session
from emag_rt.array_types import FloatArray


@dataclass(frozen=True)
class MethodScore:
    """NMSE of a method.

    Attributes
    ----------
    nmse_unseen : float
        On targets that are not bridged to an LD channel.
    nmse_all : float
        On targets and LD channels, these passed through.
    """

    nmse_unseen: float
    nmse_all: float


@dataclass(frozen=True)
class CrossValidatedScores:
    """Scores within the session, on samples that each fit has not seen.

    Attributes
    ----------
    protocol : str
        How they were found.
    methods : dict of str to MethodScore
        The field and the baselines.
    per_channel : dict of str to float
        NMSE of the field at each target, by label.
    left_out : LeftOutScores or None
        What to expect at electrodes nobody wore; with the ``stream`` anchor alone.
    """

    protocol: str
    methods: dict[str, MethodScore]
    per_channel: dict[str, float]
    left_out: LeftOutScores | None = None

    def as_dict(self) -> dict[str, object]:
        """For the manifest."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def cross_validated_scores(
    session: Session,
    baselines: Mapping[str, RidgeBaseline],
    field_nmse: FloatArray,
    protocol: str,
    left_out: LeftOutScores | None = None,
) -> CrossValidatedScores:
    """NMSE of every method on blocks held out, pooled and per channel.

    Parameters
    ----------
    session : Session
        What was fitted.
    baselines : mapping of str to RidgeBaseline
        Fitted on the same session.
    field_nmse : ndarray, shape (n_targets,)
        Error of the field at each target over its power.
    protocol : str
        How that was found.
    left_out : LeftOutScores, optional
        What to expect at electrodes nobody wore.

    Returns
    -------
    CrossValidatedScores
        The field first, then the baselines.
    """
    targets = np.array(session.targets)
    power = sum((y**2).sum(axis=0) for _, y in session.segments)
    per_target = {
        "field": field_nmse,
        **{name: baselines[name].cv_nmse for name in ("lagged_ridge", "ridge")},
        **_spatial_errors(session),
    }
    unseen = np.isin(targets, session.unseen)
    total = float(power[[*targets, *session.ld]].sum())
    labels = [session.montage.labels[i] for i in targets]
    return CrossValidatedScores(
        protocol=protocol,
        methods={
            name: MethodScore(
                nmse_unseen=_pooled(error[unseen], power[targets[unseen]]),
                nmse_all=float((error * power[targets]).sum()) / total,
            )
            for name, error in per_target.items()
        },
        per_channel={a: round(float(e), 6) for a, e in zip(labels, field_nmse, strict=True)},
        left_out=left_out,
    )


def _pooled(error: FloatArray, power: FloatArray) -> float:
    return float((error * power).sum() / power.sum())


def _spatial_errors(session: Session) -> dict[str, FloatArray]:
    """Error of each target over its power; these methods learn nothing from the targets."""
    positions = session.montage.positions_mm
    ld, targets = list(session.ld), list(session.targets)
    matrices = spatial_matrices(positions[ld], positions[targets], session.covariance)
    power = sum((y[:, targets] ** 2).sum(axis=0) for _, y in session.segments)
    return {
        name: sum(
            ((y[:, targets] - y[:, ld] @ matrix.T) ** 2).sum(axis=0) for _, y in session.segments
        )
        / power
        for name, matrix in matrices.items()
    }
