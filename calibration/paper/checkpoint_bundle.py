"""From an EMAG authors' checkpoint to a bundle that inspects, upsamples and serves.

The paper z-scores every LD and every HD channel within each window, which is neither causal nor
in microvolts. A bundle has fixed statistics instead: each LD channel is divided by one number
(``ld_scale_uv``), and one number (``hd_scale_uv``) gives the network's output its unit for all
HD channels alike. So an imported field is the authors' function of its inputs to rounding, but
those inputs and the output's unit are ours: fit a subject with ``emag-rt calibrate`` for more.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.paper.checkpoint import Checkpoint
from calibration.provenance import provenance
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray
from emag_rt.bundle import (
    Bundle,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
    electrodes_of,
    point_mm,
)
from emag_rt.bundle.container import MAX_BYTES
from emag_rt.core.drive import Drive, reference_free
from emag_rt.core.field import GaussianField
from emag_rt.core.folding import fold
from emag_rt.core.labels import canonical, match_labels
from emag_rt.core.model import FieldModel
from emag_rt.core.montage import Montage, fit_sphere, spread_choice
from emag_rt.errors import CalibrationError, MontageError
from emag_rt.frontend import CausalFilter, design_band
from emag_rt.recordings.positions import template
from emag_rt.recordings.read import read_recording

DEFAULT_LD_SCALE_UV = 10.0
_MIN_S = 8.0
_MAX_ANGLE_DEG = 15.0
_MAX_OFF_CENTRE_MM = 15.0


@dataclass(frozen=True)
class ImportSettings:
    """What a checkpoint does not say.

    Attributes
    ----------
    ld : sequence of str or None
        LD channels in the order of the network's inputs, among the HD labels. None: ``LD001``
        and so on, whose positions are placeholders and which are not passed through.
    hd : str or sequence of str or None
        Labels in the order of ``electrode_pos``, or the name of an MNE standard montage whose
        nearest electrodes lend theirs. None: ``HD001`` and so on.
    sfreq : float or None
        Rate in Hz instead of the dataset's.
    n_window : int or None
        Samples in a window instead of the dataset's.
    band_hz : tuple of (float, float)
        Pass band of the causal front end in Hz.
    ld_scale_uv : sequence of float or None
        Standard deviation of the LD channels relative to their mean in µV, one for all or one
        for each; None: from ``statistics``, or 10 µV.
    hd_scale_uv : float or None
        µV that one unit of the network's output stands for; None: from ``statistics`` where it
        holds HD channels, or the root mean square of ``ld_scale_uv``.
    statistics : path-like or None
        Recording of the wearer to take the scales and the LD covariance from.
    """

    ld: Sequence[str] | None = None
    hd: str | Sequence[str] | None = None
    sfreq: float | None = None
    n_window: int | None = None
    band_hz: tuple[float, float] = (0.5, 45.0)
    ld_scale_uv: Sequence[float] | None = None
    hd_scale_uv: float | None = None
    statistics: str | Path | None = None


@dataclass(frozen=True, eq=False)
class Scales:
    """Fixed statistics in the place of the paper's z-scores in each window.

    Attributes
    ----------
    ld_uv : ndarray, shape (n_ld,)
        Standard deviation of each LD channel relative to the LD mean.
    hd_uv : float
        Of one unit of the output.
    covariance : ndarray, shape (n_ld, n_ld)
        Of the LD channels relative to their mean, µV².
    """

    ld_uv: FloatArray
    hd_uv: float
    covariance: FloatArray


def checkpoint_model(
    checkpoint: Checkpoint, sfreq: float, n_window: int, ld_scale_uv: FloatArray, hd_scale_uv: float
) -> FieldModel:
    """Field of the ``window`` anchor that a checkpoint holds.

    Parameters
    ----------
    checkpoint : Checkpoint
        As read.
    sfreq : float
        Rate in Hz.
    n_window : int
        Samples in a window.
    ld_scale_uv : ndarray, shape (n_ld,)
        The network sees (LD - mean over LD) / ld_scale_uv.
    hd_scale_uv : float
        µV of one unit of the network's output.

    Returns
    -------
    FieldModel
        Renders µV relative to the LD mean.
    """
    field, hidden = checkpoint.field, checkpoint.hidden
    in_uv = GaussianField(
        field.centers_mm, field.mu_s, field.cholesky, hd_scale_uv * field.amplitudes
    )
    nothing_linear = np.zeros((field.n_points, field.n_gaussians, checkpoint.n_ld))
    return FieldModel(
        field=in_uv,
        drive=Drive(
            np.ones((1, 1)), nothing_linear, replace(hidden, readout=hd_scale_uv * hidden.readout)
        ),
        scale_uv=ld_scale_uv,
        sfreq=sfreq,
        anchor="window",
        n_window=n_window,
    )


def checkpoint_bundle(
    checkpoint: Checkpoint, path: str | Path, settings: ImportSettings
) -> tuple[Bundle, tuple[str, ...]]:
    """Make a bundle of a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        As read from ``path``.
    path : path-like
        For the bundle's name and provenance.
    settings : ImportSettings
        What the checkpoint does not say.

    Returns
    -------
    bundle : Bundle
        Not yet saved.
    notes : tuple of str
        What was assumed; the user must see it.

    Raises
    ------
    CalibrationError, MontageError, RecordingError, SettingsError
        If a setting is missing or does not fit the checkpoint.
    """
    notes = list(checkpoint.notes)
    sfreq, n_window = _time_axis(checkpoint, settings)
    hd = _hd_montage(checkpoint.positions_mm, settings.hd, notes)
    ld, measured = _ld_montage(checkpoint.n_ld, hd, settings.ld, notes)
    _require_room(checkpoint, n_window)
    sos = design_band(*settings.band_hz, sfreq)
    inputs = [(Path(path), checkpoint.sha256)]
    scales = _scales(settings, ld.labels, hd.labels, sos, sfreq, inputs, notes)
    model = checkpoint_model(checkpoint, sfreq, n_window, scales.ld_uv, scales.hd_uv)
    operator = fold(model, hd.positions_mm)
    rows = {row for row, _ in measured}
    manifest = Manifest(
        name=Path(path).stem,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        sfreq=sfreq,
        anchor="window",
        n_lags=1,
        n_window=n_window,
        ld=electrodes_of(ld),
        hd=[
            RenderedElectrode(
                label=label,
                position_mm=point_mm(position),
                origin="measured" if row in rows else "rendered",
            )
            for row, (label, position) in enumerate(zip(hd.labels, hd.positions_mm, strict=True))
        ],
        head=_head(hd.positions_mm, notes),
        frontend=FrontEndManifest(band_hz=settings.band_hz, sos=sos.tolist()),
        render={
            "input": "LD channels after frontend.sos, in µV; (n_context + n_times, n_ld), float32",
            "output": "HD channels in µV in the input's reference, measured ones passed through",
            "n_context": operator.n_context,
            "activation": checkpoint.hidden.activation,
        },
        calibration={
            "method": "imported checkpoint",
            "dataset": checkpoint.dataset,
            "hd_scale_uv": scales.hd_uv,
            "notes": notes,
        },
        provenance=provenance(inputs),
    )
    return Bundle(manifest, model, operator, scales.covariance), tuple(notes)


def _time_axis(checkpoint: Checkpoint, settings: ImportSettings) -> tuple[float, int]:
    sfreq = settings.sfreq or checkpoint.sfreq
    n_window = settings.n_window or checkpoint.n_window
    missing = [
        option for option, value in (("--sfreq", sfreq), ("--n-window", n_window)) if not value
    ]
    if sfreq is None or n_window is None:
        raise CalibrationError(
            f"{' and '.join(missing)} must be given where the checkpoint names none of the known "
            f"datasets (SEED, Localize-MI); it says {checkpoint.dataset or 'nothing'}."
        )
    return float(sfreq), int(n_window)


def _hd_montage(
    positions_mm: FloatArray, hd: str | Sequence[str] | None, notes: list[str]
) -> Montage:
    n = len(positions_mm)
    if hd is None:
        notes.append(f"HD labels are unknown: HD001 to HD{n:03d}. Say --hd")
        return Montage(tuple(f"HD{i + 1:03d}" for i in range(n)), positions_mm)
    if isinstance(hd, str):
        return Montage(_nearest_labels(positions_mm, hd, notes), positions_mm)
    if len(hd) != n:
        raise MontageError(
            f"--hd must name the {n} electrodes of electrode_pos, in their order; got {len(hd)}."
        )
    return Montage(tuple(hd), positions_mm)


def _nearest_labels(positions_mm: FloatArray, name: str, notes: list[str]) -> tuple[str, ...]:
    """Labels of a standard montage, one to one, by direction from the centre of the head."""
    from scipy.optimize import linear_sum_assignment

    places = template(name)
    if len(places) < len(positions_mm):
        raise MontageError(
            f"--hd {name}: the montage must have at least {len(positions_mm)} electrodes, it has "
            f"{len(places)}."
        )
    cosine = _directions(positions_mm) @ _directions(np.array(list(places.values()))).T
    angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    rows, columns = linear_sum_assignment(angle**2)
    worst = float(angle[rows, columns].max())
    if worst > _MAX_ANGLE_DEG:
        raise MontageError(
            f"--hd {name}: every electrode of the checkpoint must lie within {_MAX_ANGLE_DEG:g} "
            f"degrees of one of the montage's, one lies {worst:.0f} degrees off. Give the names: "
            "--hd @FILE."
        )
    notes.append(f"HD labels are those of the nearest electrodes of {name} (within {worst:.1f}°)")
    labels = list(places)
    return tuple(labels[column] for column in columns)


def _directions(points_mm: FloatArray) -> FloatArray:
    offset = points_mm - fit_sphere(points_mm)[0]
    return np.asarray(offset / np.linalg.norm(offset, axis=1, keepdims=True))


def _ld_montage(
    n_ld: int, hd: Montage, ld: Sequence[str] | None, notes: list[str]
) -> tuple[Montage, list[tuple[int, int]]]:
    """LD electrodes, and pairs (HD row, LD column) of those that are passed through."""
    if ld is None:
        if n_ld > len(hd):
            raise CalibrationError(
                f"ld_encoder must take fewer channels than the {len(hd)} HD electrodes, got {n_ld}."
            )
        rows = spread_choice(hd.positions_mm, n_ld)
        notes.append(
            f"LD channels are unknown: LD001 to LD{n_ld:03d} in the order of the network's inputs; "
            "their positions are placeholders and none is passed through. Say --ld"
        )
        labels = tuple(f"LD{i + 1:03d}" for i in range(n_ld))
        return Montage(labels, hd.positions_mm[rows]), []
    if len(ld) != n_ld:
        raise CalibrationError(
            f"--ld must name the {n_ld} channels that ld_encoder takes, in their order; got "
            f"{len(ld)}."
        )
    rows = match_labels(ld, hd.labels, "--ld (among the HD electrodes)")
    if len(set(rows)) < n_ld:
        raise CalibrationError(f"--ld must name each channel once, got {', '.join(ld)}.")
    return hd.select(rows), [(row, column) for column, row in enumerate(rows)]


def _require_room(checkpoint: Checkpoint, n_window: int) -> None:
    """A ``window`` field folds to one matrix for each place: long windows make huge bundles."""
    n_features = checkpoint.n_ld + checkpoint.hidden.readout.shape[1] + 1
    # float64 in the bundle, float32 in the graph.
    needed = 12 * n_window * len(checkpoint.positions_mm) * n_features
    needed += 8 * checkpoint.field.amplitudes.size * (checkpoint.n_ld + 20)
    if needed > MAX_BYTES:
        longest = int(n_window * MAX_BYTES / needed)
        raise CalibrationError(
            f"the bundle must stay below {MAX_BYTES >> 20} MiB, a window of {n_window} samples "
            f"makes {needed >> 20}: one matrix for each place. Render the first part of each "
            f"window only: --n-window {longest // 50 * 50 or longest} or less."
        )


def _scales(
    settings: ImportSettings,
    ld: Sequence[str],
    hd: Sequence[str],
    sos: FloatArray,
    sfreq: float,
    inputs: list[tuple[Path, str]],
    notes: list[str],
) -> Scales:
    n_ld = len(ld)
    notes.append(
        "the paper z-scores each channel in each window; here the statistics are fixed, and all "
        "HD channels share one unit"
    )
    scales: Scales | None = None
    if settings.statistics is not None:
        scales = _measured_scales(settings.statistics, ld, hd, sos, sfreq, inputs)
    ld_uv = None if scales is None else scales.ld_uv
    if settings.ld_scale_uv is not None:
        given = np.asarray(settings.ld_scale_uv, dtype=np.float64)
        if given.shape not in ((1,), (n_ld,)) or not (np.isfinite(given) & (given > 0)).all():
            raise CalibrationError(
                f"--ld-scale-uv must be one positive number, or one for each of the {n_ld} LD "
                f"channels, got {', '.join(f'{v:g}' for v in given)}."
            )
        ld_uv = np.broadcast_to(given, n_ld).copy()
    if ld_uv is None:
        ld_uv = np.full(n_ld, DEFAULT_LD_SCALE_UV)
        notes.append(
            f"the LD scale is assumed: {DEFAULT_LD_SCALE_UV:g} µV. Say --statistics RECORDING, or "
            "--ld-scale-uv"
        )
    hd_uv = settings.hd_scale_uv
    if hd_uv is None and scales is not None and np.isfinite(scales.hd_uv):
        hd_uv = scales.hd_uv
    if hd_uv is None:
        hd_uv = float(np.sqrt((ld_uv**2).mean()))
        notes.append(f"one unit of the output is taken for {hd_uv:.3g} µV, as the LD scale")
    if not (np.isfinite(hd_uv) and hd_uv > 0):
        raise CalibrationError(f"--hd-scale-uv must be a positive number, got {hd_uv}.")
    if scales is not None:
        return Scales(ld_uv, hd_uv, scales.covariance)
    notes.append(
        "the LD covariance is unknown: a bad LD channel is filled by the mean of the others. Say "
        "--statistics RECORDING"
    )
    centre = np.eye(n_ld) - 1.0 / n_ld
    return Scales(ld_uv, hd_uv, centre @ np.diag(ld_uv**2) @ centre)


def _measured_scales(
    path: str | Path,
    ld: Sequence[str],
    hd: Sequence[str],
    sos: FloatArray,
    sfreq: float,
    inputs: list[tuple[Path, str]],
) -> Scales:
    recording = read_recording(path, sfreq=sfreq, need_positions=False)
    inputs.append((recording.path, recording.sha256))
    columns = match_labels(ld, recording.labels, f"--statistics {recording.path.name}")
    lost = [recording.labels[c] for c in columns if recording.labels[c] in recording.bads]
    if lost:
        raise CalibrationError(
            f"--statistics {recording.path.name}: LD channels must be good, {', '.join(lost)} are "
            "marked bad. Take another recording."
        )
    settle = round(SETTLE_S * sfreq)
    parts = [
        CausalFilter(sos, len(recording.labels)).process(recording.data_uv[a:b])[settle:]
        for a, b in recording.segments
        if b - a > 2 * settle
    ]
    if sum(map(len, parts)) < _MIN_S * sfreq:
        raise CalibrationError(
            f"--statistics {recording.path.name}: must hold at least {_MIN_S:g} s of continuous "
            f"signal, got {sum(map(len, parts)) / sfreq:.1f} s."
        )
    signal = np.concatenate(parts)
    centred, mean = reference_free(signal[:, columns])
    wanted = {canonical(label) for label in hd} - {canonical(label) for label in ld}
    rest = [
        i
        for i, label in enumerate(recording.labels)
        if canonical(label) in wanted and label not in recording.bads
    ]
    hd_uv = float(np.sqrt(((signal[:, rest] - mean) ** 2).mean())) if rest else float("nan")
    return Scales(centred.std(axis=0), hd_uv, centred.T @ centred / len(centred))


def _head(positions_mm: FloatArray, notes: list[str]) -> HeadSphere:
    radius = float(np.linalg.norm(positions_mm, axis=1).mean())
    try:
        centre, fitted = fit_sphere(positions_mm)
    except MontageError:
        return HeadSphere(radius_mm=radius)
    off = float(np.linalg.norm(centre))
    if off > _MAX_OFF_CENTRE_MM:
        notes.append(
            f"the electrodes' sphere is centred {off:.0f} mm from the grid's: montages the "
            "subject never wore would be laid around the grid's centre"
        )
    return HeadSphere(radius_mm=fitted)
