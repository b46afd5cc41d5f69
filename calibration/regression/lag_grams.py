"""Cross-validated error of any set of electrodes, from Gram matrices alone.

The surrogate is ridge on a few lags. One pass over the data sums the Gram matrix of *all* channels
x lags for each split; no sample is touched again. For a set S, the fit of everything on S leaves
``u = z - A'z_S`` of every channel, and a channel c that joins S changes the held-out error by a
rank-L update with its own innovation ``u_c``. So one solve of the size of S gives the exact
refitted error of S with *each* further channel.

The reference makes no difference. A fit that must not see the amplifier's reference has weights
that sum to one over S at lag 0 and to zero at other lags. That is what a signal common to all
channels, white and far stronger than EEG, forces on ridge: it is added to the training Grams, and
one Gram serves all sets, although each has another mean. Errors are over the power of all channels
under average reference, which is the same for every set; over the power relative to the LD mean
they would reward sets with a loud mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from calibration.regression.blocks import Block, make_blocks
from calibration.regression.gram_matrices import accumulate
from calibration.regression.profiles import spacing_s
from emag_rt.array_types import FloatArray, IndexArray

Reference = Literal["average", "ld-mean"]

LAGS = (0, 1, 2, 3, 5, 8, 13)
PENALTIES: FloatArray = 10.0 ** np.arange(-5.0, -0.4, 0.5)
COMMON_MODE = 1e5
"""Power of the common signal over the mean power of a channel."""


@dataclass(frozen=True, eq=False)
class SearchGrams:
    """What the search knows of a session.

    Attributes
    ----------
    train, held : ndarray, shape (n_splits, n_channels * n_lags, n_channels * n_lags), float64
        Gram matrices of all channels x lags (a channel's lags side by side) of the samples that a
        split trains on, and of those it holds out; in µV² a training sample, and summed.
    penalty : ndarray, shape (n_splits, n_channels * n_lags), float64
        Power of each feature in training, by which its weight is penalised.
    power : float
        Held-out power of all channels under average reference, in µV².
    n_channels, n_lags : int
        Sizes.
    reference : {"average", "ld-mean"}
        What errors are taken relative to.
    """

    train: FloatArray
    held: FloatArray
    penalty: FloatArray
    power: float
    n_channels: int
    n_lags: int
    reference: Reference = "average"


def lag_samples(sfreq: float, n_look_ahead: int = 0) -> tuple[int, ...]:
    """Lags of the surrogate in samples, 0 first; ahead: those within, and the look-ahead."""
    step = spacing_s(sfreq) * sfreq
    past = [round(lag * step) for lag in LAGS]
    ahead = {lag for lag in past if 0 < lag <= n_look_ahead} | ({n_look_ahead} - {0})
    return (*past, *(-lag for lag in sorted(ahead)))


def search_grams(
    signals: Sequence[FloatArray],
    sfreq: float,
    n_look_ahead: int = 0,
    *,
    reference: Reference = "average",
    blocks: Sequence[Block] | None = None,
) -> SearchGrams:
    """Sum the Gram matrices of a session, block by block.

    Parameters
    ----------
    signals : sequence of ndarray, shape (n_times, n_channels)
        Good channels of each continuous stretch, filtered, in µV, in any reference.
    sfreq : float
        Rate in Hz.
    n_look_ahead : int
        Samples waited for.
    reference : {"average", "ld-mean"}
        Errors of all channels under their average, or in the reference of the LD channels.
    blocks : sequence of Block, optional
        By default those of the fits.

    Returns
    -------
    SearchGrams
        Ready for :func:`errors_with`.

    Raises
    ------
    CalibrationError
        If the signals are too short for the splits.
    """
    lags = lag_samples(sfreq, n_look_ahead)
    blocks = blocks if blocks is not None else make_blocks([len(x) for x in signals])

    def features(x: FloatArray, start: int, stop: int) -> FloatArray:
        return np.stack([_moved(x, start, stop, lag) for lag in lags], axis=2).reshape(
            stop - start, -1
        )

    centred = [x - x.mean(axis=1, keepdims=True) for x in signals]
    nothing = [(x, np.empty((len(x), 0))) for x in centred]
    grams = accumulate(nothing, blocks, features, guard=max(lags))
    n, n_lags, n_splits = centred[0].shape[1], len(lags), len(grams.splits)
    train = np.empty((n_splits, n * n_lags, n * n_lags))
    held = np.empty_like(train)
    no_mean = np.empty(0)
    for split, gram in enumerate(grams.splits):
        training = grams.training(split)
        mean = training.z / training.n
        train[split] = training.centered(mean, no_mean).zz / training.n
        held[split] = gram.centered(mean, no_mean).zz
    now = np.arange(n) * n_lags
    power = float(held[:, now, now].sum())
    penalty = np.einsum("fii->fi", train).copy()
    train += COMMON_MODE * train[:, now, now].mean() * np.kron(np.ones((n, n)), np.eye(n_lags))
    return SearchGrams(train, held, penalty, power, n, n_lags, reference)


def _moved(x: FloatArray, start: int, stop: int, lag: int) -> FloatArray:
    """Rows ``start - lag`` to ``stop - lag``, zeros outside the segment."""
    out = np.zeros((stop - start, x.shape[1]))
    first, last = max(0, start - lag), min(len(x), stop - lag)
    if last > first:
        out[first - (start - lag) : last - (start - lag)] = x[first:last]
    return out


def _columns(grams: SearchGrams, rows: Sequence[int]) -> IndexArray:
    return (
        np.asarray(rows, dtype=np.intp)[:, None] * grams.n_lags + np.arange(grams.n_lags)
    ).ravel()


def _split_errors(
    grams: SearchGrams, split: int, rows: Sequence[int], lam: float
) -> tuple[FloatArray, FloatArray]:
    """Held-out errors in µV²: (n, n) of each channel when another joins ``rows``, and (n,) in all.

    The second is what the mean of the errors over all channels holds: an average reference takes
    it out.
    """
    n, n_lags = grams.n_channels, grams.n_lags
    g, h, ridge = grams.train[split], grams.held[split], lam * grams.penalty[split]
    s = _columns(grams, rows)
    worn = np.ix_(s, s)
    factor = cho_factor(g[worn] + np.diag(ridge[s]), lower=True, check_finite=False)
    a = cho_solve(factor, g[s], check_finite=False)
    m = 0.5 * h[worn] @ a - h[s]
    # Grams of u = z - A'z_S: all lags of c with every channel now, and the lags of c together.
    now, own = np.arange(n) * n_lags, np.arange(n)
    t_now = (g[:, now] - g[s].T @ a[:, now]).reshape(n, n_lags, n)
    h_now = (h[:, now] + a.T @ m[:, now] + m.T @ a[:, now]).reshape(n, n_lags, n)
    ac, mc, gc = (x.reshape(len(s), n, n_lags).swapaxes(0, 1) for x in (a, m, g[s]))
    shape = (n, n_lags, n, n_lags)
    cross = ac.swapaxes(1, 2) @ mc
    h_own = h.reshape(shape)[own, :, own] + cross + cross.swapaxes(1, 2)
    t_own = g.reshape(shape)[own, :, own] - gc.swapaxes(1, 2) @ ac
    t_own[:, np.arange(n_lags), np.arange(n_lags)] += ridge.reshape(n, n_lags)
    # What c adds: weights for its innovation, none for channels that are measured.
    rendered = ~np.eye(n, dtype=bool)
    rendered[:, list(rows)] = False
    left = h_now[:, 0]
    gain = np.linalg.solve(t_own, t_now) * rendered[:, None]
    h_now = h_now * rendered[:, None]
    error = np.diag(left) * rendered - 2 * (gain * h_now).sum(axis=1)
    error += (gain * (h_own @ gain)).sum(axis=1)
    total, pull = gain.sum(axis=2), h_now.sum(axis=2)
    common = ((rendered @ left) * rendered).sum(axis=1) - 2 * (total * pull).sum(axis=1)
    common += (total * (h_own @ total[:, :, None])[:, :, 0]).sum(axis=1)
    return error, common / n


def errors_with(grams: SearchGrams, rows: Sequence[int], lam: float) -> FloatArray:
    """Cross-validated NMSE of all channels when each channel joins a set.

    Parameters
    ----------
    grams : SearchGrams
        Statistics of the session.
    rows : sequence of int
        The set, at least one channel.
    lam : float
        Penalty, as a share of each channel's power.

    Returns
    -------
    ndarray, shape (n_channels,), float64
        Held-out error over held-out power, all channels, the worn ones passed through; infinite
        for channels already in the set.
    """
    error = np.zeros(grams.n_channels)
    for split in range(len(grams.train)):
        each, common = _split_errors(grams, split, rows, lam)
        error += each.sum(axis=1) - (common if grams.reference == "average" else 0.0)
    error /= grams.power
    error[list(rows)] = np.inf
    return error


def set_error(grams: SearchGrams, rows: Sequence[int], lam: float) -> float:
    """Cross-validated NMSE of a set of at least two channels; see :func:`errors_with`."""
    return float(errors_with(grams, rows[:-1], lam)[rows[-1]])


def choose_penalty(grams: SearchGrams, rows: Sequence[int]) -> float:
    """Penalty with the least cross-validated error for a set of at least two channels."""
    return float(min(PENALTIES, key=lambda lam: set_error(grams, rows, float(lam))))
