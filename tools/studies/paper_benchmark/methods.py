"""Every method under one roof: fit on a problem's train segments, then render its test segments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from calibration.baselines.ridge import fit_ridge
from calibration.baselines.spatial import spatial_matrices
from calibration.regression.closed_form import LinearFit, fit_linear
from calibration.regression.priors import spatial_prior
from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError
from tools.studies.paper_benchmark.problem import Problem
from tools.studies.paper_benchmark.task import BenchmarkSettings

Predict = Callable[[FloatArray], FloatArray]
"""x (n_times, n_ld), scaled -> (n_times, n_targets)."""
Fit = Callable[[Problem, BenchmarkSettings], Predict]

N_LAGS = 16


def _spatial(name: str, problem: Problem, settings: BenchmarkSettings) -> Predict:
    """A matrix that only knows positions. Rows sum to 1, so references do not matter."""
    worn = np.concatenate([x for x, _ in problem.train]) * problem.scale
    covariance = np.cov(worn, rowvar=False)
    positions = problem.ld_positions_mm, problem.target_positions_mm
    matrix = spatial_matrices(*positions, covariance)[name]
    return lambda x: np.asarray((x * problem.scale) @ matrix.T)


def _ridge(problem: Problem, settings: BenchmarkSettings) -> Predict:
    return fit_ridge(problem.train, n_lags=1).predict


def _lagged_ridge(problem: Problem, settings: BenchmarkSettings) -> Predict:
    return fit_ridge(problem.train, N_LAGS, problem.n_look_ahead).predict


def _linear(problem: Problem) -> LinearFit:
    """The closed form as :class:`calibration.FieldCalibrator` makes it.

    What is believed of EEG holds relative to the mean of the worn channels, so not for z-scores.
    """
    prior = None
    if problem.relative:
        positions = problem.ld_positions_mm, problem.target_positions_mm
        prior = spatial_prior(*positions, problem.scale)
    return fit_linear(problem.train, problem.sfreq, problem.n_look_ahead, prior=prior)


def _closed_form(problem: Problem, settings: BenchmarkSettings) -> Predict:
    return _linear(problem).predict


def _refined(problem: Problem, settings: BenchmarkSettings) -> Predict:
    """Our field with everything: the calibrator itself where there are recordings.

    Windows and epochs do not fit the calibrator: there it is the closed form and the non-linear
    residual, which is all but the last, as a rule idle, steps on the Gaussians' shapes.
    """
    if problem.recordings:
        return _calibrated(problem, settings)
    from calibration.residual.bag import fit_residual

    linear = _linear(problem)
    residual = fit_residual(problem.train, linear, seed=settings.seed, device=_device())
    if residual is None:
        return linear.predict
    return lambda x: linear.predict(x) + residual.predict(x)


def _calibrated(problem: Problem, settings: BenchmarkSettings) -> Predict:
    """Calibrate as ``emag-rt calibrate`` does, and render with the packed engine."""
    from calibration import CalibrationSettings, FieldCalibrator
    from emag_rt.render.packed import PackedRenderer
    from emag_rt.render.plan import RenderPlan

    chosen = CalibrationSettings(
        band_hz=settings.band_hz,
        settle_s=settings.settle_s,
        look_ahead_s=settings.look_ahead_s,
        seed=settings.seed,
        prior="none",
    )
    bundle = FieldCalibrator(problem.ld_labels, chosen).fit(problem.recordings).result_.bundle
    rows = bundle.manifest.hd_montage.index([problem.montage.labels[i] for i in problem.targets])
    plan = RenderPlan(bundle.model, bundle.operator, bundle.manifest.hd_montage.positions_mm)
    ahead = problem.n_look_ahead

    def predict(x: FloatArray) -> FloatArray:
        # Row i of what comes out belongs to the sample `ahead` rows before.
        padded = np.concatenate([x * problem.scale, np.zeros((ahead, x.shape[1]))])
        return PackedRenderer(plan).push(padded)[ahead:, rows].astype(np.float64)

    return predict


def _paper_like(problem: Problem, settings: BenchmarkSettings) -> Predict:
    from calibration.paper.baseline import fit_paper_like
    from calibration.settings.paper_options import PaperOptions

    window_s = settings.paper_like_window_s
    longest = max(len(x) for x, _ in problem.train) / problem.sfreq
    fitted = fit_paper_like(
        problem.train,
        problem.target_positions_mm,
        problem.sfreq,
        PaperOptions(epochs=settings.paper_like_epochs),
        window_s=min(window_s, longest),
        seed=settings.seed,
        device=_device(),
    )
    return fitted.predict


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


_NEED_TORCH = ("field_refined", "paper_like")
METHODS: dict[str, Fit] = {
    "spherical_spline": functools.partial(_spatial, "spherical_spline"),
    "minimum_norm": functools.partial(_spatial, "minimum_norm"),
    "field_interpolation": functools.partial(_spatial, "field_interpolation"),
    "ridge": _ridge,
    "lagged_ridge": _lagged_ridge,
    "field_closed_form": _closed_form,
    "field_refined": _refined,
    "paper_like": _paper_like,
}
CLOSED_FORM_METHODS = tuple(name for name in METHODS if name not in _NEED_TORCH)


def check_methods(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse unknown methods, and those that cannot run here, before anything runs.

    Raises
    ------
    SettingsError
        If a name is unknown, or needs torch where it is not installed.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise SettingsError(
            f"method must be one of {', '.join(METHODS)}, got {', '.join(unknown) or 'none'}."
        )
    barred = [name for name in names if name in _NEED_TORCH]
    if barred and find_spec("torch") is None:
        raise SettingsError(
            f"method {', '.join(barred)} needs torch, which is not installed: pip install "
            "'emag-rt[calibrate]', or name other methods."
        )
    return names
