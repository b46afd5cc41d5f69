"""The fitted mixture in numbers that can be drawn: ellipsoids, and amplitudes over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.session.segments import Session
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.bundle import Bundle
from emag_rt.core.drive import HiddenBranch, causal_fir, reference_free
from emag_rt.core.field import GaussianField
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError
from emag_rt.render.packed import PackedRenderer
from emag_rt.render.plan import RenderPlan

CLIP_S = 2.0
_SILENT = 1e-9


@dataclass(frozen=True, eq=False)
class Clip:
    """Two seconds of the field.

    Attributes
    ----------
    times_ms : ndarray, shape (n_frames,)
        From the start of the clip.
    amplitudes_uv : ndarray, shape (n_frames, n_points)
        What each point of the grid adds at its own centre.
    potentials_uv : ndarray, shape (n_frames, n_electrodes)
        What the electrodes are rendered with, relative to the LD mean.
    """

    times_ms: FloatArray
    amplitudes_uv: FloatArray
    potentials_uv: FloatArray


def spatial_axes(field: GaussianField, rows: IndexArray) -> FloatArray:
    """Covariances of the Gaussians in space, at their own temporal centre.

    Parameters
    ----------
    field : GaussianField
        The mixture.
    rows : ndarray of int, shape (n_chosen,)
        Points; of each the Gaussian with the earliest temporal centre counts.

    Returns
    -------
    ndarray, shape (n_chosen, 3, 3), float64
        Inverse of the spatial part of the precision, in mm².
    """
    first = np.argmin(np.abs(field.mu_s[rows]), axis=1)
    factor = field.cholesky[rows, first][:, :3, :3]
    return np.asarray(np.linalg.inv(factor @ np.swapaxes(factor, 1, 2)))


def spatial_widths_mm(field: GaussianField) -> FloatArray:
    """Standard deviation of each point's Gaussian, geometric mean over the axes, (n_points,)."""
    covariance = spatial_axes(field, np.arange(field.n_points))
    return np.asarray(np.linalg.det(covariance) ** (1.0 / 6.0))


def temporal_widths_s(field: GaussianField) -> FloatArray:
    """Standard deviations in time at the own centre in space, (n_points, n_gaussians)."""
    return np.asarray(1.0 / np.linalg.norm(field.cholesky[..., 3, :], axis=-1))


def point_amplitudes(model: FieldModel, ld_uv: FloatArray, first_position: int = 0) -> FloatArray:
    """What each point of the grid adds over time, at its own centre.

    For a separable field (space and time not coupled, one spatial shape a point) the electrodes'
    potentials are exactly ``spatial kernel @ amplitudes``.

    Parameters
    ----------
    model : FieldModel
        The field and its drive.
    ld_uv : ndarray, shape (n_context + n_times, n_ld)
        Filtered LD channels with ``model.n_context`` samples of context in front.
    first_position : int
        Window position of the first sample (``window`` only).

    Returns
    -------
    ndarray, shape (n_times, n_points), float64
        In µV; row i belongs to LD row ``i + n_context - look_ahead``.
    """
    x = reference_free(ld_uv)[0] / model.scale_uv
    n_times = len(x) - model.n_context
    field, drive, hidden = model.field, model.drive, model.drive.hidden
    n_memory = drive.taps.shape[1]
    if model.anchor == "window":
        return _window_amplitudes(model, x, n_times, first_position)
    total = np.zeros((n_times, field.n_points))
    for lag, tau in enumerate(model.tau_s):
        profile = field.temporal_kernel(float(tau))
        matrix = np.einsum("ng,ngf->nf", profile, drive.readout)
        total += causal_fir(drive.taps, _tail(x, n_times, lag, n_memory)) @ matrix.T
        total += (profile * field.amplitudes).sum(axis=1)
        if hidden is not None and lag >= model.look_ahead:
            gains = profile @ hidden.gains
            if np.abs(gains).max() > _SILENT:
                total += _units(hidden, x, n_times, lag - model.look_ahead) * gains
    return total


def _units(hidden: HiddenBranch, x: FloatArray, n_times: int, lag: int) -> FloatArray:
    return np.asarray(hidden.features(_tail(x, n_times, lag, hidden.n_lags)) @ hidden.readout.T)


