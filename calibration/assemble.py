"""From fits on electrodes to a field in the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.closed_form import LinearFit
from calibration.residual import ResidualNet
from calibration.session import Session
from calibration.settings import CalibrationSettings
from calibration.spatial import SpatialStart, choose_width, make_field
from calibration.window_start import WindowFit
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.grid import lattice, resolution_for
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError

FloatArray = NDArray[np.float64]
_GUIDE_SAMPLES = 4000


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


def choose_start(session: Session, centers_mm: FloatArray) -> SpatialStart:
    """Width of the Gaussians, with the session's own electrodes left out as the guide."""
    rows = known_rows(session)
    samples = np.concatenate([y[:, rows] for _, y in session.segments])
    step = max(1, len(samples) // _GUIDE_SAMPLES)
    return choose_width(centers_mm, session.montage.positions_mm[rows], samples[::step].T)


def stream_model(
    session: Session,
    linear: LinearFit,
    residual: ResidualNet | None,
    centers_mm: FloatArray,
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
    centers_mm : ndarray, shape (n_points, 3)
        Grid.
    start : SpatialStart
        Width and solver.

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
    amplitudes = np.zeros((len(centers_mm), n_gaussians))
    amplitudes[:, now] = start.solver @ bias
    readout = linear_readout(session, linear, start, linear.weights)
    field = make_field(centers_mm, start.width_mm, linear.centers_s, linear.widths_s, amplitudes)
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
        Width and solver.
    weights : ndarray, shape (n_gaussians, n_ld, n_targets)
        Of the fit, or of one that did not see a fold.

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
    *inner, (weight_out, _) = residual.layers
    at_electrodes = np.zeros((residual.n_out + len(session.ld), weight_out.shape[1]))
    at_electrodes[: residual.n_out] = weight_out
    layers = tuple((w.astype(np.float64), b.astype(np.float64)) for w, b in inner)
    gains = np.zeros(len(linear.centers_s))
    gains[now] = 1.0
    return HiddenBranch(residual.kernel, layers, "gelu", start.solver @ at_electrodes, gains)


def window_model(
    session: Session,
    fit: WindowFit,
    n_window: int,
    n_look_ahead: int,
    centers_mm: FloatArray,
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
    field = make_field(centers_mm, start.width_mm, fit.mu_s, fit.widths_s, start.solver @ base.T)
    return FieldModel(
        field=field,
        drive=Drive(fit.taps, np.einsum("ne,gfe->ngf", start.solver, weights)),
        scale_uv=session.scale_uv,
        sfreq=session.sfreq,
        anchor="window",
        look_ahead=n_look_ahead,
        n_window=n_window,
    )
