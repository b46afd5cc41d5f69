"""The floor: the best causal linear estimate of HD from LD, from covariances that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from emag_rt.array_types import FloatArray
from emag_rt.core.drive import contrasts
from emag_rt.errors import SettingsError

_JITTER = 1e-9


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """Second-order statistics of inputs and outputs, behind the front end.

    Inputs are LD channels relative to their mean, at ``n_lags`` lags; outputs are channels
    relative to the same mean.

    Attributes
    ----------
    xx : ndarray, shape (n_lags * n_ld, n_lags * n_ld), float64
        Covariance of the inputs, lag-major, in µV².
    xy : ndarray, shape (n_lags * n_ld, n_out), float64
        Covariance of inputs and outputs.
    yy : ndarray, shape (n_out,), float64
        Variances of the outputs.
    n_lags : int
        Lags 0 to n_lags - 1.
    """

    xx: FloatArray
    xy: FloatArray
    yy: FloatArray
    n_lags: int

    @property
    def n_ld(self) -> int:
        """Number of LD channels."""
        return len(self.xx) // self.n_lags

    def nmse(self, weights: FloatArray) -> float:
        """Expected error of any linear estimator over the expected power, pooled over outputs.

        Parameters
        ----------
        weights : ndarray, shape (at most n_lags, n_ld, n_out), float64
            On the LD channels relative to their mean, in µV per µV.

        Returns
        -------
        float
            Exact: no sample is drawn.

        Raises
        ------
        SettingsError
            If the weights have more lags than the statistics.
        """
        if len(weights) > self.n_lags:
            raise SettingsError(
                f"weights must have at most {self.n_lags} lags, got {len(weights)}. "
                "Make the problem with more lags."
            )
        flat = weights.reshape(-1, weights.shape[-1])
        n = len(flat)
        cross = float((flat * self.xy[:n]).sum())
        power = float((flat * (self.xx[:n, :n] @ flat)).sum())
        return (float(self.yy.sum()) - 2.0 * cross + power) / float(self.yy.sum())

    def optimal(self, n_lags: int | None = None) -> FloatArray:
        """Wiener filter on the first lags.

        Parameters
        ----------
        n_lags : int, optional
            How many; by default all.

        Returns
        -------
        ndarray, shape (n_lags, n_ld, n_out), float64
            No other linear estimator on these lags has a smaller error.
        """
        n_lags = self.n_lags if n_lags is None else n_lags
        n_ld = self.n_ld
        n = n_lags * n_ld
        # Inputs relative to their mean have one dimension less than channels.
        basis = contrasts(n_ld)
        blocks = self.xx[:n, :n].reshape(n_lags, n_ld, n_lags, n_ld)
        zz = np.einsum("iajb,ap,bq->ipjq", blocks, basis, basis, optimize=True)
        zz = zz.reshape(n_lags * (n_ld - 1), -1)
        zy = np.einsum("iao,ap->ipo", self.xy[:n].reshape(n_lags, n_ld, -1), basis)
        zz[np.diag_indices_from(zz)] += _JITTER * np.trace(zz) / len(zz)
        solved = cho_solve(cho_factor(zz, lower=True), zy.reshape(len(zz), -1))
        weights = np.einsum("ipo,ap->iao", solved.reshape(n_lags, n_ld - 1, -1), basis)
        return np.asarray(weights)


def linear_problem(
    measured: FloatArray, target: FloatArray, ld: Sequence[int], out: Sequence[int]
) -> LinearProblem:
    """Set up the estimation of some channels from others.

    Parameters
    ----------
    measured : ndarray, shape (n_lags, n_channels, n_channels), float64
        Lagged covariances of what is measured.
    target : ndarray, shape (n_lags, n_channels, n_channels), float64
        Those of the part that is wanted, which must be independent of the rest; ``measured``
        itself where the outputs are measured channels.
    ld, out : sequence of int
        Rows of the inputs, and of the outputs.

    Returns
    -------
    LinearProblem
        For its ``optimal`` filter and the ``nmse`` of any other.
    """
    n_lags, n_channels, _ = measured.shape
    ld, out = list(ld), list(out)
    mean = np.zeros(n_channels)
    mean[ld] = 1.0 / len(ld)
    from_ld = np.eye(n_channels)[ld] - mean
    from_out = np.eye(n_channels)[out] - mean
    own = from_ld @ measured @ from_ld.T
    lag = np.arange(n_lags) - np.arange(n_lags)[:, None]
    # E[x(t - i) x(t - j)'] depends on j - i alone, and turns around with its sign.
    both = np.concatenate([own, own[:0:-1].swapaxes(1, 2)])
    xx = both[lag].swapaxes(1, 2).reshape(n_lags * len(ld), n_lags * len(ld))
    later = (from_out @ target @ from_ld.T).swapaxes(1, 2)
    xy = later.reshape(n_lags * len(ld), len(out))
    yy = np.einsum("oc,cd,od->o", from_out, target[0], from_out, optimize=True)
    return LinearProblem(xx, xy, yy, n_lags)


def apply(weights: FloatArray, x: FloatArray) -> FloatArray:
    """Run a causal linear estimator: x (n_times, n_ld) -> (n_times, n_out).

    Parameters
    ----------
    weights : ndarray, shape (n_lags, n_ld, n_out), float64
        As given by :meth:`LinearProblem.optimal`.
    x : ndarray, shape (n_times, n_ld), float64
        Inputs, zero before their first sample.

    Returns
    -------
    ndarray, shape (n_times, n_out), float64
        Estimate.
    """
    out = np.zeros((len(x), weights.shape[2]))
    for lag, matrix in enumerate(weights):
        if lag < len(x):
            out[lag:] += x[: len(x) - lag] @ matrix
    return out
