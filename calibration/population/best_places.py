"""Which electrodes to wear where nobody's HD was measured: the best for the population's people.

The search is that of an HD session (:mod:`calibration.electrodes.search`), with a person in the
place of a block of time: each is rendered by the mean of the others, from the present alone.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from calibration.electrodes.search import choose_set
from calibration.population.estimate import Places, own_noise
from calibration.population.people import Population, robust_mean
from calibration.regression.lag_grams import COMMON_MODE, SearchGrams
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage, spread_choice

# Further from its places the population is guessed at; and of many electrodes near one place,
# the nearest will do.
_NEAR_MM = 20.0


def best_places(count: int, hd: Montage, population: Population) -> tuple[int, ...]:
    """The electrodes from which the population's people are rendered best.

    Parameters
    ----------
    count : int
        How many, from 2 to one fewer than ``hd`` has.
    hd : Montage
        Electrodes that are rendered, and may be worn, in the population's frame.
    population : Population
        Whose people.

    Returns
    -------
    tuple of int
        Rows of ``hd``, ascending. Spread evenly where ``hd`` has too few electrodes near the
        population's places to choose from.
    """
    apart = np.linalg.norm(hd.positions_mm[:, None] - population.places.positions_mm, axis=-1)
    nearest = apart.argmin(axis=0)[apart.min(axis=0) <= _NEAR_MM]
    offered = [int(i) for i in np.unique(nearest)]
    if count >= len(offered):
        return tuple(spread_choice(hd.positions_mm, count))
    known = hd.select(offered)
    with threadpool_limits(1, user_api="blas"):
        grams = _grams(known, population)
        start = spread_choice(known.positions_mm, count)
        found = choose_set(grams, range(len(known)), start, n_starts=0)
    return tuple(offered[i] for i in found.rows)


def _grams(electrodes: Montage, population: Population) -> SearchGrams:
    """Of the present alone; a split trains on the mean of the others, and holds out a person."""
    places = Places(population, electrodes.positions_mm, electrodes.positions_mm)
    n = len(electrodes)
    # Relative to the mean of all: they are worn and wanted alike.
    carried, alone = places.carry[:n], places.peculiar[:n]
    centre = np.eye(n) - 1.0 / n

    def covariance(of: FloatArray) -> FloatArray:
        return carried @ of[0] @ carried.T + own_noise(of) * centre * alone @ centre

    present = population.covariances[:, :1]
    held = np.array([covariance(of) for of in present])
    others = [np.delete(present, person, axis=0) for person in range(len(present))]
    train = np.array([covariance(robust_mean(of)) for of in others])
    held /= np.trace(held, axis1=1, axis2=2)[:, None, None]
    penalty = np.einsum("fii->fi", train).copy()
    train += COMMON_MODE * penalty.mean()
    return SearchGrams(train, held, penalty, float(len(held)), n, 1)
