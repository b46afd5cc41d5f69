"""Sums over blocks of time, and ridge regression for every penalty from them.

Cross-validation never touches the data twice: the Gram matrices of the splits are summed once,
and a split's training set is the total less the split. One eigendecomposition a split then gives
the error of every penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.blocks import Block, Segment, guarded_start, n_splits_of
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.errors import CalibrationError

LAMBDAS: FloatArray = 10.0 ** np.arange(-7.0, 2.01, 0.5)
"""Penalties tried, as fractions of the mean eigenvalue of the (penalty-weighted) covariance."""

Features = Callable[[FloatArray, int, int], FloatArray]
"""(x, start, stop) -> (stop - start, n_features): features of a stretch of a segment."""


@dataclass(frozen=True)
class Gram:
    """Sums over samples of features z and targets y.

    Attributes
    ----------
    zz : ndarray, shape (n_features, n_features), float64
        Sum of z z'.
    zy : ndarray, shape (n_features, n_out), float64
        Sum of z y'.
    yy : ndarray, shape (n_out,), float64
        Sum of y squared, in µV².
    z, y : ndarray, shape (n_features,) and (n_out,), float64
        Sums.
    n : int
        Number of samples.
    """

    zz: FloatArray
    zy: FloatArray
    yy: FloatArray
    z: FloatArray
    y: FloatArray
    n: int

    @classmethod
    def of(cls, z: FloatArray, y: FloatArray) -> Gram:
        """Sum over the samples of z (n, n_features) and y (n, n_out)."""
        return cls(z.T @ z, z.T @ y, (y**2).sum(axis=0), z.sum(axis=0), y.sum(axis=0), len(z))

    def plus(self, other: Gram, sign: int = 1) -> Gram:
        """Add (or, with sign -1, take away) the samples of another Gram."""
        return Gram(
            self.zz + sign * other.zz,
            self.zy + sign * other.zy,
            self.yy + sign * other.yy,
            self.z + sign * other.z,
            self.y + sign * other.y,
            self.n + sign * other.n,
        )

    def part(self, columns: IndexArray) -> Gram:
        """Keep some of the features."""
        zz = self.zz[np.ix_(columns, columns)]
        return Gram(zz, self.zy[columns], self.yy, self.z[columns], self.y, self.n)

    def centered(self, mean_z: FloatArray, mean_y: FloatArray) -> Gram:
        """Sums of the same samples after the given means are taken away."""
        cross = np.outer(self.z, mean_z)
        zz = self.zz - cross - cross.T + self.n * np.outer(mean_z, mean_z)
        zy = self.zy - np.outer(mean_z, self.y) - np.outer(self.z, mean_y)
        zy += self.n * np.outer(mean_z, mean_y)
        yy = self.yy - 2 * mean_y * self.y + self.n * mean_y**2
        return Gram(zz, zy, yy, self.z - self.n * mean_z, self.y - self.n * mean_y, self.n)


@dataclass(frozen=True)
class SplitGrams:
    """The session's statistics: one Gram a split, and that of every sample.

    Attributes
    ----------
    splits : tuple of Gram
        Samples of each split, less the guards.
    total : Gram
        All samples: the guards only matter while splits are compared.
    """

    splits: tuple[Gram, ...]
    total: Gram

    def training(self, split: int) -> Gram:
        """Sum the other splits."""
        others = [gram for index, gram in enumerate(self.splits) if index != split]
        result = others[0]
        for gram in others[1:]:
            result = result.plus(gram)
        return result

    def part(self, columns: IndexArray) -> SplitGrams:
        """Keep some of the features."""
        splits = tuple(gram.part(columns) for gram in self.splits)
        return SplitGrams(splits, self.total.part(columns))


def accumulate(
    segments: Sequence[Segment], blocks: Sequence[Block], features: Features, guard: int
) -> SplitGrams:
    """Sum the block statistics, in one pass over the data.

    Parameters
    ----------
    segments : sequence of (x, y)
        Inputs and targets.
    blocks : sequence of Block
        As made by :func:`calibration.regression.blocks.make_blocks`.
    features : callable
        Features of a stretch of a segment.
    guard : int
        Samples at the start of a block that no split counts.

    Returns
    -------
    SplitGrams
        Statistics a split, and of all samples.
    """
    splits: list[Gram | None] = [None] * n_splits_of(blocks)
    margin: Gram | None = None
    for block in blocks:
        x, y = segments[block.segment]
        z, target = features(x, block.start, block.stop), y[block.start : block.stop]
        cut = guarded_start(block, guard) - block.start
        inner, edge, kept = Gram.of(z[cut:], target[cut:]), Gram.of(z[:cut], target[:cut]), None
        kept = splits[block.split]
        splits[block.split] = inner if kept is None else kept.plus(inner)
        margin = edge if margin is None else margin.plus(edge)
    full = [gram for gram in splits if gram is not None]
    if len(full) != len(splits) or margin is None:
        raise CalibrationError("blocks must give every split samples. Use make_blocks().")
    total = margin
    for gram in full:
        total = total.plus(gram)
    return SplitGrams(tuple(full), total)


class RidgePath:
    """Ridge solutions for every penalty from one eigendecomposition.

    The penalty of feature i is ``lam * penalty[i]``; the bias is not penalised.
    """

    def __init__(self, gram: Gram, penalty: FloatArray) -> None:
        self.mean_z, self.mean_y = gram.z / gram.n, gram.y / gram.n
        centered = gram.centered(self.mean_z, self.mean_y)
        self._root = 1.0 / np.sqrt(penalty)
        scaled = self._root[:, None] * centered.zz * self._root / gram.n
        values, self._vectors = np.linalg.eigh(scaled)
        self._values = np.maximum(values, 0.0)
        # A constant input has no variance: any positive number keeps the division defined.
        self._unit = max(float(self._values.mean()), np.finfo(float).tiny)
        self._target = self._vectors.T @ (self._root[:, None] * centered.zy / gram.n)

    def _rotated(self, lam: FloatArray) -> FloatArray:
        shrunk: FloatArray = self._target / (self._values[:, None] + lam * self._unit)
        return shrunk

    def weights(self, lam: FloatArray) -> FloatArray:
        """Weights (n_features, n_out) for a penalty an output (n_out,), or one for all (1,)."""
        result: FloatArray = self._root[:, None] * (self._vectors @ self._rotated(lam))
        return result

    def bias(self, weights: FloatArray) -> FloatArray:
        """Bias (n_out,) that goes with weights."""
        return self.mean_y - self.mean_z @ weights

    def errors(self, held_out: Gram, lambdas: FloatArray) -> FloatArray:
        """Sums of squared error (n_lambdas, n_out) on other samples, in µV²."""
        other = held_out.centered(self.mean_z, self.mean_y)
        basis = self._root[:, None] * self._vectors
        zz, zy = basis.T @ other.zz @ basis, basis.T @ other.zy
        rows = []
        for lam in lambdas:
            w = self._rotated(np.array([lam]))
            rows.append(other.yy - 2 * (w * zy).sum(axis=0) + (w * (zz @ w)).sum(axis=0))
        return np.maximum(np.array(rows), 0.0)


def cross_validate(
    grams: SplitGrams, penalty: FloatArray, lambdas: FloatArray = LAMBDAS
) -> FloatArray:
    """Sum the held-out errors of every penalty over the splits.

    Parameters
    ----------
    grams : SplitGrams
        Statistics of the session.
    penalty : ndarray, shape (n_features,), float64
        Relative penalty of each feature.
    lambdas : ndarray, shape (n_lambdas,), float64
        Penalties to try.

    Returns
    -------
    ndarray, shape (n_lambdas, n_out), float64
        Squared error in µV², summed over held-out samples.
    """
    errors = np.zeros((len(lambdas), len(grams.total.yy)))
    for split, held_out in enumerate(grams.splits):
        errors += RidgePath(grams.training(split), penalty).errors(held_out, lambdas)
    return errors


def lagged(x: FloatArray, start: int, stop: int, n_lags: int, n_look_ahead: int) -> FloatArray:
    """Stack delayed copies of the inputs, with zeros outside the segment.

    Parameters
    ----------
    x : ndarray, shape (n_times, n_ld), float64
        A whole segment.
    start, stop : int
        The stretch that is wanted.
    n_lags, n_look_ahead : int
        Lags run from -n_look_ahead to n_lags - 1.

    Returns
    -------
    ndarray, shape (stop - start, (n_look_ahead + n_lags) * n_ld), float64
        Lag by lag, the earliest lag first.
    """
    first, last = start - (n_lags - 1), stop + n_look_ahead
    span = np.zeros((last - first, x.shape[1]))
    span[max(0, -first) : min(last, len(x)) - first] = x[max(0, first) : min(last, len(x))]
    size, n = stop - start, n_lags + n_look_ahead
    return np.concatenate([span[n - 1 - lag : n - 1 - lag + size] for lag in range(n)], axis=1)
