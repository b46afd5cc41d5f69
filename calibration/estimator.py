"""The calibration as an estimator: ``fit``, then fitted attributes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from calibration.export import make_bundle
from calibration.field.model import (
    choose_start,
    grid_for,
    known_rows,
    left_out_scores,
    linear_readout,
    stream_model,
    window_model,
)
from calibration.field.refinement import Refinement, refine_field
from calibration.paper.export import fit_session
from calibration.paper.training import PaperFit, require_torch
from calibration.regression.blocks import make_blocks
from calibration.regression.closed_form import LinearFit, fit_linear
from calibration.regression.gram_matrices import RidgeBaseline, fit_ridge
from calibration.regression.priors import session_prior
from calibration.regression.profiles import candidate_banks, n_lags_of
from calibration.regression.window_closed_form import WindowFit, fit_window
from calibration.residual.bag import LEAST_S, ResidualNet, fit_residual
from calibration.residual.task import ResidualSettings
from calibration.residual.unfinished import UnfinishedTraining, fingerprint
from calibration.scores.cross_validated import cross_validated_scores
from calibration.session.segments import Session, make_session, open_session
from calibration.settings import CalibrationSettings
from emag_rt import __version__
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, save_bundle
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError
from emag_rt.recordings.read import Recording

log = logging.getLogger(__name__)
T = TypeVar("T")
Progress = Callable[[float, str], None]
N_BASELINE_LAGS = 16


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
    partial : path-like, optional
        File where unfinished training is kept, so that the same calibration, interrupted and
        started again, goes on from there. :meth:`save` removes it.

    Attributes
    ----------
    session_ : Session
        What was fitted.
    linear_ : LinearFit or None
        Closed-form start (``stream``).
    window_ : WindowFit or None
        Closed-form start (``window``).
    start_ : SpatialStart
        Width of the Gaussians, and the solver that goes with it.
    residual_ : ResidualNet or None
        Non-linear branch; None where it did not help, or without torch.
    refinement_ : Refinement or None
        What the gradient steps on the Gaussians gave.
    paper_ : PaperFit or None
        The paper's model, with ``method="paper"``; ``start_`` is then absent.
    model_ : FieldModel
        The field.
    baselines_ : dict of str to RidgeBaseline
        ``ridge`` and ``lagged_ridge``.
    scores_ : dict
        Cross-validated scores beside the baselines'.
    notes_ : list of str
        What the user should know.
    timings_ : dict of str to float
        Seconds each stage took.
    bundle_ : Bundle
        Ready to save or serve.

    Examples
    --------
    >>> calibrator = FieldCalibrator(ld=16).fit(["hd_raw.fif"])  # doctest: +SKIP
    >>> calibrator.save("s01.emag")                              # doctest: +SKIP
    """

    def __init__(
        self,
        ld: int | Sequence[str] = 16,
        settings: CalibrationSettings | None = None,
        progress: Progress | None = None,
        partial: str | Path | None = None,
    ) -> None:
        self.ld = ld
        self._partial_path = None if partial is None else Path(partial)
        self.settings = settings or CalibrationSettings()
        self._progress = progress or (lambda _share, _what: None)

    def fit(self, recordings: Sequence[str | Path | Recording]) -> Self:
        """Calibrate on HD recordings of one subject.

        Parameters
        ----------
        recordings : sequence of path-like or Recording
            Files that MNE reads, or recordings already read.

        Returns
        -------
        FieldCalibrator
            Itself, fitted.

        Raises
        ------
        EmagError
            If the session cannot be calibrated as asked; the message says what to do.
        """
        if self.settings.method == "paper":
            require_torch()
        self.timings_: dict[str, float] = {}
        self.session_ = self._timed("read", 0.0, "reading", lambda: self._open(recordings))
        self._check_look_ahead()
        self.targets_ = self._targets()
        self._timed("baselines", 0.05, "baselines", self._fit_baselines)
        self.linear_: LinearFit | None = None
        self.window_: WindowFit | None = None
        self.residual_: ResidualNet | None = None
        self.refinement_: Refinement | None = None
        self.partial_: UnfinishedTraining | None = None
        self.paper_: PaperFit | None = None
        self.notes_: list[str] = list(self.session_.warnings)
        if self.settings.method == "paper":
            self._fit_paper()
        elif self.settings.anchor == "stream":
            self._fit_stream()
        else:
            self._fit_window()
        self.scores_ = self._timed("scores", 0.96, "scores", self._score)
        self.bundle_: Bundle = self._timed("export", 0.98, "folding", lambda: make_bundle(self))
        self._progress(1.0, "done")
        return self

    def save(self, path: str | Path) -> str:
        """Write the bundle; returns its SHA-256. Unfinished work is then forgotten."""
        digest = save_bundle(self.bundle_, path)
        if self.partial_ is not None:
            self.partial_.remove()
        return digest

    @property
    def width_mm(self) -> float:
        """Spatial width of the Gaussians, the median where they differ."""
        return self.start_.width_mm if self.paper_ is None else self.paper_.width_mm

    @property
    def n_look_ahead(self) -> int:
        """Samples waited for."""
        return round(self.settings.look_ahead_s * self.session_.sfreq)

    @property
    def n_window(self) -> int:
        """Samples in a window."""
        return max(2, round(self.settings.window_s * self.session_.sfreq))

    def _open(self, recordings: Sequence[str | Path | Recording]) -> Session:
        ready = [r for r in recordings if isinstance(r, Recording)]
        if ready and len(ready) == len(recordings):
            return make_session(ready, self.ld, self.settings)
        paths = [r for r in recordings if not isinstance(r, Recording)]
        if ready:
            raise CalibrationError("recordings must be all paths, or all read already; got both.")
        return open_session(paths, self.ld, self.settings)

    def _check_look_ahead(self) -> None:
        asked = self.settings.look_ahead_s
        if asked > 0 and self.n_look_ahead == 0:
            raise CalibrationError(
                f"--look-ahead-s must be at least one sample ({1 / self.session_.sfreq:.4g} s), "
                f"or 0, got {asked:g}."
            )

    def _targets(self) -> list[tuple[FloatArray, FloatArray]]:
        rows = list(self.session_.targets)
        return [(x, y[:, rows]) for x, y in self.session_.segments]

    def _fit_baselines(self) -> None:
        blocks = make_blocks([len(x) for x, _ in self.targets_])
        lags = {"ridge": 1, "lagged_ridge": N_BASELINE_LAGS}
        sfreq, ahead = self.session_.sfreq, self.n_look_ahead
        guard = max(n_lags_of(bank, sfreq, ahead) for bank in candidate_banks(sfreq, ahead))
        # Ridge alone sees the present sample only, whatever the look-ahead.
        self.baselines_: dict[str, RidgeBaseline] = {
            name: fit_ridge(self.targets_, n, 0 if n == 1 else ahead, blocks, guard)
            for name, n in lags.items()
        }

    def _fit_stream(self) -> None:
        session, settings = self.session_, self.settings
        linear = self._timed(
            "closed_form",
            0.1,
            "closed-form start",
            lambda: fit_linear(
                self.targets_, session.sfreq, self.n_look_ahead, prior=session_prior(session)
            ),
        )
        self.linear_ = linear
        self.start_ = self._timed(
            "spatial",
            0.25,
            "widths of the Gaussians",
            lambda: choose_start(session, grid_for(session, settings), linear),
        )
        refined = self._can_refine()
        if refined:
            self._timed("residual", 0.3, "non-linear residual", self._fit_residual)
        self.model_: FieldModel = stream_model(session, linear, self.residual_, self.start_)
        if refined:
            self.refinement_ = self._timed("field", 0.8, "precisions", self._refine_field)

    def _refine_field(self) -> Refinement:
        session, linear = self.session_, self.linear_
        assert linear is not None
        rows = known_rows(session)
        result = refine_field(
            self.model_,
            linear_readout(session, linear, self.start_, linear.split_weights[0]),
            linear.blocks,
            [(x, y[:, rows]) for x, y in session.segments],
            session.montage.positions_mm[rows],
            seed=self.settings.seed,
            device=self._device(),
            progress=lambda share, what: self._progress(0.8 + 0.15 * share, what),
        )
        self.model_ = result.model
        return result

    def _device(self) -> str:
        if self.settings.device != "auto":
            return self.settings.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _fit_residual(self) -> None:
        assert self.linear_ is not None
        self.partial_ = self._partial()
        self.residual_ = fit_residual(
            self.targets_,
            self.linear_,
            seed=self.settings.seed,
            device=self._device(),
            progress=lambda share, what: self._progress(0.3 + 0.5 * share, what),
            unfinished=self.partial_,
        )

    def _partial(self) -> UnfinishedTraining | None:
        if self._partial_path is None:
            return None
        session = self.session_
        inputs = [recording.sha256 for recording in session.recordings]
        parts = (__version__, inputs, session.ld, asdict(self.settings), asdict(ResidualSettings()))
        return UnfinishedTraining(self._partial_path, fingerprint(*parts, self._device()))

    def _fit_window(self) -> None:
        session = self.session_
        window = self._timed(
            "closed_form",
            0.1,
            "closed-form start",
            lambda: fit_window(self.targets_, session.sfreq, self.n_window, self.n_look_ahead),
        )
        self.window_ = window
        centers = grid_for(session, self.settings)
        self.start_ = self._timed(
            "spatial", 0.8, "widths of the Gaussians", lambda: choose_start(session, centers)
        )
        self.model_ = window_model(session, window, self.n_window, self.n_look_ahead, self.start_)

    def _fit_paper(self) -> None:
        settings = self.settings
        self.paper_, self.model_ = self._timed(
            "paper",
            0.1,
            "the paper's model",
            lambda: fit_session(
                self.session_,
                settings.paper_options,
                self.n_window,
                seed=settings.seed,
                device=self._device(),
                progress=lambda share, what: self._progress(0.1 + 0.85 * share, what),
            ),
        )
        if not self.paper_.converged:
            self.notes_.append(
                f"the paper's model had not converged after {len(self.paper_.history) - 1} "
                "epochs: give it more with --epochs"
            )

    def _score(self) -> dict[str, Any]:
        scores = cross_validated_scores(self)
        if self.linear_ is not None:
            scores["left_out"] = left_out_scores(self.session_, self.start_)
        return scores

    def _can_refine(self) -> bool:
        if not self.settings.refine:
            return False
        note = None
        if sum(len(x) for x, _ in self.targets_) < LEAST_S * self.session_.sfreq:
            note = (
                f"less than {LEAST_S:g} s of signal: stopped after the closed-form start. "
                "Record for longer for the refined field."
            )
        elif find_spec("torch") is None:
            note = (
                "torch is not installed: stopped after the closed-form start. "
                "For the refined field: pip install 'emag-rt[calibrate]'"
            )
        if note is not None:
            self.notes_.append(note)
            log.warning(note)
        return note is None

    def _timed(self, name: str, share: float, what: str, run: Callable[[], T]) -> T:
        self._progress(share, what)
        started = time.perf_counter()
        # The eigenproblems here are small: sharing one among BLAS threads gains little on idle
        # cores and costs a factor of ten on busy ones. Torch's stages keep their threads.
        torch_runs = name in ("residual", "field", "paper")
        with threadpool_limits(None if torch_runs else 1, user_api="blas"):
            result = run()
        self.timings_[name] = round(time.perf_counter() - started, 3)
        return result
