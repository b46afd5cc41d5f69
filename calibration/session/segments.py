"""From recordings to what the fits need: one montage, filtered segments, features, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.session.channel_quality import (
    BRIDGED_CORRELATION,
    bridged_channels,
    bridges,
    dependent_channels,
    suspicious_channels,
)
from calibration.session.ld_choice import choose_ld
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.array_types import FloatArray
from emag_rt.bundle.tensors import MAX_FILL_INPUTS
from emag_rt.core.drive import reference_free
from emag_rt.core.labels import canonical, match_labels
from emag_rt.core.montage import Montage
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter, FrontEnd, FrontEndSettings, design_band
from emag_rt.recordings.read import Recording, read_recording

MIN_SECONDS = 8.0
ADVISED_SECONDS = 60.0
_MIN_SEGMENT_S = 2.0
FILL_LAGS = 8
"""Samples of the good LD channels that a bad one is filled from."""


@dataclass(frozen=True, eq=False)
class Session:
    """A subject's HD recordings, ready to fit.

    Attributes
    ----------
    montage : Montage
        All placed EEG channels.
    ld : tuple of int
        Rows of the LD channels.
    bad : tuple of int
        Rows not to be learned from.
    bridged : tuple of int
        Rows that carry the signal of an LD channel.
    origin_mm, radius_mm
        Head sphere in MNE's head frame.
    sfreq : float
        Rate in Hz.
    sos : ndarray, shape (n_sections, 6)
        Front end.
    scale_uv : ndarray, shape (n_ld,)
        Standard deviation of each reference-free LD channel.
    covariance : ndarray, shape (n_ld, n_ld)
        Of the reference-free LD channels, µV².
    lagged_covariance : ndarray, shape (n_lags, n_ld, n_ld)
        Of the same with their own past, ``E[x(t) x(t - l)^T]``, from which bad ones are filled.
    segments : tuple of (x, y)
        Features (n_times, n_ld), and all channels relative to the LD mean (n_times, n_channels)
        in µV.
    recordings : tuple of Recording
        Where it comes from.
    warnings : tuple of str
        What the user should know.
    """

    montage: Montage
    ld: tuple[int, ...]
    bad: tuple[int, ...]
    bridged: tuple[int, ...]
    origin_mm: FloatArray
    radius_mm: float
    sfreq: float
    sos: FloatArray
    scale_uv: FloatArray
    covariance: FloatArray
    lagged_covariance: FloatArray
    segments: tuple[tuple[FloatArray, FloatArray], ...]
    recordings: tuple[Recording, ...]
    warnings: tuple[str, ...]

    @property
    def targets(self) -> tuple[int, ...]:
        """Rows to learn: good, and not LD."""
        out = set(self.ld) | set(self.bad)
        return tuple(i for i in range(len(self.montage)) if i not in out)

    @property
    def unseen(self) -> tuple[int, ...]:
        """Rows that scores call unseen: targets that are not bridged to an LD channel."""
        return tuple(i for i in self.targets if i not in self.bridged)

    @property
    def target_segments(self) -> list[tuple[FloatArray, FloatArray]]:
        """The segments with the targets alone: what the fits learn from."""
        rows = list(self.targets)
        return [(x, y[:, rows]) for x, y in self.segments]

    @property
    def duration_s(self) -> float:
        """Seconds of signal to learn from."""
        return sum(len(x) for x, _ in self.segments) / self.sfreq


def read_recordings(
    recordings: Sequence[str | Path | Recording], settings: CalibrationSettings
) -> list[Recording]:
    """Read what has not been read yet, at the settings' rate."""
    if not recordings:
        raise CalibrationError("recordings must name at least one file, got none.")
    return [
        r
        if isinstance(r, Recording)
        else read_recording(r, sfreq=settings.sfreq, names=settings.names)
        for r in recordings
    ]


def open_session(
    recordings: Sequence[str | Path | Recording],
    ld: int | Sequence[str],
    settings: CalibrationSettings,
) -> Session:
    """Read recordings of one subject and prepare them.

    Parameters
    ----------
    recordings : sequence of path-like or Recording
        HD recordings with the same channels: files, or recordings already read.
    ld : int or sequence of str
        LD channels: how many, spread evenly over the good ones, or their labels.
    settings : CalibrationSettings
        Rate, band and the like.

    Returns
    -------
    Session
        Ready to fit.

    Raises
    ------
    CalibrationError, RecordingError, MontageError, SettingsError
        If something does not fit; the message says what to do.
    """
    return make_session(read_recordings(recordings, settings), ld, settings)


