"""From what a calibration gave to a bundle."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from calibration.baselines.ridge import RidgeBaseline
from calibration.field_fits import CalibratedField, StreamField
from calibration.provenance import provenance
from calibration.regression.cross_spectra import fit_cross_spectra
from calibration.regression.output_statistics import fit_output_statistics
from calibration.regression.sources import hd_bands
from calibration.scores.cross_validated import CrossValidatedScores
from calibration.session.segments import Session
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.bundle import (
    Baseline,
    Bundle,
    Electrode,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
    point_mm,
)
from emag_rt.core.cross_spectra import CrossSpectra
from emag_rt.core.folding import fold
from emag_rt.core.ld_bands import band_edges, mean_bands
from emag_rt.core.output_statistics import OutputStatistics


def make_bundle(
    session: Session,
    settings: CalibrationSettings,
    field: CalibratedField,
    *,
    baselines: Mapping[str, RidgeBaseline],
    scores: CrossValidatedScores,
    seconds: Mapping[str, float],
    notes: Sequence[str],
) -> Bundle:
    """Fold the field for its montage and write everything down.

    Parameters
    ----------
    session : Session
        What was fitted.
    settings : CalibrationSettings
        As it was asked for.
    field : StreamField, WindowField or PaperField
        What was fitted to it.
    baselines : mapping of str to RidgeBaseline
        Kept beside the field, to be evaluated with it.
    scores : CrossValidatedScores
        Of all of them.
    seconds : mapping of str to float
        That each stage took.
    notes : sequence of str
        What the user should know.

    Returns
    -------
    Bundle
        Not yet saved, so without a hash.
    """
    operator = fold(field.model, session.montage.positions_mm)
    facts = {
        "duration_s": round(session.duration_s, 2),
        "bad": [session.montage.labels[i] for i in session.bad],
        "bridged": [session.montage.labels[i] for i in session.bridged],
        "method": settings.method,
        "reference": _declared_reference(session),
        "seed": settings.seed,
        "refine": settings.refine and settings.method != "paper",
        "seconds": dict(seconds),
        "notes": list(notes),
        **field.facts(),
    }
    return Bundle(
        manifest=_manifest(session, settings, field, operator.n_context, facts, scores),
        model=field.model,
        operator=operator,
        covariance=session.covariance,
        lagged_covariance=session.lagged_covariance,
        **_beside_the_truth(session, settings, field),
        ld_bands=mean_bands(
            [y[:, list(session.ld)] for _, y in session.segments],
            band_edges(settings.band_hz, session.sfreq),
            session.sfreq,
        ),
        hd_bands=hd_bands(
            [y for _, y in session.segments], session.bad, settings.band_hz, session.sfreq
        ),
        baselines={name: _baseline(session, ridge) for name, ridge in baselines.items()},
    )


class _BesideTheTruth(TypedDict, total=False):
    statistics: OutputStatistics
    cross_spectra: CrossSpectra


def _beside_the_truth(
    session: Session, settings: CalibrationSettings, field: CalibratedField
) -> _BesideTheTruth:
    """From renderings that did not see their block; other anchors have none."""
    if not isinstance(field, StreamField):
        return {}
    segments, linear = session.target_segments, field.linear
    held_out = linear.predict_held_out(segments)
    left = min(1.0, float(field.cv_nmse.sum() / linear.cv_nmse.sum()))
    good = [row for row in range(len(session.montage)) if row not in session.bad]
    measured = [y for _, y in session.segments]
    rendered = [y.copy() for y in measured]
    for whole, targets in zip(rendered, held_out, strict=True):
        whole[:, list(session.targets)] = targets
    return {
        "statistics": fit_output_statistics(
            segments, held_out, session.targets, len(session.montage), left
        ),
        "cross_spectra": fit_cross_spectra(
            [y[:, good] for y in measured],
            [z[:, good] for z in rendered],
            session.sfreq,
            settings.band_hz[1],
            left,
        ),
    }


def _manifest(
    session: Session,
    settings: CalibrationSettings,
    field: CalibratedField,
    n_context: int,
    facts: dict[str, object],
    scores: CrossValidatedScores,
) -> Manifest:
    model = field.model
    hidden = model.drive.hidden
    return Manifest(
        name=session.recordings[0].path.stem,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        sfreq=session.sfreq,
        anchor=model.anchor,
        n_lags=model.n_lags,
        n_window=model.n_window,
        look_ahead_samples=model.look_ahead,
        look_ahead_s=model.look_ahead / session.sfreq,
        ld=[_electrode(session, row) for row in session.ld],
        hd=_rendered(session, scores),
        head=HeadSphere(origin_mm=point_mm(session.origin_mm), radius_mm=session.radius_mm),
        frontend=FrontEndManifest(
            band_hz=settings.band_hz, sos=[[float(v) for v in row] for row in session.sos]
        ),
        render={
            "input": "LD channels after frontend.sos, in µV, in the input's reference; "
            "(n_context + n_times, n_ld), float32",
            "output": "HD channels in µV in the same reference, measured ones passed through; "
            "row i belongs to input row i + n_context - look_ahead_samples",
            "n_context": n_context,
            "activation": hidden.activation if hidden is not None else "gelu",
        },
        calibration=facts,
        scores=scores.as_dict(),
        provenance=provenance([(r.path, r.sha256) for r in session.recordings]),
    )


def _declared_reference(session: Session) -> str:
    """That of all recordings; empty where they do not declare it, or not the same."""
    found = {recording.reference for recording in session.recordings}
    return found.pop() if len(found) == 1 else ""


def _electrode(session: Session, row: int) -> Electrode:
    return Electrode(
        label=session.montage.labels[row], position_mm=point_mm(session.montage.positions_mm[row])
    )


def _rendered(session: Session, scores: CrossValidatedScores) -> list[RenderedElectrode]:
    return [
        RenderedElectrode(
            label=label,
            position_mm=point_mm(position),
            origin="measured" if row in session.ld else "rendered",
            bad=row in session.bad,
            expected_nmse=scores.per_channel.get(label),
        )
        for row, (label, position) in enumerate(
            zip(session.montage.labels, session.montage.positions_mm, strict=True)
        )
    ]


def _baseline(session: Session, ridge: RidgeBaseline) -> Baseline:
    """On all HD channels: targets as fitted, LD as they are, bad ones left at 0."""
    n_lags, n_ld, _ = ridge.weights.shape
    weights = np.zeros((n_lags, n_ld, len(session.montage)))
    bias = np.zeros(len(session.montage))
    targets = list(session.targets)
    weights[:, :, targets] = ridge.weights
    bias[targets] = ridge.bias
    for column, row in enumerate(session.ld):
        weights[ridge.n_look_ahead, column, row] = session.scale_uv[column]
    return Baseline(weights, bias)
