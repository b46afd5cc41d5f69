"""From a fitted calibrator to a bundle."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from calibration.fitted import Fitted
from calibration.regression.gram_matrices import RidgeBaseline
from calibration.session.segments import Session
from emag_rt import __version__
from emag_rt.array_types import FloatArray
from emag_rt.bundle import (
    Baseline,
    Bundle,
    Electrode,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
)
from emag_rt.bundle.graph import build_graph
from emag_rt.core.folding import fold

_PACKAGES = ("numpy", "scipy", "mne", "torch")


def make_bundle(fitted: Fitted) -> Bundle:
    """Fold the field for its montage and write everything down.

    Parameters
    ----------
    fitted : Fitted
        After ``fit``.

    Returns
    -------
    Bundle
        Not yet saved, so without a hash.
    """
    session, model = fitted.session_, fitted.model_
    operator = fold(model, session.montage.positions_mm)
    measured = [(row, column) for column, row in enumerate(session.ld)]
    return Bundle(
        manifest=_manifest(fitted, operator.n_context),
        model=model,
        operator=operator,
        covariance=session.covariance,
        lagged_covariance=session.lagged_covariance,
        onnx=build_graph(operator, measured),
        baselines={name: _baseline(session, fitted.baselines_[name]) for name in fitted.baselines_},
    )


def _manifest(fitted: Fitted, n_context: int) -> Manifest:
    session, model, settings = fitted.session_, fitted.model_, fitted.settings
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
        hd=_rendered(session, fitted.scores_),
        head=HeadSphere(origin_mm=_point(session.origin_mm), radius_mm=session.radius_mm),
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
        calibration=_calibration(fitted),
        scores=fitted.scores_,
        provenance=provenance([(r.path, r.sha256) for r in session.recordings]),
    )


def _electrode(session: Session, row: int) -> Electrode:
    return Electrode(
        label=session.montage.labels[row], position_mm=_point(session.montage.positions_mm[row])
    )


def _rendered(session: Session, scores: dict[str, Any]) -> list[RenderedElectrode]:
    expected = scores["per_channel"]
    return [
        RenderedElectrode(
            label=label,
            position_mm=_point(position),
            origin="measured" if row in session.ld else "rendered",
            bad=row in session.bad,
            expected_nmse=expected.get(label),
        )
        for row, (label, position) in enumerate(
            zip(session.montage.labels, session.montage.positions_mm, strict=True)
        )
    ]


def _point(values: FloatArray) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 6) for v in values)
    return x, y, z


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


def _calibration(fitted: Fitted) -> dict[str, Any]:
    session, settings = fitted.session_, fitted.settings
    stage: dict[str, Any] = {
        "duration_s": round(session.duration_s, 2),
        "bad": [session.montage.labels[i] for i in session.bad],
        "bridged": [session.montage.labels[i] for i in session.bridged],
        "method": settings.method,
        "width_mm": fitted.width_mm if fitted.model_.forward is None else None,
        "seed": settings.seed,
        "refine": settings.refine and settings.method != "paper",
        "seconds": fitted.timings_,
        "notes": fitted.notes_,
    }
    if fitted.linear_ is not None:
        stage["closed_form"] = {"bank": fitted.linear_.bank, "gamma": list(fitted.linear_.gamma)}
    residual = fitted.residual_
    stage["residual"] = None if residual is None else {"fold_ratios": list(residual.split_ratios)}
    if fitted.paper_ is not None:
        stage["paper"] = fitted.paper_.report
    refinement = fitted.refinement_
    stage["refinement"] = None if refinement is None else refinement.report
    return stage


def provenance(inputs: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    """Where a bundle comes from, for its manifest.

    Parameters
    ----------
    inputs : sequence of (Path, str)
        Files it was made from, and their SHA-256.

    Returns
    -------
    dict
        ``inputs``, ``versions`` and ``git_commit``.
    """
    versions = {"emag_rt": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        # Names only: a path would tell who recorded where.
        "inputs": [{"file": path.name, "sha256": digest} for path, digest in inputs],
        "versions": versions,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Commit of this source tree; None where it is an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
