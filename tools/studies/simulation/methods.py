"""The field and its rivals on a simulated session, to be held to the floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.baselines.mne import minimum_norm_matrix
from calibration.baselines.ridge import RidgeBaseline
from calibration.estimator import FieldCalibrator
from calibration.regression.closed_form import LinearFit, fit_linear
from calibration.result import Calibration
from calibration.session.segments import Session, make_session
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.array_types import FloatArray
from emag_rt.core.scores import nmse
from emag_rt.core.spline import spherical_spline
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter, design_band
from tools.studies.simulation.subject import BAND_HZ, SimulatedSubject


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out signal behind the front end, relative to the LD mean.

    Attributes
    ----------
    x : ndarray, shape (n_times, n_ld), float64
        LD channels in µV.
    noisy, clean : ndarray, shape (n_times, n_out), float64
        Outputs as measured, and without the noise of the electrodes (nor that of the LD mean).
    raw : ndarray, shape (n_times, n_channels), float64
        All channels before the front end.
    skip : int
        Samples at the start that are not scored: filters settle.
    """

    x: FloatArray
    noisy: FloatArray
    clean: FloatArray
    raw: FloatArray
    skip: int

    def nmse(self, estimate: FloatArray, clean: bool = False) -> float:
        """Score an estimate of the outputs."""
        truth = self.clean if clean else self.noisy
        return nmse(truth[self.skip :], estimate[self.skip :])


def draw_test(
    subject: SimulatedSubject, seconds: float, seed: int, ld: Sequence[int], out: Sequence[int]
) -> HeldOut:
    """Draw a held-out recording.

    Parameters
    ----------
    subject : SimulatedSubject
        Whom.
    seconds : float
        How long.
    seed : int
        Not that of the calibration.
    ld, out : sequence of int
        Rows of inputs and outputs.

    Returns
    -------
    HeldOut
        Its first four seconds are not scored.
    """
    raw, truth = subject.draw(round(seconds * subject.sfreq), seed)
    sos = design_band(*BAND_HZ, subject.sfreq)
    ld, out = list(ld), list(out)
    noisy, clean = (CausalFilter(sos, raw.shape[1]).process(part) for part in (raw, truth))
    mean, clean_mean = (part[:, ld].mean(axis=1, keepdims=True) for part in (noisy, clean))
    skip = round(4 * subject.sfreq)
    return HeldOut(noisy[:, ld] - mean, noisy[:, out] - mean, clean[:, out] - clean_mean, raw, skip)


def calibrate(
    subject: SimulatedSubject,
    data_uv: FloatArray,
    ld: Sequence[int],
    refine: bool = False,
    rows: Sequence[int] | None = None,
    grid_resolution: int | None = None,
    seed: int = 0,
) -> Calibration:
    """Calibrate on drawn samples by the very code that users run.

    Parameters
    ----------
    subject : SimulatedSubject
        Whom.
    data_uv : ndarray, shape (n_times, n_channels), float64
        All channels.
    ld : sequence of int
        Rows of the LD channels.
    refine : bool
        With the stages that need torch.
    rows : sequence of int, optional
        Channels that calibration gets to see; by default all.
    grid_resolution : int, optional
        Of the grid.
    seed : int
        Of the calibration.

    Returns
    -------
    Calibration
        Of the ``stream`` anchor.

    Raises
    ------
    CalibrationError
        If calibration calls a simulated channel bad: then the comparison would not be fair.
    """
    labels = [subject.montage.labels[i] for i in ld]
    settings = CalibrationSettings(
        band_hz=BAND_HZ,
        refine=refine,
        grid_resolution=grid_resolution,
        seed=seed,
        device="cpu",
        prior="none",
    )
    calibration = FieldCalibrator(labels, settings).fit([subject.recording(data_uv, rows)]).result_
    _all_good(calibration.session)
    return calibration


