"""Whether LD channels predict each other as they did in calibration.

Each channel is predicted from the others, in bands of frequency: by the predictor that the
calibration gives, and by the best one for the signal at hand. How much larger the first one's
error is says how badly the calibration fits. Amplitudes and noise that changed alike do not
count: they change both errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.exchange import exchange
from emag_rt.core.ld_bands import BLOCK_S, LdBands

MIN_CHANNELS = 6
"""Fewer LD channels tell next to nothing of each other."""
# White noise, as a share of the mean power: no channel is told from the others better than that.
_LOADING = 1e-2
# Of the excesses, over bands and channels, the largest quarter is left to single channels.
_SHARE = 0.75
_LEFT_OUT = 1 / 8
_ROUNDS = 4
# Of the frequency bins of a block under a Hann window, this share is independent.
_INDEPENDENT = 1 / 1.5
# What other people's channels exceed, and a person's own do not; the better channels are told
# from each other at all, the more. Fitted to 17 people and 19 choices of electrodes.
_LIMIT, _LIMIT_RISE = 0.018, 0.055
_MIN_GAIN, _MOST_LEFT = 0.02, 0.7


@dataclass(frozen=True)
class Misfit:
    """How signal and calibration disagree.

    Attributes
    ----------
    excess : float
        Mean logarithm of the calibration's error of prediction over the best one's, with the
        channels that disagree most left out, one of eight; about 0 for the calibrated person.
    limit : float
        What that must not exceed.
    exchanged : tuple of int, or None
        Two channels that explain the disagreement if they are in each other's place.
    """

    excess: float
    limit: float
    exchanged: tuple[int, int] | None

    @property
    def fits(self) -> bool:
        """Whether there is nothing to say."""
        return self.excess <= self.limit and self.exchanged is None


def misfit(bands: LdBands, covariances: FloatArray, n_blocks: int, channels: IndexArray) -> Misfit:
    """Compare the present signal's bands with the calibration's.

    Parameters
    ----------
    bands : LdBands
        Of the calibration.
    covariances : ndarray, shape (n_bands, n_ld, n_ld)
        Mean over blocks of the present signal, each block of unit power.
    n_blocks : int
        Blocks in that mean.
    channels : ndarray of int, shape (n,)
        Those to look at; at least :data:`MIN_CHANNELS`.

    Returns
    -------
    Misfit
        In terms of those channels' numbers.
    """
    pick = np.ix_(np.arange(len(bands.covariances)), channels, channels)
    old, new = _centred(bands.covariances[pick]), _centred(covariances[pick])
    k_old, k_new = _precisions(old), _precisions(new)
    # What the two errors differ by because both predictors were learned from so little.
    degrees = np.diff(bands.edges_hz) * BLOCK_S * 2 * _INDEPENDENT
    chance = (1.0 / n_blocks + 1.0 / bands.n_blocks) / degrees
    told = np.log(_diagonals(k_old) * _diagonals(old)).mean()
    limit = _LIMIT + _LIMIT_RISE * max(0.0, float(told))
    pair = _exchanged(k_old, k_new, new, chance, limit)
    return Misfit(
        _excess(k_old, k_new, new, chance),
        limit,
        None if pair is None else (int(channels[pair[0]]), int(channels[pair[1]])),
    )


def _diagonals(matrices: FloatArray) -> FloatArray:
    return np.diagonal(matrices, axis1=1, axis2=2)


def _centred(covariances: FloatArray) -> FloatArray:
    """Relative to the mean of these channels, of unit power and with a little noise."""
    n = covariances.shape[-1]
    centre = np.eye(n) - 1.0 / n
    found = centre @ covariances @ centre
    power = np.trace(found, axis1=1, axis2=2)[:, None, None]
    return np.asarray(found / np.maximum(power, 1e-30) + _LOADING / (n - 1) * centre)


def _precisions(covariances: FloatArray) -> FloatArray:
    """Pseudo-inverses; all but the common direction is told."""
    common = np.full(covariances.shape[1:], 1.0 / covariances.shape[-1])
    return np.asarray(np.linalg.inv(covariances + common) - common)


def _exchanged(
    k_old: FloatArray, k_new: FloatArray, new: FloatArray, chance: FloatArray, limit: float
) -> tuple[int, int] | None:
    """The pair whose exchange makes the signal most likely, if the rest then fits."""
    n = new.shape[-1]
    gains = [exchange(k, s) / float((k * s).sum()) for k, s in zip(k_old, new, strict=True)]
    gain = -np.mean(gains, axis=0) - np.where(np.eye(n, dtype=bool), np.inf, 0.0)
    a, b = sorted(int(i) for i in np.unravel_index(gain.argmax(), gain.shape))
    if gain[a, b] < _MIN_GAIN:
        return None
    order = np.arange(n)
    order[[a, b]] = b, a
    pick = np.ix_(np.arange(len(new)), order, order)
    before = _mean_excess(k_old, k_new, new, chance)
    k_new, new = k_new[pick], new[pick]
    mended = _mean_excess(k_old, k_new, new, chance) < _MOST_LEFT * before
    return (a, b) if mended and _excess(k_old, k_new, new, chance) <= limit else None


def _mean_excess(
    k_old: FloatArray, k_new: FloatArray, new: FloatArray, chance: FloatArray
) -> float:
    """Of all channels."""
    error = _diagonals(k_old @ new @ k_old) / _diagonals(k_old) ** 2
    return float((np.log(error * _diagonals(k_new)).mean(axis=1) - len(new[0]) * chance).mean())


def _excess(k_old: FloatArray, k_new: FloatArray, new: FloatArray, chance: FloatArray) -> float:
    """The least that is left when channels are left out, one after the other.

    With K a precision, channel j's error of prediction is ``(K x)_j / K_jj``. Without channel c,
    K is ``K - K_c K_c^T / K_cc``: so all channels are tried at once.
    """
    found, n_out = 0.0, max(1, int(new.shape[-1] * _LEFT_OUT))
    at_once = -(-n_out // _ROUNDS)
    for _ in range(0, n_out, at_once):
        n = new.shape[-1]
        others = ~np.eye(n, dtype=bool)
        product = k_old @ new @ k_old
        own_old, own_new, own_product = map(_diagonals, (k_old, k_new, product))
        # Axis 1: the channel left out. Axis 2: the channel that is predicted.
        ratio = k_old / own_old[:, :, None]
        error = own_product[:, None] - 2.0 * ratio * product + ratio**2 * own_product[:, :, None]
        precise = (own_old[:, None] - k_old * ratio)[:, others]
        best = (own_new[:, None] - k_new**2 / own_new[:, :, None])[:, others]
        logs = np.log(error[:, others] / precise**2 * best).reshape(-1, n, n - 1)
        logs = np.sort((logs - (n - 3) * chance[:, None, None]).swapaxes(0, 1).reshape(n, -1))
        means = logs[:, : int(_SHARE * logs.shape[1])].mean(axis=1)
        found = float(means.min())
        for worst in sorted(means.argsort()[:at_once], reverse=True):
            k_old, k_new = _without(k_old, worst), _without(k_new, worst)
            new = np.delete(np.delete(new, worst, 1), worst, 2)
    return found


def _without(precisions: FloatArray, channel: np.intp) -> FloatArray:
    """What is left of precisions when a channel is not looked at."""
    row = precisions[:, channel]
    rest = precisions - row[:, :, None] * row[:, None, :] / row[:, channel, None, None]
    return np.delete(np.delete(rest, channel, 1), channel, 2)
