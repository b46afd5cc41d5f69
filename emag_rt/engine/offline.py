"""The live path over a recording: same engine, same numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emag_rt.array_types import BoolArray, Float32Array, FloatArray, Samples
from emag_rt.bundle import Bundle
from emag_rt.core.labels import canonical
from emag_rt.core.montage import Montage
from emag_rt.core.naming import NAMING_REMEDY, ChannelNames
from emag_rt.engine.fit_watch import FitWatch
from emag_rt.engine.matching import RATE_TOLERANCE
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import MontageError, RecordingError, StreamMismatch
from emag_rt.montages.from_mne import read_mne_montage
from emag_rt.montages.resolve import resolve_montage
from emag_rt.recordings.read import Recording, read_recording
from emag_rt.recordings.write import write_raw

_HOLE = "BAD_no_data"


@dataclass(frozen=True)
class OfflineResult:
    """What was written, and how fast."""

    n_channels: int
    n_measured: int
    n_virtual: int
    duration_s: float
    sfreq: float
    speed: float
    montage_note: str
    warnings: tuple[str, ...]
    template: str


def render_recording(upsampler: Upsampler, data_uv: Samples) -> Float32Array:
    """Run an upsampler over a whole recording.

    Parameters
    ----------
    upsampler : Upsampler
        Made for the recording's channels, in µV; reset first.
    data_uv : ndarray, shape (n_times, n_channels)
        The recording.

    Returns
    -------
    ndarray, shape (n_times, n_hd), float32
        One row for each sample, in µV.
    """
    upsampler.reset()
    hd, _ = upsampler.push(data_uv)
    rest, _ = upsampler.flush()
    return np.concatenate([hd, rest])


def open_for(bundle: Bundle, path: str | Path, names: ChannelNames | None = None) -> Recording:
    """Read a recording to be upsampled by a bundle; ``names`` as for :func:`read_recording`.

    Raises
    ------
    RecordingError
        If its rate is not the bundle's; says the command that mends it.
    MontageError
        If it has none of the LD channels; says how to name them.
    """
    recording = read_recording(path, need_positions=False, names=names)
    wanted = bundle.manifest.sfreq
    if not abs(recording.sfreq - wanted) <= RATE_TOLERANCE * wanted:
        raise RecordingError(
            f"recording {path}: rate must be {wanted:g} Hz as calibrated, got "
            f"{recording.sfreq:g} Hz. Calibrate for it: emag-rt calibrate RECORDING --ld "
            f"{','.join(e.label for e in bundle.manifest.ld)} --sfreq {recording.sfreq:g} "
            "--out BUNDLE"
        )
    wanted_labels = {canonical(e.label) for e in bundle.manifest.ld}
    if not wanted_labels & {canonical(label) for label in recording.labels}:
        raise MontageError(
            f"recording {path}: every needed channel must be present, missing "
            f"{', '.join(e.label for e in bundle.manifest.ld)}; it has "
            f"{', '.join(recording.labels[:40])}. {NAMING_REMEDY}."
        )
    return recording


def _as_received(recording: Recording) -> FloatArray:
    """The samples as an amplifier would deliver them.

    Channels marked as bad become NaN, so that the front end fills them as it does live.
    """
    data = np.array(recording.data_uv, dtype=np.float64)
    data[:, [recording.labels.index(label) for label in recording.bads]] = np.nan
    return data


def _require_hd(bundle: Bundle, recording: Recording) -> list[str]:
    """Refuse a recording of LD channels alone; warnings where it is no fair one to train on."""
    known = {canonical(label) for label in recording.labels}
    lacking = [e.label for e in bundle.manifest.hd if canonical(e.label) not in known]
    if 2 * len(lacking) > len(bundle.manifest.hd):
        raise RecordingError(
            f"recording {recording.path}: must be HD with --train-like-served, but lacks "
            f"{len(lacking)} of {len(bundle.manifest.hd)} channels. Leave the option out."
        )
    if recording.sha256 in bundle.manifest.input_hashes:
        return [
            "the bundle was calibrated on this very recording, and renders it better than what it "
            "will serve: train on other runs"
        ]
    return []


def _holes(lost: BoolArray, sfreq: float) -> list[tuple[float, float, str]]:
    """Annotations of the stretches in which nothing came, or nothing could be rendered."""
    edges = np.diff(np.concatenate([[False], lost, [False]]).astype(int))
    starts, stops = np.flatnonzero(edges).reshape(-1, 2).T
    return [
        (float(a / sfreq), float((b - a) / sfreq), _HOLE)
        for a, b in zip(starts, stops, strict=True)
    ]


def upsample_recording(
    bundle: Bundle,
    path: str | Path,
    out: str | Path,
    *,
    montage: str | Montage | None = None,
    engine: str = "auto",
    reference: str = "input",
    measured: str = "pass",
    statistics: str = "estimate",
    statistics_mix: float = 1.0,
    train_like_served: bool = False,
    names: ChannelNames | None = None,
    mismatch: str = "refuse",
) -> OfflineResult:
    """Render HD channels for a recording and write them as FIF.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    path : path-like
        Recording with at least the LD channels.
    out : path-like
        FIF file to write.
    montage, engine, reference, measured, statistics, statistics_mix, mismatch
        As for :class:`emag_rt.engine.upsampler.Upsampler`; a file of positions may have any
        format that MNE reads.
    train_like_served : bool
        The recording is HD, and is rendered from its LD channels alone, of which none counts as
        bad beforehand: live, nobody marks them.
    names : ChannelNames, optional
        What the recording's channels are called, where it does not say so itself.

    Returns
    -------
    OfflineResult
        Sizes and speed.

    Raises
    ------
    RecordingError
        If the recording does not fit, or is not HD though it is to be trained on as served.
    """
    recording = open_for(bundle, path, names)
    upsampler = Upsampler(
        bundle,
        channels=recording.labels,
        engine=engine,
        reference=reference,
        measured=measured,
        statistics=statistics,
        statistics_mix=statistics_mix,
        mismatch=mismatch,
        montage=resolve_montage(montage, bundle, read_mne_montage)
        if isinstance(montage, str)
        else montage,
    )
    if train_like_served:
        warnings = _require_hd(bundle, recording)
        data = np.array(recording.data_uv, dtype=np.float64)
    else:
        warnings, data = [], _as_received(recording)
    fit = FitWatch(bundle)
    upsampler.watch_blocks(fit.take)
    start = time.perf_counter()
    try:
        hd = render_recording(upsampler, data)
    except StreamMismatch as error:
        raise StreamMismatch(f"recording {path}: {error}") from error
    took = time.perf_counter() - start
    lost = np.asarray(np.isnan(data).all(axis=1) | np.isnan(hd).any(axis=1))
    holes = _holes(lost, recording.sfreq)
    head = bundle.manifest.head
    low_hz, high_hz = bundle.manifest.frontend.band_hz
    write_raw(
        out,
        hd,
        upsampler.labels,
        recording.sfreq,
        positions_mm=upsampler.montage.positions_mm,
        origin_mm=head.origin_mm,
        meas_date=recording.meas_date,
        highpass=low_hz,
        lowpass=high_hz,
        description=f"bundle {bundle.sha256[:16]}, {upsampler.n_measured} channels measured, "
        f"{sum(upsampler.virtual)} virtual, reference {reference}, "
        f"statistics {statistics} (mix {statistics_mix:g})",
        events=[*recording.events, *holes],
    )
    duration_s = len(hd) / recording.sfreq
    warnings += fit.misfits()
    warnings += [f"montage: {text}" for text in upsampler.placement.warnings]
    warnings += [
        f"channel {label} was bad at the end: {reason}"
        for label, reason in upsampler.bad_reasons.items()
    ]
    if upsampler.n_jumps:
        warnings.append(f"{upsampler.n_jumps} jumps of electrodes or the reference were taken out")
    if upsampler.unrenderable:
        seconds = upsampler.unrenderable / recording.sfreq
        warnings.append(f"too many LD channels were bad for {seconds:.1f} s: no number there")
    if holes:
        warnings.append(f"{len(holes)} stretches hold no number: annotated {_HOLE}")
    return OfflineResult(
        n_channels=len(upsampler.labels),
        n_measured=upsampler.n_measured,
        n_virtual=sum(upsampler.virtual),
        montage_note=upsampler.montage_note,
        duration_s=duration_s,
        sfreq=recording.sfreq,
        speed=duration_s / max(took, 1e-9),
        warnings=tuple(warnings),
        template=recording.template,
    )
