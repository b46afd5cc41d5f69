"""Scores of the field beside the baselines, on blocks of time that no fit has seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibration.baselines.spatial import spatial_matrices
from calibration.fitted import Fitted
from calibration.session.segments import Session
from emag_rt.array_types import FloatArray


def cross_validated_scores(fitted: Fitted) -> dict[str, Any]:
    """Held-out NMSE of every method, pooled and per channel.

    Parameters
    ----------
    fitted : Fitted
        With session, baselines and field.

    Returns
    -------
    dict
        ``protocol``, ``methods`` (name to ``nmse_unseen`` and ``nmse_all``) and
        ``per_channel`` (label to the field's NMSE, targets only).
    """
    session = fitted.session_
    targets = np.array(session.targets)
    power = sum((y**2).sum(axis=0) for _, y in session.segments)
    per_target = {
        "field": _field_error(fitted),
        "lagged_ridge": fitted.baselines_["lagged_ridge"].cv_nmse,
        "ridge": fitted.baselines_["ridge"].cv_nmse,
        **_spatial_errors(session),
    }
    unseen = np.isin(targets, session.unseen)
    total = float(power[[*targets, *session.ld]].sum())
    methods = {
        name: {
            "nmse_unseen": _pooled(error[unseen], power[targets[unseen]]),
            "nmse_all": float((error * power[targets]).sum()) / total,
        }
        for name, error in per_target.items()
    }
    labels = [session.montage.labels[i] for i in targets]
    field = per_target["field"]
    return {
        "protocol": _protocol(fitted),
        "methods": methods,
        "per_channel": {a: round(float(e), 6) for a, e in zip(labels, field, strict=True)},
    }


def _protocol(fitted: Fitted) -> str:
    if fitted.paper_ is None:
        return "cross-validated on blocks of time within the session"
    return (
        "blocks of time within the session: the field on one split, which also chose its epochs, "
        "the others cross-validated"
    )


def _pooled(error: FloatArray, power: FloatArray) -> float:
    return float((error * power).sum() / power.sum())


def _field_error(fitted: Fitted) -> FloatArray:
    """Error of each target over its power: closed form, times what the residual left of it."""
    if fitted.paper_ is not None:
        return fitted.paper_.cv_nmse[: len(fitted.session_.targets)]
    if fitted.linear_ is None:
        assert fitted.window_ is not None
        return fitted.window_.cv_nmse
    error = fitted.linear_.cv_nmse
    if fitted.residual_ is not None:
        error = error * float(np.mean(fitted.residual_.split_ratios))
    if fitted.refinement_ is not None:
        error = error * fitted.refinement_.validation_ratio
    return error


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
