"""What a report is made from: the session, the truth, and what each method makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from calibration.field_fits import StreamField
from calibration.population.people import population_names
from calibration.population.session_prior import session_people
from calibration.regression.blocks import Block, Segment, make_blocks
from calibration.regression.closed_form import LinearFit, fit_linear
from calibration.regression.priors import session_prior
from calibration.regression.profiles import DELAY_WIDTH, Bank, candidate_banks
from calibration.result import Calibration
from calibration.scores.held_out import Estimates, estimate_recording, usable_rows
from calibration.session.segments import Session, make_session, stretches
from calibration.settings.calibration_settings import NO_PRIOR, SETTLE_S, CalibrationSettings
from emag_rt.array_types import Float32Array, IndexArray
from emag_rt.bundle import Bundle
from emag_rt.core.labels import canonical
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import RecordingError
from emag_rt.recordings.read import Recording, read_recording

SHOWN = ("field", "lagged_ridge", "ridge", "spherical_spline")
"""Methods of the report, best expected first."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a report is made from.

    Attributes
    ----------
    bundle : Bundle
        The calibrated subject.
    sha256 : str
        Of the bundle's file.
    session : Session
        The recordings, prepared as for calibration.
    labels : tuple of str
        Rendered channels that were good: the columns of what follows.
    unseen : tuple of int
        Columns that are not bridged to an LD channel.
    truth : ndarray, shape (n_times, n_channels), float32
        In µV relative to the LD mean.
    methods : dict of str to ndarray, shape (n_times, n_channels), float32
        What the methods of ``SHOWN`` make of the LD channels; ``field`` is absent where nothing
        unseen by it can be had (a field of windows, or the paper's, on its own recordings).
    worn : dict of str to ndarray, shape (n_times,)
        The good LD channels, as measured, in the unit of the truth.
    samples : ndarray of int, shape (n_times, 2)
        Which recording of the session each row is of, and which sample of it.
    held_out : bool
        True when the recordings are not those of the calibration.
    misfits : tuple of str
        How LD does not fit the bundle in those; empty where it does.
    missing_people : str
        Whom the bundle leans on and ``field`` does not: their file is a user's own.
    """

    bundle: Bundle
    sha256: str
    session: Session
    labels: tuple[str, ...]
    unseen: tuple[int, ...]
    truth: Float32Array
    methods: dict[str, Float32Array]
    worn: dict[str, Float32Array]
    samples: IndexArray
    held_out: bool
    misfits: tuple[str, ...] = ()
    missing_people: str = ""

    @property
    def sfreq(self) -> float:
        """Rate in Hz."""
        return self.session.sfreq

    @property
    def left_by_networks(self) -> float:
        """Error of the whole field over that of its closed form, 1 without networks."""
        stage = self.bundle.manifest.calibration
        left = 1.0
        residual, refinement = stage.get("residual"), stage.get("refinement")
        if isinstance(residual, dict) and residual.get("fold_ratios"):
            left *= float(np.mean(residual["fold_ratios"]))
        if isinstance(refinement, dict):
            left *= float(refinement.get("validation_ratio", 1.0))
        return left


def from_calibration(calibration: Calibration, sha256: str) -> Evidence:
    """Evidence from a calibration that has just been made.

    Parameters
    ----------
    calibration : Calibration
        What it gave.
    sha256 : str
        Of the bundle's file.

    Returns
    -------
    Evidence
        Every sample by a closed form that has not seen its split.
    """
    field = calibration.field
    linear = field.linear if isinstance(field, StreamField) else None
    settle_s = calibration.settings.settle_s
    return _cross_validated(calibration.session, linear, calibration.bundle, sha256, settle_s)


def from_recordings(bundle: Bundle, paths: Sequence[str | Path]) -> Evidence:
    """Evidence from a bundle and recordings: unseen ones, if any, else the calibration's own.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject, loaded from its file.
    paths : sequence of path-like
        HD recordings of the same subject and cap.

    Returns
    -------
    Evidence
        Recordings that calibration has not seen are rendered by the bundle's own engine; where
        there is none, the closed form is fitted again for cross-validation.

    Raises
    ------
    EmagError
        If the recordings cannot be read or do not fit the bundle.
    """
    manifest = bundle.manifest
    recordings = [read_recording(path, sfreq=manifest.sfreq) for path in paths]
    new = [r for r in recordings if r.sha256 not in manifest.input_hashes]
    settings = CalibrationSettings(
        band_hz=manifest.frontend.band_hz, look_ahead_s=manifest.look_ahead_s
    )
    session = make_session(new or recordings, manifest.ld_montage.labels, settings)
    if new:
        return _held_out(session, bundle, new)
    linear, missing = None, ""
    if manifest.anchor == "stream":
        prior, missing = _prior_of(bundle)
        people, _ = session_people(session, replace(settings, prior=prior))
        linear = fit_linear(
            session.target_segments,
            session.sfreq,
            _ahead(bundle),
            prior=session_prior(session),
            people=people,
        )
    found = _cross_validated(session, linear, bundle, bundle.sha256, settings.settle_s)
    return replace(found, missing_people=missing)


def _prior_of(bundle: Bundle) -> tuple[str, str]:
    """The population that a bundle leans on, and who is missing where the package lacks it."""
    prior = bundle.manifest.calibration.get("prior")
    if not isinstance(prior, dict):
        return NO_PRIOR, ""
    if prior.get("name") in population_names():
        return prior["name"], ""
    who = f"{prior.get('n_people')} other people ({prior.get('name')})"
    return NO_PRIOR, who if prior.get("counts_as_s") else ""


def _ahead(bundle: Bundle) -> int:
    return bundle.manifest.look_ahead_samples


def ridge_fit(
    segments: Sequence[Segment], sfreq: float, ahead: int, blocks: Sequence[Block], n_lags: int = 16
) -> LinearFit:
    """Ridge on the present sample, or on 16 lags and the look-ahead, with its splits' fits."""
    bank = candidate_banks(sfreq, ahead)[0]
    if n_lags == 1:
        bank = Bank("present", np.zeros(1), np.array([DELAY_WIDTH / sfreq]))
    return fit_linear(segments, sfreq, ahead, banks=[bank], gammas=(0.0,), blocks=blocks)


def _cross_validated(
    session: Session, linear: LinearFit | None, bundle: Bundle, sha256: str, settle_s: float
) -> Evidence:
    segments = session.target_segments
    blocks = linear.blocks if linear is not None else make_blocks([len(x) for x, _ in segments])
    fits: dict[str, LinearFit] = {} if linear is None else {"field": linear}
    for name, n_lags in (("lagged_ridge", 16), ("ridge", 1)):
        ahead = 0 if n_lags == 1 else _ahead(bundle)
        fits[name] = ridge_fit(segments, session.sfreq, ahead, blocks, n_lags)
    methods = {name: _joined(fit.predict_held_out(segments)) for name, fit in fits.items()}
    positions = session.montage.positions_mm
    spline = spherical_spline(positions[list(session.ld)], positions[list(session.targets)])
    ld_uv = [x * session.scale_uv for x, _ in segments]
    methods["spherical_spline"] = _joined([x @ spline.T for x in ld_uv])
    return Evidence(
        bundle=bundle,
        sha256=sha256,
        session=session,
        labels=tuple(session.montage.labels[i] for i in session.targets),
        unseen=tuple(session.targets.index(i) for i in session.unseen),
        truth=_joined([y for _, y in segments]),
        methods=methods,
        worn={
            session.montage.labels[i]: _joined([y[:, i] for _, y in session.segments])
            for i in session.ld
        },
        samples=_numbered(
            [
                np.concatenate(
                    [np.arange(a, b) for _, a, b in stretches(r, session.sfreq, settle_s)]
                )
                for r in session.recordings
            ]
        ),
        held_out=False,
    )


def _joined(parts: Sequence[ArrayLike]) -> Float32Array:
    # Single precision: a long session of a dense cap holds five such arrays.
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])


