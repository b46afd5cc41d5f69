"""Which stretches of a recording are continuous and usable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray

Segment = tuple[int, int]
"""Sample range (start, stop), stop excluded."""

FLAT_S = 0.1
"""Stretches this long in which every channel stands still are padding, not EEG."""


def runs(mask: BoolArray) -> list[Segment]:
    """Ranges in which a mask is true, ascending."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def padding(data: FloatArray, sfreq: float) -> list[Segment]:
    """Stretches of at least 0.1 s in which all channels are constant.

    Parameters
    ----------
    data : ndarray, shape (n_times, n_channels)
        Signal.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    list of (int, int)
        Sample ranges.
    """
    if len(data) < 2:
        return []
    still = (np.diff(data, axis=0) == 0).all(axis=1)
    shortest = max(2, round(FLAT_S * sfreq))
    return [(a, b + 1) for a, b in runs(still) if b + 1 - a >= shortest]


def usable_segments(
    n_times: int, unusable: Iterable[Segment], splits: Iterable[int]
) -> tuple[Segment, ...]:
    """Continuous ranges between what is unusable and where time jumps.

    Parameters
    ----------
    n_times : int
        Samples in the recording.
    unusable : iterable of (int, int)
        Sample ranges to leave out.
    splits : iterable of int
        Samples before which the recording is not continuous.

    Returns
    -------
    tuple of (int, int)
        Usable ranges of at least two samples, ascending.
    """
    good = np.ones(n_times, dtype=bool)
    for start, stop in unusable:
        good[max(0, start) : max(0, stop)] = False
    cuts = sorted({k for k in splits if 0 < k < n_times})
    segments: list[Segment] = []
    for start, stop in runs(good):
        bounds = [start, *[k for k in cuts if start < k < stop], stop]
        segments += [(a, b) for a, b in pairwise(bounds) if b - a >= 2]
    return tuple(segments)


def breaks(
    onsets_s: Sequence[float],
    durations_s: Sequence[float],
    descriptions: Sequence[str],
    sfreq: float,
) -> tuple[list[Segment], list[int]]:
    """What annotations say of continuity.

    Parameters
    ----------
    onsets_s, durations_s : sequence of float
        In seconds from the first sample.
    descriptions : sequence of str
        ``BAD...`` leaves a stretch out; ``boundary`` (EEGLAB, MNE) and ``New Segment``
        (BrainVision) split.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    unusable : list of (int, int)
        Sample ranges.
    splits : list of int
        Samples before which the recording is not continuous.
    """
    unusable: list[Segment] = []
    splits: list[int] = []
    for onset, duration, text in zip(onsets_s, durations_s, descriptions, strict=True):
        lower = text.lower()
        start = round(onset * sfreq)
        if "boundary" in lower or "new segment" in lower:
            # Its duration tells how much was removed from the recording (EEGLAB), not what
            # to leave out.
            splits.append(start)
        elif lower.startswith("bad"):
            unusable.append((start, start + max(1, round(duration * sfreq))))
    return unusable, splits