def make_session(
    recordings: Sequence[Recording], ld: int | Sequence[str], settings: CalibrationSettings
) -> Session:
    """Prepare recordings that have been read; see :func:`open_session`."""
    first = recordings[0]
    hashes = [recording.sha256 for recording in recordings]
    if len(set(hashes)) < len(hashes):
        raise CalibrationError(
            "recordings must differ: one was given twice, and cross-validation would then test on "
            f"what it learned from; got {', '.join(r.path.name for r in recordings)}."
        )
    notes: list[str] = []
    montage = _common_montage(recordings, notes)
    sfreq = _common_rate(recordings)
    sos = design_band(*settings.band_hz, sfreq)
    signals = filtered_stretches(recordings, montage, sos, sfreq, settings.settle_s)
    _require_length(signals, sfreq, notes)
    bad = _bad_rows(recordings, montage, signals, sfreq, notes)
    rows = choose_ld(ld, montage, bad)
    centred = _relative_to_ld(recordings, montage, signals, rows, sos, sfreq, settings.settle_s)
    ld_centred = np.concatenate([y[:, rows] for y in centred])
    everything = np.concatenate(signals)
    bridged = sorted(bridged_channels(everything, rows) - set(bad))
    if bridged:
        names = ", ".join(montage.labels[i] for i in bridged)
        notes.append(
            f"{names}: bridged to an LD channel (r > {BRIDGED_CORRELATION}); not counted as unseen"
        )
    good = [i for i in range(len(montage)) if i not in bad]
    dependent = dependent_channels(np.cov(everything[:, good], rowvar=False))
    if dependent:
        notes.append(
            f"the data have {dependent} channels too few in rank: some were interpolated from "
            "others, which flatters every score. Mark them as bad (info['bads'])."
        )
    scale = ld_centred.std(axis=0)
    return Session(
        montage=montage,
        ld=tuple(rows),
        bad=tuple(bad),
        bridged=tuple(bridged),
        origin_mm=np.asarray(first.origin_mm, dtype=np.float64),
        radius_mm=float(first.radius_mm),
        sfreq=sfreq,
        sos=sos,
        scale_uv=scale,
        covariance=ld_centred.T @ ld_centred / len(ld_centred),
        lagged_covariance=_lagged_covariance([y[:, rows] for y in centred]),
        segments=tuple((y[:, rows] / scale, y) for y in centred),
        recordings=tuple(recordings),
        warnings=tuple(notes),
    )