def field_weights(linear: LinearFit, scale_uv: FloatArray) -> FloatArray:
    """Closed-form field as a filter on µV, shape (n_lags, n_ld, n_out)."""
    weights = np.einsum("gl,gco->lco", linear.kernel, linear.weights, optimize=True)
    return np.asarray(weights / scale_uv[:, None])


def ridge_weights(baseline: RidgeBaseline, scale_uv: FloatArray) -> FloatArray:
    """Ridge as a filter on µV, shape (n_lags, n_ld, n_out)."""
    return np.asarray(baseline.weights / scale_uv[:, None])


def spline_weights(session: Session) -> FloatArray:
    """Spherical spline from the LD channels, shape (1, n_ld, n_out)."""
    places = session.montage.positions_mm
    matrix = spherical_spline(places[list(session.ld)], places[list(session.targets)])
    # Outputs are relative to the LD mean, and so is the input.
    return np.asarray(matrix.T[None])


def minimum_norm_weights(session: Session) -> FloatArray:
    """Minimum norm through a shell of sources, shape (1, n_ld, n_out)."""
    places = session.montage.positions_mm
    matrix = minimum_norm_matrix(
        places[list(session.ld)], places[list(session.targets)], covariance=session.covariance
    )
    return np.asarray(matrix.T[None])


def session_of(
    subject: SimulatedSubject,
    data_uv: FloatArray,
    ld: Sequence[int],
    rows: Sequence[int] | None = None,
) -> Session:
    """Prepare drawn samples as calibration does; arguments as for :func:`calibrate`."""
    labels = [subject.montage.labels[i] for i in ld]
    settings = CalibrationSettings(band_hz=BAND_HZ)
    return _all_good(make_session([subject.recording(data_uv, rows)], labels, settings))


def _all_good(session: Session) -> Session:
    if session.bad:
        names = ", ".join(session.montage.labels[i] for i in session.bad)
        raise CalibrationError(
            f"simulated channels must all be good, calibration found {names} bad. "
            "Use another seed, or a longer session."
        )
    return session


def linear_methods(calibration: Calibration) -> dict[str, FloatArray]:
    """Every linear method as a filter on the LD channels relative to their mean.

    Parameters
    ----------
    calibration : Calibration
        Of the ``stream`` anchor.

    Returns
    -------
    dict of str to ndarray, shape (n_lags, n_ld, n_out)
        ``field`` as calibrated, ``plain`` (its closed form without beliefs about the head),
        ``lagged_ridge``, ``ridge``, ``minimum_norm``, ``spline``; outputs are the targets.
    """
    session, linear = calibration.session, calibration.stream.linear
    scale = session.scale_uv
    plain = fit_linear(session.target_segments, session.sfreq)
    return {
        "field": field_weights(linear, scale),
        "plain": field_weights(plain, scale),
        "lagged_ridge": ridge_weights(calibration.baselines["lagged_ridge"], scale),
        "ridge": ridge_weights(calibration.baselines["ridge"], scale),
        "minimum_norm": minimum_norm_weights(session),
        "spline": spline_weights(session),
    }


def served(calibration: Calibration, subject: SimulatedSubject, signal: HeldOut) -> FloatArray:
    """What the fitted field serves, through bundle, front end and renderer.

    Parameters
    ----------
    calibration : Calibration
        With its residual, where it has one.
    subject : SimulatedSubject
        For the labels of the raw channels.
    signal : HeldOut
        Of the same subject.

    Returns
    -------
    ndarray, shape (n_times, n_targets), float64
        Relative to the LD mean, in µV.
    """
    session = calibration.session
    upsampler = Upsampler(calibration.bundle, channels=subject.montage.labels, engine="packed")
    rendered = render_recording(upsampler, signal.raw).astype(np.float64)
    mean = rendered[:, list(session.ld)].mean(axis=1, keepdims=True)
    return np.asarray(rendered[:, list(session.targets)] - mean)