def _tail(x: FloatArray, n_times: int, lag: int, n_memory: int) -> FloatArray:
    stop = len(x) - lag
    return x[stop - n_times - n_memory + 1 : stop]


def _window_amplitudes(
    model: FieldModel, x: FloatArray, n_times: int, first_position: int
) -> FloatArray:
    field, drive = model.field, model.drive
    features = causal_fir(drive.taps, _tail(x, n_times, 0, drive.taps.shape[1]))
    hidden = drive.hidden
    units = _units(hidden, x, n_times, 0) if hidden is not None else None
    out = np.empty((n_times, field.n_points))
    profiles: dict[int, tuple[FloatArray, FloatArray]] = {}
    for i in range(n_times):
        place = (first_position + i) % model.n_window
        if place not in profiles:
            profile = field.temporal_kernel(place / model.sfreq)
            profiles[place] = profile, np.einsum("ng,ngf->nf", profile, drive.readout)
        profile, matrix = profiles[place]
        out[i] = matrix @ features[i] + (profile * field.amplitudes).sum(axis=1)
        if hidden is not None and units is not None:
            out[i] += units[i] * (profile @ hidden.gains)
    return out


def make_clip(bundle: Bundle, session: Session, max_frames: int = 400) -> Clip:
    """Render a typical stretch of the session: the one of median power.

    Parameters
    ----------
    bundle : Bundle
        The field.
    session : Session
        Its LD channels drive it.
    max_frames : int
        Samples are skipped evenly where there are more.

    Returns
    -------
    Clip
        In the reference of the LD mean.

    Raises
    ------
    CalibrationError
        If no stretch is long enough for the field's memory.
    """
    model = bundle.model
    context, wanted = model.n_context, round(CLIP_S * session.sfreq)
    ld_uv = [x * session.scale_uv for x, _ in session.segments]
    longest = max(len(x) for x in ld_uv) - context
    if longest < session.sfreq / 10:
        raise CalibrationError(
            f"a stretch must be longer than the field's memory of {context / session.sfreq:.1f} s "
            "to be shown, got none. Record for longer without interruptions."
        )
    n = min(wanted, longest)
    starts = [
        (float((x[a + context : a + context + n] ** 2).mean()), k, a)
        for k, x in enumerate(ld_uv)
        for a in range(0, len(x) - context - n + 1, max(1, n // 2))
    ]
    _, segment, start = sorted(starts)[len(starts) // 2]
    clip = ld_uv[segment][start : start + context + n]
    renderer = PackedRenderer(
        RenderPlan(model, bundle.operator, bundle.manifest.hd_montage.positions_mm)
    )
    renderer.advance(clip[:context])
    potentials = renderer.push(clip[context:])
    # Windows are counted from where the renderer began.
    amplitudes = point_amplitudes(model, clip, context - model.look_ahead)
    frames = np.arange(0, n, max(1, -(-n // max_frames)))
    return Clip(frames / session.sfreq * 1e3, amplitudes[frames], potentials[frames].astype(float))


def contributions(bundle: Bundle, clip: Clip) -> FloatArray:
    """What each point contributes to the electrodes in a clip, rms over both: (n_points,), µV."""
    positions = bundle.manifest.hd_montage.positions_mm
    kernel = bundle.model.field.spatial_kernel(positions).max(axis=2)
    loudness = np.sqrt((kernel**2).mean(axis=0) * (clip.amplitudes_uv**2).mean(axis=0))
    return np.asarray(loudness)


def strongest(bundle: Bundle, clip: Clip, count: int) -> tuple[IndexArray, float]:
    """Points that matter most on the scalp in a clip.

    Parameters
    ----------
    bundle : Bundle
        The field.
    clip : Clip
        Its amplitudes.
    count : int
        How many at most.

    Returns
    -------
    rows : ndarray of int
        By falling rms contribution to the electrodes.
    share : float
        Their part of the sum of all points' contributions.
    """
    weight = contributions(bundle, clip)
    rows = np.argsort(weight)[::-1][:count]
    total = float(weight.sum())
    return rows, float(weight[rows].sum()) / total if total > 0 else 1.0
