"""What the population expects of one wearer, whose LD channels were recorded.

Asked are two, and the mean of their answers is taken: each errs on other people. One lets people,
and a plain sphere, count by how likely they make the wearer's LD channels. The other takes the
shares with which the LD channels foretell one another best, of people, of people with left and
right exchanged, and of the sphere, slow and fast signals apart (:mod:`.shares`).

In both the powers are then taken half way to the wearer's, frequency by frequency: as a whole, and
smoothly over the head. Half way, and no further, is what helped people whom the population did not
know.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from calibration.population.estimate import Places, carry, own_noise
from calibration.population.people import SPHERE_SHARE, Population, robust_weights
from calibration.population.shares import band_operators, fitted_shares, in_bands, stacked
from calibration.regression.profiles import N_EXACT_LAGS
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import contrasts

_N_LAGS = 4
_SHARPNESS = 0.3
"""What a nat of misfit, over all LD channels and a sample, takes from a person's weight."""
_NOISE = 0.05
_EXCHANGED = 0.3
"""Share of people with left and right exchanged."""
_HALF_WAY = 0.5
_SMOOTH_MM = 60.0
_FLOOR = 0.02
"""Of the power of the mean LD channel, and below it a frequency is taken as empty."""
_EMPTY = 1e-4
_TAPERED = 0.15
_LEAST_NOISE = 0.005
"""Of an LD electrode, over the mean power: with it no signal may have less than no power."""
_HALVINGS = 6
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
    plain = people.mean()
    found = [
        _possible((_with_powers(mean, own, places), mean), plain, places)
        for mean in (_likeliest(people, places, own), _foretelling(people, places, own))
    ]
    return np.asarray(0.5 * (found[0] + found[1]))


def _likeliest(people: Population, places: Places, own: FloatArray) -> FloatArray:
    """Heads by the likelihood of a few samples in a row."""
    heads = np.concatenate([people.covariances, people.sphere[None]])
    misfits = np.array([_misfit(own, _at_ld(places, head)) for head in heads])
    weights = np.full(len(heads), (1.0 - SPHERE_SHARE) / people.n_people)
    weights[-1] = SPHERE_SHARE
    weights *= np.exp(-_SHARPNESS * (misfits - misfits.min()))
    return _of_unit_power(np.tensordot(weights, heads, 1))


def _foretelling(people: Population, places: Places, own: FloatArray) -> FloatArray:
    """Heads by how well the LD channels foretell one another."""
    positions = people.places.positions_mm
    exchange = carry(positions, positions * np.array([-1.0, 1.0, 1.0]))
    exchanged = exchange @ people.covariances @ exchange.T
    heads = np.concatenate([people.covariances, exchanged, people.sphere[None]])
    weights = (1.0 - SPHERE_SHARE) * robust_weights(people.covariances)
    before = np.concatenate([(1.0 - _EXCHANGED) * weights, _EXCHANGED * weights, [SPHERE_SHARE]])
    operators = band_operators(people.n_lags, people.sfreq)
    seen = in_bands(operators, np.array([_at_ld(places, head) for head in heads]))
    shares = fitted_shares(seen, own, before)
    mixed = [np.tensordot(of_band, heads, 1) for of_band in shares]
    bands = zip(operators[:, None], mixed, strict=True)
    return _of_unit_power(np.sum([in_bands(one, mean)[0] for one, mean in bands], axis=0))


def _of_unit_power(covariances: FloatArray) -> FloatArray:
    return np.asarray(covariances * len(covariances[0]) / np.trace(covariances[0]))


def _possible(wanted: tuple[FloatArray, ...], safe: FloatArray, places: Places) -> FloatArray:
    """The first of some covariances that signals can have, or as near to it as the next allows.

    A single person's are no signal's where bad electrodes were filled, nor are powers that change
    much from lag to lag: weights would come of it that err by ten times as much.
    """
    for better, safer in pairwise((*wanted, safe)):
        between = better
        for _ in range(_HALVINGS):
            if _is_possible(_at_ld(places, between)):
                return between
            between = 0.5 * (safer + between)
    return safe


def _is_possible(lagged: FloatArray) -> bool:
    """Whether no course of the LD channels, however they are weighed, has less than no power."""
    n = lagged.shape[1]
    inner = _in_a_row(lagged, N_EXACT_LAGS, _LEAST_NOISE * float(np.trace(lagged[0])) / n)
    try:
        np.linalg.cholesky(inner)
    except np.linalg.LinAlgError:
        return False
    return True


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
    size = len(covariances[0]) / float(np.trace(covariances[0]))
    return _in_a_row(covariances * size, _N_LAGS, _NOISE)


def _in_a_row(covariances: FloatArray, n_lags: int, noise: float) -> FloatArray:
    """Covariance of samples in a row, without the channels' mean, with noise."""
    n = covariances.shape[1]
    basis = contrasts(n)
    lagged = basis.T @ covariances[:n_lags] @ basis
    lagged[0] += noise * np.eye(n - 1)
    return stacked(lagged)


def _with_powers(mean: FloatArray, own: FloatArray, places: Places) -> FloatArray:
    """The mean, its powers half way to the wearer's."""
    ours, theirs = (
        _powers(np.diagonal(covariances, axis1=1, axis2=2))
        for covariances in (own, _at_ld(places, mean))
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
    return _of_unit_power(mean + more / np.maximum(_window(len(mean)), _TAPERED)[:, None, None])


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