def _lagged_covariance(segments: Sequence[FloatArray]) -> FloatArray:
    """Over all samples, with zeros before a segment: short ones must not weigh more."""
    n_times = sum(len(x) for x in segments)
    n_lags = min(FILL_LAGS, max(1, MAX_FILL_INPUTS // segments[0].shape[1]))
    sums = [sum(x[lag:].T @ x[: max(0, len(x) - lag)] for x in segments) for lag in range(n_lags)]
    return np.array(sums) / n_times


def _common_montage(recordings: Sequence[Recording], notes: list[str]) -> Montage:
    montage = recordings[0].montage()
    keep = list(range(len(montage)))
    for other in recordings[1:]:
        known = {canonical(label) for label in other.labels}
        lost = [i for i in keep if canonical(montage.labels[i]) not in known]
        if lost:
            names = ", ".join(montage.labels[i] for i in lost)
            notes.append(f"{other.path.name} lacks {names}: left out")
        keep = [i for i in keep if i not in lost]
    if recordings[0].unplaced:
        notes.append(f"no position for {', '.join(recordings[0].unplaced)}: left out")
    if len(keep) < 3:
        raise CalibrationError(
            f"the recordings must share at least 3 placed EEG channels, got {len(keep)}. "
            "Are they of one subject and one cap?"
        )
    return montage.select(keep)


def _common_rate(recordings: Sequence[Recording]) -> float:
    rates = {round(recording.sfreq, 6) for recording in recordings}
    if len(rates) > 1:
        raise CalibrationError(
            f"recordings must have one sampling rate, got {', '.join(f'{r:g}' for r in rates)} "
            "Hz. Give the rate of the LD amplifier with --sfreq, and all are resampled to it."
        )
    return recordings[0].sfreq


def filtered_stretches(
    recordings: Sequence[Recording],
    montage: Montage,
    sos: FloatArray,
    sfreq: float,
    settle_s: float,
) -> list[FloatArray]:
    """Usable stretches of a montage's channels, as recorded but filtered.

    Parameters
    ----------
    recordings : sequence of Recording
        Of one rate.
    montage : Montage
        Channels that all of them have.
    sos : ndarray, shape (n_sections, 6)
        Front end.
    sfreq : float
        Rate in Hz.
    settle_s : float
        Seconds left out at the start of each, for the filter to settle.

    Returns
    -------
    list of ndarray, shape (n_times, n_channels)
        In µV; stretches under two seconds are left out.
    """
    signals = []
    for recording in recordings:
        columns = match_labels(montage.labels, recording.labels, recording.path.name)
        for start, settled, stop in stretches(recording, sfreq, settle_s):
            filtered = CausalFilter(sos, len(columns)).process(
                recording.data_uv[start:stop, columns]
            )
            signals.append(filtered[settled - start :])
    return signals


def session_bridges(session: Session, settle_s: float) -> list[tuple[int, int]]:
    """Pairs of channels that carry one signal in the recorded reference, LD or not.

    Parameters
    ----------
    session : Session
        The recordings.
    settle_s : float
        Seconds left out at the start of each stretch.

    Returns
    -------
    list of (int, int)
        Rows of the montage; what the session calls bridged is found in the same way.
    """
    signals = filtered_stretches(
        session.recordings, session.montage, session.sos, session.sfreq, settle_s
    )
    return bridges(np.concatenate(signals))


def stretches(recording: Recording, sfreq: float, settle_s: float) -> list[tuple[int, int, int]]:
    """Usable stretches of a recording that are long enough: start, where settled, and stop."""
    return [
        (start, start + min(round(settle_s * sfreq), (stop - start) // 4), stop)
        for start, stop in recording.segments
        if stop - start >= _MIN_SEGMENT_S * sfreq
    ]


def _require_length(signals: list[FloatArray], sfreq: float, notes: list[str]) -> None:
    seconds = sum(len(x) for x in signals) / sfreq
    if seconds < MIN_SECONDS:
        raise CalibrationError(
            f"the session must hold at least {MIN_SECONDS:g} s of continuous signal, got "
            f"{seconds:.1f} s (stretches under {_MIN_SEGMENT_S:g} s and those marked BAD do not "
            "count). Record for longer: 2 to 5 minutes are good."
        )
    if seconds < ADVISED_SECONDS:
        notes.append(f"only {seconds:.0f} s of signal: 2 to 5 minutes make a much better field")


def _bad_rows(
    recordings: Sequence[Recording],
    montage: Montage,
    signals: list[FloatArray],
    sfreq: float,
    notes: list[str],
) -> list[int]:
    marked = {canonical(label) for recording in recordings for label in recording.bads}
    bad = {i for i, label in enumerate(montage.labels) if canonical(label) in marked}
    if bad:
        names = ", ".join(montage.labels[i] for i in sorted(bad))
        notes.append(f"marked bad: {names}: not learned from")
    rest = [i for i in range(len(montage)) if i not in bad]
    found = suspicious_channels([x[:, rest] for x in signals], sfreq)
    for column, reason in found.items():
        label = montage.labels[rest[column]]
        notes.append(f"channel {label} looks {reason}: not learned from")
        bad.add(rest[column])
    return sorted(bad)


def _relative_to_ld(
    recordings: Sequence[Recording],
    montage: Montage,
    signals: list[FloatArray],
    rows: list[int],
    sos: FloatArray,
    sfreq: float,
    settle_s: float,
) -> list[FloatArray]:
    """All channels relative to the LD mean, the mean taken by the very code that serves."""
    labels = tuple(montage.labels[i] for i in rows)
    settings = FrontEndSettings(labels, sos, sfreq)
    centred: list[FloatArray] = []
    for recording in recordings:
        for start, settled, stop in stretches(recording, sfreq, settle_s):
            frontend = FrontEnd(settings, recording.labels)
            ld = frontend.process(recording.data_uv[start:stop])
            mean = reference_free(ld)[1][settled - start :]
            centred.append(signals[len(centred)] - mean)
    return centred
