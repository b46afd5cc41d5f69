"""Trials of one person, as a decoder gets them from every kind of amplifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.array_types import Float32Array, FloatArray, IndexArray
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.core.labels import match_labels
from emag_rt.core.spline import spherical_spline
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import RecordingError
from emag_rt.frontend import CausalFilter, design_band
from emag_rt.recordings.read import Recording, read_recording

SFREQ = 160.0
BAND_HZ = (8.0, 30.0)
WINDOW_S = (0.5, 3.5)
STATISTICS = ("estimate", "matched", "simulated")
_SETTLE_S = 1.0


@dataclass(frozen=True)
class Task:
    """Two classes to tell apart in eegmmidb.

    Attributes
    ----------
    decoded, calibration : tuple of int
        Runs with the trials, and runs the field is calibrated on, which are never decoded.
    """

    decoded: tuple[int, ...]
    calibration: tuple[int, ...]


TASKS = {
    "fists-imagined": Task((4, 8, 12), (3,)),
    "fists-moved": Task((3, 7, 11), (4,)),
    "fists-feet-imagined": Task((6, 10, 14), (5,)),
    "fists-feet-moved": Task((5, 9, 13), (6,)),
}
"""Left or right fist, and both fists or both feet; T1 and T2 in the files."""
CLASSES = ("T1", "T2")


@dataclass(frozen=True, eq=False)
class Epochs:
    """Trials of one kind of signal.

    Attributes
    ----------
    signals : ndarray, shape (n_trials, n_channels, n_times), or None
        Band-passed, in µV; None where there are covariances only.
    covariances : ndarray, shape (n_trials, n_channels, n_channels)
        Shrunk (OAS).
    """

    signals: FloatArray | None
    covariances: FloatArray

    @classmethod
    def of(cls, signals: FloatArray) -> Epochs:
        """With their covariances."""
        return cls(signals, shrunk_covariances(signals))

    def take(self, rows: IndexArray) -> Epochs:
        """Some of the trials."""
        signals = None if self.signals is None else self.signals[rows]
        return Epochs(signals, self.covariances[rows])

    def through(self, filters: FloatArray) -> Epochs:
        """Through one spatial filter, or one for each trial; shape (..., n_out, n_channels)."""
        signals = None if self.signals is None else filters @ self.signals
        return Epochs(signals, filters @ self.covariances @ np.swapaxes(filters, -1, -2))


def shrunk_covariances(signals: FloatArray) -> FloatArray:
    """Oracle-approximating shrinkage (Chen et al. 2010) of all trials at once.

    scikit-learn's takes one trial at a time, and longer to check than to compute.
    """
    _, n_channels, n_times = signals.shape
    x = signals - signals.mean(axis=-1, keepdims=True)
    plain = x @ x.transpose(0, 2, 1) / n_times
    level = np.trace(plain, axis1=1, axis2=2) / n_channels
    spread = (plain**2).mean(axis=(1, 2))
    with np.errstate(divide="ignore"):  # one channel, or all alike: the share is 1
        share = (spread + level**2) / ((n_times + 1) * (spread - level**2 / n_channels))
    share = np.clip(share, 0.0, 1.0)[:, None, None]
    return (1 - share) * plain + share * level[:, None, None] * np.eye(n_channels)


def joined(parts: Sequence[Epochs]) -> Epochs:
    """All trials of several, one after the other."""
    signals = [part.signals for part in parts if part.signals is not None]
    covariances = np.concatenate([part.covariances for part in parts])
    return Epochs(np.concatenate(signals) if signals else None, covariances)


@dataclass(frozen=True, eq=False)
class Trials:
    """One person's trials.

    Attributes
    ----------
    kinds : dict of str to Epochs
        ``hd``, ``ld``, ``zeros``, ``spline`` and each of the ``STATISTICS``: the same trials.
    resting : dict of str to Epochs
        Windows of the runs that the field was calibrated on, of some kinds, without labels.
    classes : ndarray, shape (n_trials,)
        0 or 1.
    splits : ndarray, shape (n_trials,)
        What is decoded together while the rest trains: the run; a third of it where there is one.
    """

    kinds: dict[str, Epochs]
    resting: dict[str, Epochs]
    classes: IndexArray
    splits: IndexArray


def calibrated(files: Sequence[Path], n_ld: int, refine: bool, place: Path) -> Bundle:
    """The person's bundle; made once, and kept."""
    if not place.exists():
        recordings = [read_recording(path, sfreq=SFREQ) for path in files]
        calibrator = FieldCalibrator(n_ld, CalibrationSettings(refine=refine, prior="none")).fit(
            recordings
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        calibrator.save(place)
    return load_bundle(place)


def signals_of(
    bundle: Bundle, recording: Recording, statistics: Sequence[str] = STATISTICS
) -> dict[str, FloatArray]:
    """The same run as each kind of amplifier would deliver it, (n_times, n_channels) in µV."""
    manifest = bundle.manifest
    columns = match_labels([e.label for e in manifest.hd], recording.labels, recording.path.name)
    hd = front_end(recording.data_uv[:, columns], manifest.frontend.band_hz)
    rows = [[e.label for e in manifest.hd].index(e.label) for e in manifest.ld]
    places = np.array([e.position_mm for e in manifest.hd])
    spline = hd[:, rows] @ spherical_spline(places[rows], places).T
    spline[:, rows] = hd[:, rows]
    zeros = np.zeros_like(hd)
    zeros[:, rows] = hd[:, rows]
    found = {"hd": hd, "ld": hd[:, rows], "zeros": zeros, "spline": spline}
    for mode in statistics:
        upsampler = Upsampler(bundle, channels=recording.labels, statistics=mode, mismatch="warn")
        found[mode] = render_recording(upsampler, recording.data_uv).astype(np.float64)
    return found


def front_end(rows: FloatArray, band_hz: tuple[float, float]) -> FloatArray:
    """Measured rows through the filter that serving has."""
    return CausalFilter(design_band(*band_hz, SFREQ), rows.shape[1]).process(rows)


def band_passed(rows: FloatArray) -> FloatArray:
    """Causally, relative to the mean of the channels; as a decoder does live."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    sos = butter(4, BAND_HZ, "bandpass", fs=SFREQ, output="sos")
    return sosfilt(sos, rows, axis=0, zi=sosfilt_zi(sos)[:, :, None] * rows[0])[0]


def windows(rows: FloatArray, starts: Sequence[int]) -> FloatArray:
    """Cut, shape (n_windows, n_channels, n_times)."""
    n = round((WINDOW_S[1] - WINDOW_S[0]) * SFREQ)
    return np.array([rows[start : start + n].T for start in starts])


def cues(recording: Recording) -> list[tuple[int, int]]:
    """First sample and class of each trial that lies within usable signal."""
    n = round((WINDOW_S[1] - WINDOW_S[0]) * SFREQ)
    found = [
        (round((onset + WINDOW_S[0]) * SFREQ), CLASSES.index(text))
        for onset, _, text in recording.events
        if text in CLASSES
    ]
    return [(a, k) for a, k in found if any(i <= a and a + n <= j for i, j in recording.segments)]


def load_trials(bundle: Bundle, task: Task, files: Mapping[int, Path]) -> Trials:
    """Read and render a person's runs.

    Parameters
    ----------
    bundle : Bundle
        The person's own.
    task : Task
        What is decoded.
    files : mapping of int to Path
        The person's runs.

    Raises
    ------
    RecordingError
        If a class has no trial to train on.
    """
    kinds: dict[str, list[FloatArray]] = {}
    classes: list[int] = []
    runs: list[int] = []
    for run in (run for run in task.decoded if run in files):
        recording = read_recording(files[run], sfreq=SFREQ)
        marks = cues(recording)
        for kind, rows in signals_of(bundle, recording).items():
            cut = windows(band_passed(rows), [start for start, _ in marks])
            kinds.setdefault(kind, []).append(cut)
        classes += [k for _, k in marks]
        runs += [run] * len(marks)
    one_run = len(set(runs)) == 1
    splits = 3 * np.arange(len(runs)) // len(runs) if one_run else np.array(runs, dtype=np.intp)
    told = np.array(classes, dtype=np.intp)
    if not runs or any(len(set(told[splits != split])) < 2 for split in set(splits)):
        names = ", ".join(path.name for path in files.values())
        raise RecordingError(f"{names}: both classes must be there to train on, they are not.")
    return Trials(
        kinds={kind: Epochs.of(np.concatenate(parts)) for kind, parts in kinds.items()},
        resting=_resting(bundle, [files[run] for run in task.calibration]),
        classes=told,
        splits=splits,
    )


def _resting(bundle: Bundle, files: Sequence[Path]) -> dict[str, Epochs]:
    found: dict[str, list[FloatArray]] = {}
    for path in files:
        recording = read_recording(path, sfreq=SFREQ)
        n = round((WINDOW_S[1] - WINDOW_S[0]) * SFREQ)
        starts = [
            start
            for i, j in recording.segments
            for start in range(i + round(_SETTLE_S * SFREQ), j - n + 1, n)
        ]
        for kind, rows in signals_of(bundle, recording, STATISTICS[:1]).items():
            found.setdefault(kind, []).append(windows(band_passed(rows), starts))
    return {kind: Epochs.of(np.concatenate(parts)) for kind, parts in found.items()}


@dataclass(frozen=True, eq=False)
class Lent:
    """Measured HD trials of a person whose decoder another one uses.

    Attributes
    ----------
    labels : tuple of str
        Channels.
    signals : ndarray, shape (n_trials, n_channels, n_times), float32
        Band-passed, in µV.
    classes : ndarray, shape (n_trials,)
        0 or 1.
    """

    labels: tuple[str, ...]
    signals: Float32Array
    classes: IndexArray

    def worn(self, labels: Sequence[str]) -> Epochs:
        """With these channels alone, relative to their mean."""
        rows = match_labels(labels, self.labels, "a person whose decoder is used")
        signals = self.signals[:, rows].astype(np.float64)
        return Epochs.of(signals - signals.mean(axis=1, keepdims=True))


@cache
def lent_trials(files: tuple[Path, ...], band_hz: tuple[float, float]) -> Lent:
    """Read the runs of a person who lends a decoder; kept, as everyone else asks for them."""
    signals, classes = [], []
    for path in files:
        recording = read_recording(path, sfreq=SFREQ)
        marks = cues(recording)
        rows = band_passed(front_end(recording.data_uv, band_hz))
        signals.append(windows(rows, [start for start, _ in marks]).astype(np.float32))
        classes += [k for _, k in marks]
    return Lent(recording.labels, np.concatenate(signals), np.array(classes, dtype=np.intp))
