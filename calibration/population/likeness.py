"""What the population expects of one wearer, whose LD channels were recorded.

People whose LD channels go together as the wearer's do count for more, and so may a plain sphere.
Then the powers are taken half way to the wearer's, frequency by frequency: as a whole, and smoothly
over the head. Half way, and no further, is what helped people whom the population did not know.
"""

from __future__ import annotations

import numpy as np

from calibration.population.estimate import Places, own_noise
from calibration.population.people import SPHERE_SHARE, Population
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import contrasts

_N_LAGS = 4
_SHARPNESS = 0.3
"""What a nat of misfit, over all LD channels and a sample, takes from a person's weight."""
_NOISE = 0.05
_HALF_WAY = 0.5
_SMOOTH_MM = 60.0
_FLOOR = 0.02
"""Of the power of the mean LD channel, and below it a frequency is taken as empty."""
_EMPTY = 1e-4
_TAPERED = 0.15
_LIMIT = 2.0
"""No place counts as louder or quieter than the rest by a factor beyond exp of this: a loose
electrode is no source."""


def likely_mean(people: Population, ld_mm: FloatArray, own: FloatArray) -> FloatArray:
    """Covariances at the population's places that fit the wearer.

    Parameters
    ----------
    people : Population
        Whom to expect.
    ld_mm : ndarray, shape (n_ld, 3)
        LD electrodes, in the population's frame.
    own : ndarray, shape (n_lags, n_ld, n_ld)
        ``E[x(t) x(t - l)^T]`` of the wearer's LD channels relative to their mean, at the
        population's rate and lags; any unit.

    Returns
    -------
    ndarray, shape (n_lags, n_places, n_places)
        Of mean variance one, as the population's own.
    """
    places = Places(people, ld_mm, ld_mm[:0])
    heads = np.concatenate([people.covariances, people.sphere[None]])
    seen = np.array([_at_ld(places, head) for head in heads])
    misfits = np.array([_misfit(own, head) for head in seen])
    weights = np.full(len(heads), (1.0 - SPHERE_SHARE) / people.n_people)
    weights[-1] = SPHERE_SHARE
    weights *= np.exp(-_SHARPNESS * (misfits - misfits.min()))
    weights /= weights.sum()
    mean = _with_powers(
        np.tensordot(weights, heads, 1), np.tensordot(weights, seen, 1), own, places
    )
    return np.asarray(mean * len(mean[0]) / np.trace(mean[0]))


def _at_ld(places: Places, covariances: FloatArray) -> FloatArray:
    found = places.carry @ covariances @ places.carry.T
    centre = np.eye(len(found[0])) - 1.0 / len(found[0])
    found[0] += centre @ np.diag(own_noise(covariances) * places.peculiar) @ centre
    return np.asarray(found)


def _misfit(own: FloatArray, other: FloatArray) -> float:
    """How much less likely signals like ``own`` are under ``other``, whatever the loudness."""
    ours, theirs = _stacked(own), _stacked(other)
    cost = np.trace(np.linalg.solve(theirs, ours)) - len(ours)
    grown = np.linalg.slogdet(theirs)[1] - np.linalg.slogdet(ours)[1]
    return float(0.5 * (cost + grown) / _N_LAGS)


def _stacked(covariances: FloatArray) -> FloatArray:
    """Covariance of some samples in a row, of unit power, without the channels' mean."""
    n = covariances.shape[1]
    basis = contrasts(n)
    lagged = basis.T @ covariances[:_N_LAGS] @ basis * (n / np.trace(covariances[0]))
    lagged[0] += _NOISE * np.eye(n - 1)
    return np.block(
        [
            [lagged[b - a] if b >= a else lagged[a - b].T for b in range(_N_LAGS)]
            for a in range(_N_LAGS)
        ]
    )


def _with_powers(
    mean: FloatArray, expected: FloatArray, own: FloatArray, places: Places
) -> FloatArray:
    """The mean, its powers half way to the wearer's; ``expected`` is it at the LD channels."""
    ours, theirs = (
        _powers(np.diagonal(covariances, axis1=1, axis2=2)) for covariances in (own, expected)
    )
    louder = np.log(ours.sum(axis=1) / theirs.sum(axis=1))
    shape = np.clip(np.log(ours / theirs) - louder[:, None], -_LIMIT, _LIMIT)
    ld_mm = places.ld_mm
    known = _alike(ld_mm, ld_mm) + np.eye(len(ld_mm))
    over_head = _alike(places.population.places.positions_mm, ld_mm) @ np.linalg.solve(
        known, shape.T
    )
    gains = np.exp(0.5 * _HALF_WAY * (over_head.T + (louder - louder.mean())[:, None]))
    spectrum = np.fft.fft(_windowed(mean), axis=0)
    spectrum *= gains[:, :, None] * gains[:, None, :] - 1.0
    more = np.fft.ifft(spectrum, axis=0).real[: len(mean)]
    # The last lags are all but tapered away: little is known of how they change.
    return np.asarray(mean + more / np.maximum(_window(len(mean)), _TAPERED)[:, None, None])


def _alike(a_mm: FloatArray, b_mm: FloatArray) -> FloatArray:
    apart = np.linalg.norm(a_mm[:, None] - b_mm, axis=-1)
    return np.asarray(np.exp(-0.5 * (apart / _SMOOTH_MM) ** 2))


def _window(n_lags: int) -> FloatArray:
    return np.hanning(2 * n_lags + 1)[n_lags:-1]


def _windowed(covariances: FloatArray) -> FloatArray:
    """Lags of both signs, tapered to zero, in the order of a Fourier transform."""
    n_lags = len(covariances)
    tapered = covariances * _window(n_lags).reshape(-1, *[1] * (covariances.ndim - 1))
    earlier = tapered[:0:-1]
    if covariances.ndim == 3:
        earlier = earlier.transpose(0, 2, 1)
    return np.concatenate([tapered, np.zeros_like(tapered[:1]), earlier])


def _powers(lagged: FloatArray) -> FloatArray:
    """Power at every frequency, (n_frequencies, n_ld), none of them empty."""
    found = np.fft.fft(_windowed(lagged), axis=0).real
    found = found + _FLOOR * found.mean(axis=1, keepdims=True)
    return np.asarray(np.maximum(found, _EMPTY * found.max()))
