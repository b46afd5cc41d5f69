"""What the population expects at places nobody measured, given those that are worn.

The population knows covariances at its own places and lags. A spherical spline carries them to any
place, a cubic spline to any lag, so everything here is a few small matrices: a covariance at other
places is ``S C S^T``, a covariance of signals seen through temporal profiles a sum over lags. The
field is causal: it sees present and past of the LD channels, as lagged ridge does, and where the
regression comes from is all that differs.

The spline smooths: between the population's places it knows nothing of what one electrode alone
sees. That share, from leaving out each of the population's own places, is added back as noise,
to what is worn and to the truth that errors are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline

from calibration.population.people import Population
from calibration.regression.profiles import (
    DELAY_WIDTH,
    N_EXACT_LAGS,
    Bank,
    n_lags_of,
    spacing_s,
    taps,
)
from emag_rt.array_types import FloatArray
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import CalibrationError

NOISE = 0.03
"""Noise of an LD electrode where none was recorded, over the mean power of the LD channels."""
LATE_NOISE = 1.0
"""More of it in the past: other heads and amplifiers differ most in how signals go on."""
_WIDTH = 0.6
"""Width of profiles above the population's rate, in steps, so that they leave no gaps."""
_MARGIN = 3
"""Lags of the population that are left for the profiles' own width."""
_SPLINE_SMOOTHING = 1e-3
_RIDGE = 1e-3
_OWN = 3.0
"""Times what the population's own places have: other caps' electrodes are not where we think."""
_RCOND = 1e-9


@dataclass(frozen=True, eq=False)
class Timing:
    """Temporal profiles at a rate, and how covariances through them follow from lags.

    Attributes
    ----------
    bank : Bank
        The profiles.
    sfreq : float
        Rate in Hz.
    n_look_ahead : int
        Samples waited for.
    n_lags : int
        Length of the axis of lags, from -n_look_ahead on.
    own : ndarray, shape (n_profiles, n_profiles, n_known)
        ``E[z_g z_h^T] = sum_m own[g, h, m] C_m``, over the population's lags of both signs.
    cross : ndarray, shape (n_profiles, n_known)
        ``E[y z_g^T] = sum_m cross[g, m] C_m``.
    """

    bank: Bank
    sfreq: float
    n_look_ahead: int
    n_lags: int
    own: FloatArray
    cross: FloatArray

    @property
    def now(self) -> int:
        """The profile of the present."""
        return int(np.argmin(np.abs(self.bank.centers_s)))


def make_timing(population: Population, sfreq: float, n_look_ahead: int = 0) -> Timing:
    """Profiles for a rate: exact delays up to the population's rate, smooth ones above.

    Parameters
    ----------
    population : Population
        For its lags.
    sfreq : float
        Rate in Hz.
    n_look_ahead : int
        Samples waited for.

    Returns
    -------
    Timing
        Up to 16 profiles.

    Raises
    ------
    CalibrationError
        If the look-ahead is longer than the population's lags.
    """
    step = spacing_s(sfreq)
    reach = (population.n_lags - 1) / population.sfreq
    dense = step * sfreq > 1 + 1e-9
    usable = reach - (_MARGIN / population.sfreq if dense else 0.0)
    n_steps = min(N_EXACT_LAGS - 1, int(np.floor(usable / step + 1e-9)))
    n_ahead = int(np.floor(n_look_ahead / sfreq / step + 1e-9))
    if n_ahead > n_steps // 2:
        raise CalibrationError(
            f"--look-ahead-s must be at most {n_steps // 2 * step:.3g} s without an HD session "
            f"(the population knows {reach:.3g} s), got {n_look_ahead / sfreq:g}."
        )
    centers = step * np.arange(-n_ahead, n_steps - n_ahead + 1, dtype=np.float64)
    widths = np.full(len(centers), _WIDTH * step if dense else DELAY_WIDTH / sfreq)
    widths[n_ahead] = DELAY_WIDTH / sfreq
    return timing_of(population, Bank("population", centers, widths), sfreq, n_look_ahead)


