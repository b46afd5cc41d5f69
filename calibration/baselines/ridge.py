"""Ridge regression on lags: the baseline to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.blocks import Block, Segment, check_segments, make_blocks
from calibration.regression.gram_matrices import (
    LAMBDAS,
    RidgePath,
    accumulate,
    cross_validate,
    lagged,
)
from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError


@dataclass(frozen=True)
class RidgeBaseline:
    """Ridge regression on lags, fitted.

    Attributes
    ----------
    weights : ndarray, shape (n_look_ahead + n_lags, n_ld, n_out), float64
        Lag l of the axis is lag l - n_look_ahead, in samples.
    bias : ndarray, shape (n_out,), float64
        In µV.
    n_look_ahead : int
        Samples waited for.
    lam : float
        Penalty chosen, as a fraction of the mean eigenvalue of the covariance.
    cv_nmse : ndarray, shape (n_out,), float64
        Held-out error of each output over its power.
    """

    weights: FloatArray
    bias: FloatArray
    n_look_ahead: int
    lam: float
    cv_nmse: FloatArray

    def predict(self, x: FloatArray) -> FloatArray:
        """Render the outputs of a segment: x (n_times, n_ld) -> (n_times, n_out) in µV."""
        n, n_ld, n_out = self.weights.shape
        z = lagged(x, 0, len(x), n - self.n_look_ahead, self.n_look_ahead)
        rendered: FloatArray = z @ self.weights.reshape(n * n_ld, n_out) + self.bias
        return rendered


def fit_ridge(
    segments: Sequence[Segment],
    n_lags: int = 16,
    n_look_ahead: int = 0,
    blocks: Sequence[Block] | None = None,
    guard: int | None = None,
) -> RidgeBaseline:
    """Fit ridge on lags -n_look_ahead to n_lags - 1, its penalty by blocked cross-validation.

    Parameters
    ----------
    segments : sequence of (x, y)
        Inputs (n_times, n_ld), scaled, and targets (n_times, n_out) in µV.
    n_lags : int
        1 for ridge on the present sample, 16 for the lagged baseline.
    n_look_ahead : int
        Samples waited for.
    blocks : sequence of Block, optional
        The same blocks as for the model it is compared with.
    guard : int, optional
        Samples at the start of a block that its split leaves out; by default the lags. With the
        guard of the model, cross-validated errors of both are over the same samples.

    Returns
    -------
    RidgeBaseline
        Plain arrays.

    Raises
    ------
    CalibrationError
        If the segments do not fit together or the lags are out of range.
    """
    n_ld, n_out = check_segments(segments)
    if n_lags < 1 or n_look_ahead < 0:
        raise CalibrationError(
            f"n_lags must be at least 1 and n_look_ahead at least 0, got {n_lags} and "
            f"{n_look_ahead}. Use 16 and 0."
        )
    if blocks is None:
        blocks = make_blocks([len(x) for x, _ in segments])

    def features(x: FloatArray, start: int, stop: int) -> FloatArray:
        return lagged(x, start, stop, n_lags, n_look_ahead)

    grams = accumulate(
        segments, blocks, features, guard=n_lags + n_look_ahead if guard is None else guard
    )
    penalty = np.ones((n_lags + n_look_ahead) * n_ld)
    errors = cross_validate(grams, penalty)
    best = int(errors.sum(axis=1).argmin())
    path = RidgePath(grams.total, penalty)
    weights = path.weights(LAMBDAS[best : best + 1])
    power = np.sum([gram.yy for gram in grams.splits], axis=0)
    return RidgeBaseline(
        weights=weights.reshape(n_lags + n_look_ahead, n_ld, n_out),
        bias=path.bias(weights),
        n_look_ahead=n_look_ahead,
        lam=float(LAMBDAS[best]),
        cv_nmse=errors[best] / np.maximum(power, np.finfo(float).tiny),
    )
