"""The calibration as an estimator: ``fit``, then the result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from calibration.bundling import make_bundle
from calibration.field.model import left_out_scores
from calibration.field_fits import CalibratedField, StreamField
from calibration.paper.training import require_torch
from calibration.residual.unfinished import UnfinishedTraining
from calibration.result import Calibration
from calibration.scores.cross_validated import cross_validated_scores
from calibration.session.segments import Session, open_session
from calibration.settings.calibration_settings import CalibrationSettings
from calibration.stages import (
    Progress,
    Stopwatch,
    correct_by_others,
    fit_baselines,
    fit_closed_form,
    fit_paper_field,
    fit_window_field,
    others_network,
    refine,
    unfinished_training,
    why_not_refined,
)
from emag_rt.bundle import save_bundle
from emag_rt.errors import CalibrationError
from emag_rt.recordings.read import Recording

log = logging.getLogger(__name__)


class FieldCalibrator:
    """Fits a subject's field.

    Parameters
    ----------
    ld : int or sequence of str
        LD channels: how many, spread evenly, or their labels.
    settings : CalibrationSettings, optional
        Everything else.
    progress : callable, optional
        Called with the share done (0 to 1) and what is being done.
    unfinished : path-like, optional
        File where unfinished training is kept, so that the same calibration, interrupted and
        started again, goes on from there. :meth:`save` removes it.

    Attributes
    ----------
    result_ : Calibration
        All that the last :meth:`fit` gave: field, session, baselines, scores, bundle.

    Examples
    --------
    >>> calibrator = FieldCalibrator(ld=16).fit(["hd_raw.fif"])  # doctest: +SKIP
    >>> calibrator.save("s01.emag")                              # doctest: +SKIP
    """

    result_: Calibration

    def __init__(
        self,
        ld: int | Sequence[str] = 16,
        settings: CalibrationSettings | None = None,
        progress: Progress | None = None,
        unfinished: str | Path | None = None,
    ) -> None:
        self.ld = ld
        self.settings = settings or CalibrationSettings()
        self._progress = progress or (lambda _share, _what: None)
        self._unfinished_path = None if unfinished is None else Path(unfinished)
        self._unfinished: UnfinishedTraining | None = None

    def fit(self, recordings: Sequence[str | Path | Recording]) -> Self:
        """Calibrate on HD recordings of one subject.

        Parameters
        ----------
        recordings : sequence of path-like or Recording
            Files that MNE reads, or recordings already read.

        Returns
        -------
        FieldCalibrator
            Itself, with :attr:`result_`.

        Raises
        ------
        EmagError
            If the session cannot be calibrated as asked; the message says what to do.
        """
        settings, watch = self.settings, Stopwatch(self._progress)
        self._unfinished = None
        if settings.method == "paper":
            require_torch()
        with watch.stage("read", 0.0, "reading"):
            session = open_session(recordings, self.ld, settings)
        _require_samples_ahead(settings, session.sfreq)
        with watch.stage("baselines", 0.05, "baselines"):
            baselines = fit_baselines(session, settings)
        field = self._fit_field(session, watch)
        notes = (*session.warnings, *field.notes)
        with watch.stage("scores", 0.96, "scores"):
            left_out = None
            if isinstance(field, StreamField):
                left_out = left_out_scores(session, field.start)
                notes += field.leaning
            scores = cross_validated_scores(
                session, baselines, field.cv_nmse, field.protocol, left_out
            )
        with watch.stage("bundle", 0.98, "folding"):
            bundle = make_bundle(
                session,
                settings,
                field,
                baselines=baselines,
                scores=scores,
                seconds=watch.seconds,
                notes=notes,
            )
        self.result_ = Calibration(
            settings, session, baselines, field, scores, bundle, watch.seconds, notes
        )
        self._progress(1.0, "done")
        return self

    def save(self, path: str | Path) -> str:
        """Write the bundle; returns its SHA-256. Unfinished training is then forgotten."""
        digest = save_bundle(self.result_.bundle, path)
        if self._unfinished is not None:
            self._unfinished.remove()
        return digest

    @property
    def unfinished(self) -> Path | None:
        """File that the training of an interrupted :meth:`fit` goes on from, if there is one."""
        kept = self._unfinished
        return kept.path if kept is not None and kept.used and kept.path.exists() else None

    def _fit_field(self, session: Session, watch: Stopwatch) -> CalibratedField:
        settings = self.settings
        if settings.method == "paper":
            return fit_paper_field(session, settings, watch)
        if settings.anchor == "window":
            return fit_window_field(session, settings, watch)
        closed = fit_closed_form(session, settings, watch)
        if not settings.refine:
            return closed
        reason = why_not_refined(session)
        if reason is not None:
            log.warning(reason)
            closed = replace(closed, notes=(*closed.notes, reason))
            with watch.stage("others_network", 0.8, "the network of many people"):
                return correct_by_others(closed, session, others_network(closed, session, settings))
        if self._unfinished_path is not None:
            self._unfinished = unfinished_training(self._unfinished_path, session, settings)
        return refine(closed, session, settings, watch, self._unfinished)


def _require_samples_ahead(settings: CalibrationSettings, sfreq: float) -> None:
    asked = settings.look_ahead_s
    if asked > 0 and settings.n_look_ahead(sfreq) == 0:
        raise CalibrationError(
            f"--look-ahead-s must be at least one sample ({1 / sfreq:.4g} s), or 0, got {asked:g}."
        )
