"""The conditional mean of bad channels given the good ones, now and shortly before."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray

_PINV_CUTOFF = 1e-7
# White noise, as a share of the mean power: keeps lags from being told apart beyond their noise.
_LOADING = 1e-4


def fill_matrix(covariance: FloatArray, bad: BoolArray) -> FloatArray:
    """Conditional mean of bad channels given good ones, whatever the reference.

    Parameters
    ----------
    covariance : ndarray, shape (n_ld, n_ld)
        Calibration covariance of the reference-free LD channels in µV².
    bad : ndarray of bool, shape (n_ld,)
        Channels to fill; at least one must be good.

    Returns
    -------
    ndarray, shape (n_bad, n_good)
        ``x_bad = matrix @ x_good``; rows sum to 1, so a common signal passes unchanged.

    Notes
    -----
    x_b = m + S_bg S_gg^-1 (x_g - m) with m the mean of the good channels and S taken relative
    to m, a contrast of the same covariance: no reference is favoured.
    """
    good, lost, n_good = _contrasts(bad)
    inner = good @ covariance @ good.T
    gain = lost @ covariance @ good.T @ np.linalg.pinv(inner, rcond=_PINV_CUTOFF, hermitian=True)
    centre = np.eye(n_good) - 1.0 / n_good
    return np.asarray(gain @ centre + 1.0 / n_good)


def lagged_fill(covariances: FloatArray, bad: BoolArray) -> FloatArray:
    """Conditional mean of bad channels given the good ones at several lags.

    Parameters
    ----------
    covariances : ndarray, shape (n_lags, n_ld, n_ld)
        ``E[x(t) x(t - l)^T]`` of the reference-free LD channels in calibration, in µV².
    bad : ndarray of bool, shape (n_ld,)
        Channels to fill; at least one must be good.

    Returns
    -------
    ndarray, shape (n_lags, n_bad, n_good)
        ``x_bad(t) = sum over l of matrix[l] @ x_good(t - l)``. Of a common signal only the
        present sample passes, unchanged: rows of lag 0 sum to 1, those of other lags to 0.
    """
    n_lags = len(covariances)
    if n_lags == 1:
        return fill_matrix(covariances[0], bad)[None]
    good, lost, n_good = _contrasts(bad)
    # The contrasts of the good channels have one dimension less than there are channels.
    basis = np.linalg.qr(np.eye(n_good) - 1.0 / n_good)[0][:, : n_good - 1]
    good = basis.T @ good
    seen = good @ covariances @ good.T
    blocks = [
        [seen[j - i] if j >= i else seen[i - j].T for j in range(n_lags)] for i in range(n_lags)
    ]
    inner = np.block(blocks)
    inner += _LOADING * np.trace(inner) / max(len(inner), 1) * np.eye(len(inner))
    cross = np.concatenate(list(lost @ covariances @ good.T), axis=1)
    gain = np.linalg.solve(inner, cross.T).T.reshape(len(lost), n_lags, n_good - 1)
    matrix = np.moveaxis(gain @ basis.T, 1, 0)
    matrix[0] += 1.0 / n_good
    return np.asarray(matrix)


def _contrasts(bad: BoolArray) -> tuple[FloatArray, FloatArray, int]:
    """Good and bad channels relative to the mean of the good ones."""
    n_good = int((~bad).sum())
    to_mean = np.where(bad, 0.0, 1.0 / n_good)
    return np.eye(len(bad))[~bad] - to_mean, np.eye(len(bad))[bad] - to_mean, n_good