def timing_of(population: Population, bank: Bank, sfreq: float, n_look_ahead: int = 0) -> Timing:
    """How covariances through any profiles follow from the population's lags.

    Parameters
    ----------
    population : Population
        For its lags.
    bank : Bank
        Profiles, no further apart than the lags reach.
    sfreq : float
        Rate in Hz.
    n_look_ahead : int
        Samples waited for.

    Returns
    -------
    Timing
        Of the bank.
    """
    n_lags = n_lags_of(bank, sfreq, n_look_ahead)
    kernel = taps(bank.centers_s, bank.widths_s, sfreq, n_look_ahead, n_lags)
    lags = np.arange(n_lags) - n_look_ahead
    cross = kernel @ _between_lags(population.n_lags, population.sfreq, lags / sfreq)
    products = np.array(
        # The second signal's lag less the first's: np.correlate slides the one over the other.
        [[np.correlate(h, g, "full") for h in kernel] for g in kernel]
    )
    apart = np.arange(1 - n_lags, n_lags)
    own = products @ _between_lags(population.n_lags, population.sfreq, apart / sfreq)
    return Timing(bank, sfreq, n_look_ahead, n_lags, own, cross)


def _between_lags(n: int, sfreq: float, seconds: FloatArray) -> FloatArray:
    """Weights of n lags at a rate, negative ones first, shape (n_seconds, 2 n - 1)."""
    spline = CubicSpline(np.arange(1 - n, n), np.eye(2 * n - 1))
    # Beyond the last lag only the tails of profiles reach.
    return np.asarray(spline(np.clip(seconds * sfreq, 1 - n, n - 1)))


def at_lags(covariances: FloatArray, sfreq: float, seconds: FloatArray) -> FloatArray:
    """Covariances (n_lags, n, n) at a rate in Hz, at other lags in s, shape (n_seconds, n, n)."""
    between = _between_lags(len(covariances), sfreq, seconds)
    return np.tensordot(between, _both_signs(covariances), 1)


def _both_signs(covariances: FloatArray) -> FloatArray:
    return np.concatenate([covariances[:0:-1].transpose(0, 2, 1), covariances])


@dataclass(frozen=True, eq=False)
class Places:
    """Electrodes that are worn and electrodes that are wanted, seen from the population's places.

    Attributes
    ----------
    population : Population
        What is known.
    ld_mm, hd_mm : ndarray, shape (n_ld, 3) and (n_hd, 3)
        Positions in the population's frame.
    """

    population: Population
    ld_mm: FloatArray
    hd_mm: FloatArray

    @cached_property
    def carry(self) -> FloatArray:
        """From the population's places to HD, then LD, relative to the LD mean."""
        places = self.population.places.positions_mm
        carried = carry(places, np.concatenate([self.hd_mm, self.ld_mm]))
        return np.asarray(carried - carried[len(self.hd_mm) :].mean(axis=0))

    @cached_property
    def peculiar(self) -> FloatArray:
        """Share of what is peculiar to an electrode that the spline has smoothed away."""
        places = self.population.places.positions_mm
        carried = carry(places, np.concatenate([self.hd_mm, self.ld_mm]))
        return np.clip(1.0 - (carried**2).sum(axis=1), 0.0, 1.0)


def carry(places_mm: FloatArray, positions_mm: FloatArray) -> FloatArray:
    """From the population's places to others, shape (n_positions, n_places); rows sum to 1."""
    apart = np.linalg.norm(positions_mm[:, None] - places_mm, axis=-1)
    carried = spherical_spline(places_mm, positions_mm, smoothing=_SPLINE_SMOOTHING)
    nearest = apart.argmin(axis=1)
    same = apart.min(axis=1) < 1e-3  # a place of the population's is known as it is
    carried[same] = np.eye(len(places_mm))[nearest[same]]
    return carried


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of wanted signals y and of LD signals seen through the profiles, z.

    Attributes
    ----------
    yy : ndarray, shape (n_hd,)
        Power of each wanted channel relative to the LD mean.
    yz : ndarray, shape (n_hd, n_profiles, n_ld)
        ``E[y z^T]``.
    zz : ndarray, shape (n_profiles, n_ld, n_profiles, n_ld)
        ``E[z z^T]``.
    """

    yy: FloatArray
    yz: FloatArray
    zz: FloatArray

    def error(self, weights: FloatArray) -> FloatArray:
        """Mean squared error (n_hd,) of ``y = weights z``, weights shaped as ``yz``."""
        n_hd = len(self.yy)
        flat, inner = weights.reshape(n_hd, -1), self.zz.reshape(-1, weights[0].size)
        crossed = (flat * self.yz.reshape(n_hd, -1)).sum(axis=1)
        return np.maximum(self.yy - 2.0 * crossed + ((flat @ inner) * flat).sum(axis=1), 0.0)


def moments(places: Places, timing: Timing, covariances: FloatArray, noise: float = 0.0) -> Moments:
    """Second moments under some covariances of the population's places.

    Parameters
    ----------
    places : Places
        Electrodes.
    timing : Timing
        Profiles.
    covariances : ndarray, shape (n_lags, n_places, n_places)
        The population's mean, or one person's.
    noise : float
        Of every LD electrode, over the mean power of the LD channels. With 0 the moments are
        those of the signals themselves; else the past is taken to be noisier still.

    Returns
    -------
    Moments
        In the units of the covariances.
    """
    n_hd = len(places.hd_mm)
    # With LD alone: between all of many HD electrodes it would take most of the time.
    with_ld = places.carry @ (_both_signs(covariances) @ places.carry[n_hd:].T)
    powers = np.einsum(
        "ep,pq,eq->e", places.carry[:n_hd], covariances[0], places.carry[:n_hd], optimize=True
    )
    alone = own_noise(covariances) * places.peculiar
    n_ld, zero = len(places.ld_mm), covariances.shape[0] - 1
    ld = with_ld[:, n_hd:].copy()
    power = float(np.trace(ld[zero])) / n_ld
    centre = np.eye(n_ld) - 1.0 / n_ld
    ld[zero] += centre @ np.diag(alone[n_hd:] + noise * power) @ centre
    zz = np.einsum("ghm,mcd->gchd", timing.own, ld, optimize=True)
    if noise > 0:
        late = LATE_NOISE * power * np.diagonal(timing.own[:, :, zero]).copy()
        late[timing.now] = 0.0
        for profile, more in enumerate(late):
            zz[profile, :, profile] += more * centre
    return Moments(
        yy=powers + alone[:n_hd],
        yz=np.einsum("gm,mec->egc", timing.cross, with_ld[:, :n_hd], optimize=True),
        zz=zz,
    )


def own_noise(covariances: FloatArray) -> float:
    """Power that no other place explains, of an electrode away from the population's places."""
    size = np.trace(covariances[0]) / len(covariances[0])
    loaded = covariances[0] + _RIDGE * size * np.eye(len(covariances[0]))
    return _OWN * float(np.median(1.0 / np.diag(np.linalg.inv(loaded))))