def _numbered(rows: Sequence[IndexArray]) -> IndexArray:
    return np.concatenate([np.column_stack([np.full(len(r), i), r]) for i, r in enumerate(rows)])


def _held_out(session: Session, bundle: Bundle, recordings: Sequence[Recording]) -> Evidence:
    good = [session.montage.labels[i] for i in (*session.targets, *session.ld)]
    found = [estimate_recording(bundle, r, only=good) for r in recordings]
    keys = [[canonical(label) for label in each.labels] for each in found]
    ld = {canonical(e.label) for e in bundle.manifest.ld}
    shared = [k for k in keys[0] if k not in ld and all(k in other for other in keys)]
    hidden = [
        k
        for k in shared
        if all(of.index(k) in each.unseen for of, each in zip(keys, found, strict=True))
    ]
    if not hidden:
        raise RecordingError(
            "recordings must share at least one good rendered channel to score, got none. "
            "Report on them one by one."
        )
    columns = [[of.index(k) for k in shared] for of in keys]
    names = [name for name in SHOWN if all(name in each.methods for each in found)]
    return Evidence(
        bundle=bundle,
        sha256=bundle.sha256,
        session=session,
        labels=tuple(found[0].labels[i] for i in columns[0]),
        unseen=tuple(shared.index(k) for k in hidden),
        truth=_picked(found, columns, None),
        methods={name: _picked(found, columns, name) for name in names},
        worn={
            e.label: _joined(
                [each.truth[:, of.index(k)] for each, of in zip(found, keys, strict=True)]
            )
            for e in bundle.manifest.ld
            if all((k := canonical(e.label)) in of for of in keys)
        },
        samples=_numbered([usable_rows(r, SETTLE_S) for r in recordings]),
        held_out=True,
        misfits=tuple(dict.fromkeys(text for each in found for text in each.misfits)),
    )


def _picked(
    found: Sequence[Estimates], columns: Sequence[list[int]], name: str | None
) -> Float32Array:
    pairs = zip(found, columns, strict=True)
    return _joined(
        [(each.truth if name is None else each.methods[name])[:, at] for each, at in pairs]
    )
