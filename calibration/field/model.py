"""From fits on electrodes to a field in the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.field.kriging import Guide, spacing_mm
from calibration.field.placement import SpatialStart, choose_gaussians, make_field
from calibration.regression.closed_form import LinearFit
from calibration.regression.window_closed_form import WindowFit
from calibration.residual.residual_net import ResidualNet
from calibration.session.segments import Session
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.grid import lattice, resolution_for
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError


@dataclass(frozen=True)
class LeftOutScores:
    """What to expect at electrodes nobody wore.

    Attributes
    ----------
    protocol : str
        How it was found.
    nmse : float
        Pooled over the targets.
    spacing_mm : float
        Median distance to the next electrode.
    per_channel : dict of str to float
        NMSE of each target, by label.
    """

    protocol: str
    nmse: float
    spacing_mm: float
    per_channel: dict[str, float]


def grid_for(session: Session, settings: CalibrationSettings) -> FloatArray:
    """Centres of the Gaussians, shape (n_points, 3) in mm.

    Raises
    ------
    CalibrationError
        If the grid has fewer points than there are electrodes to learn.
    """
    n_known = len(session.targets) + len(session.ld)
    resolution = settings.grid_resolution
    if resolution is None:
        resolution = resolution_for(n_known)
    centers = lattice(resolution, settings.grid_support)
    if len(centers) < n_known:
        raise CalibrationError(
            f"--grid-resolution must give at least as many points as the {n_known} electrodes, "
            f"got {len(centers)} from {resolution}. Use {resolution_for(n_known)}."
        )
    return centers


def known_rows(session: Session) -> list[int]:
    """Electrodes whose signals the field must give: the targets, then the LD channels."""
    return [*session.targets, *session.ld]


def choose_start(
    session: Session, centers_mm: FloatArray, linear: LinearFit | None = None
) -> SpatialStart:
    """Gaussians, chosen with the session's own electrodes left out as the guide.

    Parameters
    ----------
    session : Session
        What was fitted.
    centers_mm : ndarray, shape (n_grid, 3)
        Grid.
    linear : LinearFit, optional
        Fit whose held-out renderings stand for the targets, as in serving; without it the
        measured signals do.

    Returns
    -------
    SpatialStart
        Gaussians and solver.
    """
    rows = known_rows(session)
    truth = np.concatenate([y[:, rows] for _, y in session.segments])
    rendered = truth
    if linear is not None:
        blind = linear.predict_held_out(session.target_segments)
        rendered = truth.copy()
        rendered[:, : len(session.targets)] = np.concatenate(blind)
    guide = Guide.of(truth, rendered, len(session.targets))
    return choose_gaussians(centers_mm, session.montage.positions_mm[rows], guide)


def left_out_scores(session: Session, start: SpatialStart) -> LeftOutScores:
    """What to expect at electrodes nobody wore, from each target left out in turn.

    Parameters
    ----------
    session : Session
        What was fitted.
    start : SpatialStart
        Of that session.

    Returns
    -------
    LeftOutScores
        For the bundle.
    """
    labels = [session.montage.labels[i] for i in session.targets]
    errors = start.kriging.left_out_nmse
    return LeftOutScores(
        protocol="each target rendered from all other electrodes, blocks of time held out",
        nmse=round(start.kriging.left_out_pooled, 6),
        spacing_mm=round(spacing_mm(session.montage.positions_mm[known_rows(session)]), 3),
        per_channel={a: round(float(e), 6) for a, e in zip(labels, errors, strict=True)},
    )


def stream_model(
    session: Session,
    linear: LinearFit,
    residual: ResidualNet | None,
    start: SpatialStart,
) -> FieldModel:
    """Field of the ``stream`` anchor: each profile of the fit is one Gaussian of every point.

    Parameters
    ----------
    session : Session
        What was fitted.
    linear : LinearFit
        Closed-form start on the targets.
    residual : ResidualNet or None
        Non-linear branch on the targets.
    start : SpatialStart
        Gaussians and solver.

    Returns
    -------
    FieldModel
        Gives the fits' numbers at the electrodes they know.
    """
    n_gaussians = len(linear.centers_s)
    now = int(np.argmin(np.abs(linear.centers_s)))
    bias = np.concatenate([linear.bias, np.zeros(len(session.ld))])
    if residual is not None:
        bias[: residual.n_out] += residual.layers[-1][1]
    amplitudes = np.zeros((len(start.centers_mm), n_gaussians))
    amplitudes[:, now] = start.solver @ bias
    readout = linear_readout(session, linear, start, linear.weights)
    field = make_field(start, linear.centers_s, linear.widths_s, amplitudes)
    hidden = None
    if residual is not None:
        hidden = _hidden_branch(session, linear, residual, start, now)
    return FieldModel(
        field=field,
        drive=Drive(np.ones((1, 1)), readout, hidden),
        scale_uv=session.scale_uv,
        sfreq=session.sfreq,
        anchor="stream",
        n_lags=linear.n_lags,
        look_ahead=linear.n_look_ahead,
    )


def linear_readout(
    session: Session, linear: LinearFit, start: SpatialStart, weights: FloatArray
) -> FloatArray:
    """Amplitudes that give a linear fit's numbers at the electrodes it knows.

    Parameters
    ----------
    session : Session
        What was fitted.
    linear : LinearFit
        For its profiles.
    start : SpatialStart
        Gaussians and solver.
    weights : ndarray, shape (n_gaussians, n_ld, n_targets)
        Of the fit, or of one that did not see a split.

    Returns
    -------
    ndarray, shape (n_points, n_gaussians, n_ld)
        Linear readout of the drive.
    """
    n_gaussians = len(linear.centers_s)
    own = _own_weights(session, n_gaussians, int(np.argmin(np.abs(linear.centers_s))))
    known = np.concatenate([weights, own], axis=2)
    return np.asarray(np.einsum("ne,gce->ngc", start.solver, known, optimize=True))


def _own_weights(session: Session, n_gaussians: int, now: int) -> FloatArray:
    """The LD channels drive themselves, at once: (n_gaussians, n_ld, n_ld)."""
    n_ld = len(session.ld)
    weights = np.zeros((n_gaussians, n_ld, n_ld))
    weights[now] = np.diag(session.scale_uv)
    return weights


def _hidden_branch(
    session: Session, linear: LinearFit, residual: ResidualNet, start: SpatialStart, now: int
) -> HiddenBranch:
    (weight_in, bias_in), (weight_out, _) = residual.layers
    at_electrodes = np.zeros((residual.n_out + len(session.ld), weight_out.shape[1]))
    at_electrodes[: residual.n_out] = weight_out
    layers = ((weight_in.astype(np.float64), bias_in.astype(np.float64)),)
    gains = np.zeros(len(linear.centers_s))
    gains[now] = 1.0
    readout = start.solver @ at_electrodes
    how = residual.activation
    return HiddenBranch(residual.kernel, layers, how, readout, gains, residual.blocks)


def window_model(
    session: Session,
    fit: WindowFit,
    n_window: int,
    n_look_ahead: int,
    start: SpatialStart,
) -> FieldModel:
    """Field of the ``window`` anchor; arguments as for :func:`stream_model`."""
    n_gaussians, n_features, _ = fit.weights.shape
    n_ld = len(session.ld)
    # An LD channel is itself wherever in the window: the profiles that add up to one do it.
    own = np.zeros((n_gaussians, n_features, n_ld))
    place = np.arange(n_window) / session.sfreq
    profile = np.exp(-0.5 * ((place[:, None] - fit.mu_s) / fit.widths_s) ** 2)
    unity = np.linalg.lstsq(profile, np.ones(n_window), rcond=None)[0]
    now = int(np.argmax(fit.taps[:, n_look_ahead] * (np.count_nonzero(fit.taps, axis=1) == 1)))
    own[:, now * n_ld : (now + 1) * n_ld] = unity[:, None, None] * np.diag(session.scale_uv)
    weights = np.concatenate([fit.weights, own], axis=2)
    base = np.concatenate([fit.base, np.zeros((n_gaussians, n_ld))], axis=1)
    field = make_field(start, fit.mu_s, fit.widths_s, start.solver @ base.T)
    return FieldModel(
        field=field,
        drive=Drive(fit.taps, np.einsum("ne,gfe->ngf", start.solver, weights)),
        scale_uv=session.scale_uv,
        sfreq=session.sfreq,
        anchor="window",
        look_ahead=n_look_ahead,
        n_window=n_window,
    )