def conditional_weights(known: Moments) -> FloatArray:
    """The estimate that errs least under ``known``, shape (n_hd, n_profiles, n_ld)."""
    n_hd = len(known.yy)
    size = known.yz[0].size
    solved = known.yz.reshape(n_hd, size) @ np.linalg.pinv(
        known.zz.reshape(size, size), rcond=_RCOND, hermitian=True
    )
    return np.asarray(solved.reshape(known.yz.shape))


@dataclass(frozen=True, eq=False)
class Expected:
    """What to expect on a head that nobody measured, person by person of the population.

    Each person is rendered by the field of the *others*, and by spatial methods.

    Attributes
    ----------
    power : ndarray, shape (n_people, n_hd)
        Of the truth, relative to the LD mean.
    error : ndarray, shape (n_people, n_hd)
        Mean squared error of the field.
    spatial : dict of str to ndarray, shape (n_people, n_hd)
        The same of maps that know positions alone.
    """

    power: FloatArray
    error: FloatArray
    spatial: dict[str, FloatArray]

    def nmse(self, method: str = "field") -> FloatArray:
        """Error over power of each person, all channels together, shape (n_people,)."""
        error = self.error if method == "field" else self.spatial[method]
        return np.asarray(error.sum(axis=1) / self.power.sum(axis=1))

    @property
    def per_channel(self) -> FloatArray:
        """Error over power of each channel, the median person, shape (n_hd,)."""
        return np.asarray(np.median(self.error / self.power, axis=0))


def expected_errors(
    places: Places, timing: Timing, noise: float, matrices: dict[str, FloatArray]
) -> Expected:
    """Render every person by the field of the others, from their statistics alone.

    Parameters
    ----------
    places : Places
        Electrodes.
    timing : Timing
        Profiles.
    noise : float
        Of every LD electrode, over the mean power of the LD channels: what the field assumes.
    matrices : dict of str to ndarray, shape (n_hd, n_ld)
        Spatial methods to stand beside it.

    Returns
    -------
    Expected
        In units of each person's own power.
    """
    population = places.population
    power, error = [], []
    spatial: dict[str, list[FloatArray]] = {name: [] for name in matrices}
    for person in range(population.n_people):
        others = moments(places, timing, population.mean(without=person), noise)
        truth = moments(places, timing, population.covariances[person])
        power.append(truth.yy)
        error.append(truth.error(conditional_weights(others)))
        for name, matrix in matrices.items():
            weights = np.zeros(truth.yz.shape)
            weights[:, timing.now] = matrix
            spatial[name].append(truth.error(weights))
    return Expected(
        np.array(power),
        np.array(error),
        {name: np.array(values) for name, values in spatial.items()},
    )
