"""Scores of the field beside the baselines, on blocks of time that no fit has seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.fitted import Fitted
from calibration.session import Session
from emag_rt.core.spline import spherical_spline

FloatArray = NDArray[np.float64]


def cross_validated_scores(fitted: Fitted) -> dict[str, Any]:
    """Out-of-fold NMSE of every method, pooled and per channel.

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
        "spherical_spline": _spline_error(session),
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
        "protocol": "cross-validated on blocks of time within the session",
        "methods": methods,
        "per_channel": {a: round(float(e), 6) for a, e in zip(labels, field, strict=True)},
    }


def _pooled(error: FloatArray, power: FloatArray) -> float:
    return float((error * power).sum() / power.sum())


def _field_error(fitted: Fitted) -> FloatArray:
    """Error of each target over its power: closed form, times what the residual left of it."""
    if fitted.linear_ is None:
        assert fitted.window_ is not None
        return fitted.window_.cv_nmse
    error = fitted.linear_.cv_nmse
    if fitted.residual_ is not None:
        error = error * float(np.mean(fitted.residual_.fold_ratios))
    if fitted.refinement_ is not None:
        error = error * fitted.refinement_.validation_ratio
    return error


def _spline_error(session: Session) -> FloatArray:
    positions = session.montage.positions_mm
    ld, targets = list(session.ld), list(session.targets)
    matrix = spherical_spline(positions[ld], positions[targets])
    error = np.zeros(len(targets))
    power = np.zeros(len(targets))
    for _, y in session.segments:
        error += ((y[:, targets] - y[:, ld] @ matrix.T) ** 2).sum(axis=0)
        power += (y[:, targets] ** 2).sum(axis=0)
    return error / power
