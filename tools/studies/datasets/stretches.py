"""From arrays and labels to a checked :class:`SubjectData`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.errors import MontageError, RecordingError
from emag_rt.recordings.usable import Segment, padding, runs, usable_segments
from tools.studies.datasets.subject_data import Stretch, SubjectData

# Median amplitude of EEG (about its median) lies well inside; a wrong unit is off by 1e3.
PLAUSIBLE_UV = (0.1, 5000.0)


def usable_parts(
    data_uv: FloatArray,
    sfreq: float,
    good: BoolArray,
    *,
    unusable: Sequence[Segment] = (),
    splits: Sequence[int] = (),
) -> tuple[list[FloatArray], str]:
    """Cut a signal into its usable stretches.

    Parameters
    ----------
    data_uv : ndarray, shape (n_times, n_channels)
        Signal in µV.
    sfreq : float
        Rate in Hz.
    good : ndarray, shape (n_channels,), bool
        Channels that are not marked as bad: a bad one may hold anything.
    unusable : sequence of (int, int)
        Sample ranges that annotations leave out.
    splits : sequence of int
        Samples before which the signal is not continuous.

    Returns
    -------
    parts : list of ndarray, shape (n_times, n_channels)
        Finite; bad channels that are not hold zeros there.
    note : str
        What was left out, for the reader; empty where nothing was.
    """
    holes = runs(np.asarray(~np.isfinite(data_uv[:, good]).all(axis=1)))
    flat = padding(data_uv[:, good], sfreq)
    kept = usable_segments(len(data_uv), [*unusable, *holes, *flat], splits)
    lost = (len(data_uv) - sum(stop - start for start, stop in kept)) / sfreq
    note = f"left out {lost:.2f} s: not a number, constant, or annotated BAD" if lost > 0 else ""
    parts = [np.nan_to_num(data_uv[a:b], nan=0.0, posinf=0.0, neginf=0.0) for a, b in kept]
    return parts, note


def make_subject(
    dataset: str,
    subject: str,
    labels: Sequence[str],
    positions_mm: FloatArray,
    sfreq: float,
    stretches: Sequence[Stretch],
    *,
    window_s: float,
    epoched: bool = False,
    bads: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> SubjectData:
    """Put a subject together, and check that it makes sense.

    Parameters
    ----------
    dataset, subject : str
        Names.
    labels : sequence of str
        Labels of the columns.
    positions_mm : ndarray, shape (n_channels, 3)
        Positions in any frame with axes along right, front and up; NaN where unknown. Channels
        without position are left out, and noted.
    sfreq : float
        Rate in Hz.
    stretches : sequence of Stretch
        Signal in µV.
    window_s : float
        Usual length of a window in seconds.
    epoched : bool
        Whether stretches are epochs.
    bads, notes : sequence of str
        Channels marked as bad; what is to be said.

    Returns
    -------
    SubjectData
        Consistent.

    Raises
    ------
    RecordingError
        If nothing is usable, the unit is implausible, labels are doubled or positions do not lie
        on a head.
    """
    where = f"{dataset}, subject {subject}"
    if not stretches:
        raise RecordingError(
            f"{where}: some stretch must be usable, got none. {' '.join(notes)}".rstrip()
        )
    bad = {label for label in bads if label in labels}
    _check_amplitude(stretches, np.array([label not in bad for label in labels]), where)
    placed: BoolArray = np.asarray(np.isfinite(positions_mm).all(axis=1))
    said = list(notes)
    if not placed.all():
        lost = [label for label, known in zip(labels, placed, strict=True) if not known]
        said.append(f"positions unknown, left out: {', '.join(lost)}")
        stretches = [_columns(stretch, placed) for stretch in stretches]
    kept = tuple(label for label, known in zip(labels, placed, strict=True) if known)
    try:
        origin, radius = fit_sphere(positions_mm[placed])
        montage = Montage(kept, positions_mm[placed] - origin)
    except MontageError as error:
        raise RecordingError(f"{where} ({stretches[0].file.name}): {error}") from error
    return SubjectData(
        dataset=dataset,
        subject=subject,
        montage=montage,
        origin_mm=origin,
        radius_mm=radius,
        sfreq=float(sfreq),
        stretches=tuple(stretches),
        epoched=epoched,
        window_s=window_s,
        bads=tuple(label for label in kept if label in bad),
        warnings=tuple(dict.fromkeys(said)),
    )


def _columns(stretch: Stretch, keep: BoolArray) -> Stretch:
    data = np.ascontiguousarray(stretch.data_uv[:, keep])
    return Stretch(data, stretch.file, stretch.run, stretch.session)


def _check_amplitude(stretches: Sequence[Stretch], good: BoolArray, where: str) -> None:
    """Refuse units that cannot be right, file by file."""
    low, high = PLAUSIBLE_UV
    by_file: dict[Path, list[FloatArray]] = {}
    for stretch in stretches:
        by_file.setdefault(stretch.file, []).append(stretch.data_uv[:, good])
    for file, parts in by_file.items():
        # Epochs have offsets of their own, so each part is taken about its own median.
        sizes = [np.median(np.abs(part - np.median(part, axis=0))) for part in parts]
        amplitude = float(np.median(sizes))
        if not low <= amplitude <= high:
            raise RecordingError(
                f"{file.name} ({where}): the median EEG amplitude must lie between {low:g} and "
                f"{high:g} µV, got {amplitude:.3g} µV: the unit looks wrong. Correct the unit "
                "that the dataset declares, or scale the file."
            )
