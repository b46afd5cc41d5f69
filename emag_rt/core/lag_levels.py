"""Long filters at little cost: dense lags near the present, ever coarser ones further back.

A filter bank whose taps are smooth far from the present need not look at every sample there. The
taps are written as

    taps[:, l] = sum_j sum_k C_j[:, k] phi_j(l - first_j - k stride_j),

where ``phi_0`` is one sample and ``phi_{j+1}`` is ``phi_j`` smoothed by binomial weights at
twice the spacing (the two-scale relation of B-splines; the stationary or "a trous" wavelet
scheme, Holschneider et al. 1989). The stream is smoothed alike, sample by sample, so each level
filters it with its own few taps: the cost grows with the logarithm of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray, IndexArray

_SMOOTH = np.array([1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0]) / 64.0
_ORDER = len(_SMOOTH) - 1
# Error of the best spline of that order, over the sixth difference at its spacing: B_6 / 6!.
_SPLINE_ERROR = 1.0 / 42.0 / 720.0
_ATTEMPTS = (1e-7, 3e-8, 1e-8)
_TOLERANCE = 2e-7
_WORTH = 0.6
_SHORT = 96
_LARGEST = 1 << 24  # numbers in the matrix that is solved: 128 MiB, and some copies of it


def solving_bytes(n_taps: int, n_lags: int) -> int:
    """The most memory that :func:`lag_levels` takes while it looks for levels."""
    matrix = min(_LARGEST, int(_WORTH * n_lags * n_lags)) if n_lags >= _SHORT else 0
    return 8 * (4 * matrix + 16 * n_taps * n_lags)


@dataclass(frozen=True, eq=False)
class LagSegment:
    """Lags ``first``, ``first + stride``, ... of the stream smoothed to that stride.

    Attributes
    ----------
    level : int
        How often the stream is smoothed; the stride is 2 ** level.
    first : int
        In samples.
    taps : ndarray, shape (n_taps, n_lags), float64
        What each of them counts.
    """

    level: int
    first: int
    taps: FloatArray

    @property
    def stride(self) -> int:
        """In samples."""
        return 1 << self.level

    @property
    def deepest(self) -> int:
        """The last lag looked at."""
        return self.first + self.stride * (self.taps.shape[1] - 1)


@dataclass(frozen=True, eq=False)
class LagLevels:
    """A filter bank on several levels.

    Attributes
    ----------
    segments : tuple of LagSegment
        The first is of level 0 and begins with lag 0; no other one holds it.
    smooth : ndarray, shape (n_smooth,), float64
        From a level to the next: these weights at the finer level's stride.
    """

    segments: tuple[LagSegment, ...]
    smooth: FloatArray

    @property
    def n_levels(self) -> int:
        """Levels, the stream itself included."""
        return 1 + max(segment.level for segment in self.segments)

    @property
    def n_lags(self) -> int:
        """Lags looked at on all levels."""
        return sum(segment.taps.shape[1] for segment in self.segments)

    def depth(self, level: int) -> int:
        """Rows before the newest one that are needed of a level, by segments or the next level."""
        own = [s.deepest for s in self.segments if s.level == level]
        feeds = (len(self.smooth) - 1) << level if level + 1 < self.n_levels else 0
        return max([feeds, *own])


def lag_levels(taps: FloatArray, importance: FloatArray | None = None) -> LagLevels:
    """Write a filter bank on as few lags as it allows.

    Parameters
    ----------
    taps : ndarray, shape (n_taps, n_lags)
        ``taps[r, l]`` multiplies the sample l steps before the newest.
    importance : ndarray, shape (n_taps,), optional
        How much of what follows hangs on each row; 1 by default.

    Returns
    -------
    LagLevels
        Equal to ``taps`` to 2e-7 of their norm (rows weighed by importance), or one dense
        segment where that would not save much.
    """
    n_lags = taps.shape[1]
    dense = LagLevels((LagSegment(0, 0, taps),), _SMOOTH)
    weighed = taps if importance is None else taps * importance[:, None]
    size = float(np.linalg.norm(weighed))
    if size == 0.0 or n_lags < _SHORT:
        return dense
    for tolerance in _ATTEMPTS:
        level = _coarsest(weighed, tolerance * float(np.abs(weighed).max()))
        shifts = [_shifts(level, j) for j in range(int(level.max()) + 1)]
        n_functions = sum(len(s) for s in shifts)
        if n_functions > _WORTH * n_lags or n_functions * n_lags > _LARGEST:
            return dense
        basis = _basis(shifts, n_lags)
        solved = np.linalg.lstsq(basis.T, taps.T, rcond=1e-13)[0]
        found = np.asarray(solved.T, dtype=np.float64)
        missed = taps - found @ basis
        if importance is not None:
            missed *= importance[:, None]
        if np.linalg.norm(missed) <= _TOLERANCE * size:
            return LagLevels(_segments(shifts, found), _SMOOTH)
    return dense


def _coarsest(weighed: FloatArray, tolerance: float) -> IndexArray:
    """The coarsest level that follows the taps at each lag, shape (n_lags,)."""
    n_lags = weighed.shape[1]
    level = np.zeros(n_lags, dtype=np.intp)
    fits = np.ones(n_lags, dtype=bool)
    # What is not smooth from sample to sample is a step to splines of any spacing.
    sharp = np.abs(_difference(weighed, 1)).max(axis=0) > tolerance
    stride = 1
    while fits.any():
        level[fits] = stride.bit_length() - 1
        stride *= 2
        rough = np.abs(_difference(weighed, stride)).max(axis=0) * _SPLINE_ERROR > tolerance
        fits &= ~(_any_within(rough, _ORDER * stride, n_lags))
        fits &= ~(_any_within(np.pad(sharp, _ORDER * stride), 2 * _ORDER * stride + _ORDER, n_lags))
    return level


def _difference(values: FloatArray, stride: int) -> FloatArray:
    """Sixth difference; entry i spans lags i - 6 strides to i, and taps outside count as zero."""
    margin = _ORDER * stride
    difference = np.pad(values, ((0, 0), (margin, margin)))
    for _ in range(_ORDER):
        difference = difference[:, stride:] - difference[:, :-stride]
    return difference


def _any_within(rough: BoolArray, margin: int, n_lags: int) -> BoolArray:
    """Whether any difference that touches lag l, or begins close to it, is rough."""
    count = np.concatenate([[0], np.cumsum(rough)])
    start = np.arange(n_lags)
    return np.asarray(count[np.minimum(start + margin + 1, len(rough))] > count[start])


def _shifts(level: IndexArray, j: int) -> IndexArray:
    """Lags at which functions of level ``j`` begin: those that reach where it is in use."""
    n_lags, stride = len(level), 1 << j
    length = _ORDER * (stride - 1) + 1
    here = np.concatenate([[0], np.cumsum(level == j)])
    first = np.arange(0, n_lags - length + 1, stride) + (j > 0)
    first = first[first + length <= n_lags]
    if j == 0:
        kept = level[first] == 0
        kept[: min(len(kept), 2)] = True
        # Coarse functions end a stride before the others begin: fill in between.
        return np.asarray(first[_grown(kept, _ORDER)])
    used = here[np.minimum(first + length, n_lags)] > here[first]
    return np.asarray(first[used])


def _grown(kept: BoolArray, margin: int) -> BoolArray:
    return np.convolve(kept, np.ones(2 * margin + 1), "same") > 0


def _kernel(j: int) -> FloatArray:
    """``phi_j``."""
    kernel = np.ones(1)
    for i in range(j):
        spread = np.zeros((_ORDER << i) + 1)
        spread[:: 1 << i] = _SMOOTH
        kernel = np.convolve(kernel, spread)
    return kernel


def _basis(shifts: list[IndexArray], n_lags: int) -> FloatArray:
    rows = []
    for j, firsts in enumerate(shifts):
        kernel = _kernel(j)
        part = np.zeros((len(firsts), n_lags))
        for row, first in zip(part, firsts, strict=True):
            row[first : first + len(kernel)] = kernel
        rows.append(part)
    return np.concatenate(rows)


def _segments(shifts: list[IndexArray], found: FloatArray) -> tuple[LagSegment, ...]:
    segments, start = [], 0
    for j, firsts in enumerate(shifts):
        breaks = 1 + np.flatnonzero(np.diff(firsts) > 1 << j)
        for run in np.split(np.arange(len(firsts)), breaks):
            if len(run):
                columns = start + run
                segments.append(LagSegment(j, int(firsts[run[0]]), found[:, columns]))
        start += len(firsts)
    return tuple(segments)
