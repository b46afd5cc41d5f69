"""How much each head counts for one wearer: by how well the LD channels foretell one another.

Each LD channel is rendered from the others by a mixture of heads, and compared with what was
recorded. The shares of the heads are those that leave least, held near those before anything was
recorded. Each band of frequencies has shares of its own: who has the wearer's eyes need not have
the wearer's alpha rhythm. All of it follows from covariances, so it takes a second, not minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.signal import firwin

from calibration.population.estimate import LATE_NOISE, NOISE
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import contrasts

EDGE_HZ = 8.0
"""Eyes and slow drifts below, rhythms and muscles above."""
_HALF_TAPS = 8
_N_LAGS = 8
_MOST_UNKNOWNS = 120
_HOLD = 0.12
"""What a nat of distance from the shares before costs, in log error left."""
_HOLD_GAIN = 0.05
_LEAST = 0.01
"""Of a channel's power: bridged channels foretell one another without end."""
_MAX_ITERATIONS = 40
_IMPOSSIBLE = 100.0
_FURTHEST, _LOUDEST = 30.0, 3.0
"""No share, and no band's loudness, moves further than by exp of these."""


def band_operators(n_lags: int, sfreq: float) -> FloatArray:
    """Operators that split lagged covariances into bands of frequencies that sum to the whole.

    Parameters
    ----------
    n_lags : int
        Lags, the present included.
    sfreq : float
        Rate in Hz; one lag is ``1 / sfreq``.

    Returns
    -------
    ndarray, shape (2, n_lags, 2 n_lags - 1)
        From lags of both signs, negative ones first; below ``EDGE_HZ`` and above.
    """
    low = firwin(2 * _HALF_TAPS + 1, EDGE_HZ / (0.5 * sfreq))
    delta = np.zeros_like(low)
    delta[_HALF_TAPS] = 1.0
    # Beyond the last lag covariances fade to zero.
    known, reach = 2 * n_lags - 1, n_lags - 1 + _HALF_TAPS
    beyond = np.abs(np.arange(-reach, reach + 1)) - (n_lags - 1)
    column = np.clip(np.arange(-reach, reach + 1) + n_lags - 1, 0, known - 1)
    extended = np.zeros((2 * reach + 1, known))
    extended[np.arange(len(column)), column] = 1.0 - np.clip(beyond, 0, None) / _HALF_TAPS
    found = np.empty((2, n_lags, known))
    for lag in range(n_lags):
        near = extended[lag + reach - _HALF_TAPS : lag + reach + _HALF_TAPS + 1]
        found[0, lag], found[1, lag] = low @ near, (delta - low) @ near
    return found


def in_bands(operators: FloatArray, covariances: FloatArray) -> FloatArray:
    """Covariances (..., n_lags, n, n) by band, shape (n_bands, ..., n_lags, n, n)."""
    earlier = np.swapaxes(covariances[..., :0:-1, :, :], -1, -2)
    both = np.concatenate([earlier, covariances], axis=-3)
    return np.array([np.einsum("lk,...kab->...lab", o, both, optimize=True) for o in operators])


def fitted_shares(seen: FloatArray, own: FloatArray, before: FloatArray) -> FloatArray:
    """Shares of heads with which the wearer's LD channels foretell one another best.

    Parameters
    ----------
    seen : ndarray, shape (n_bands, n_heads, n_lags, n_ld, n_ld)
        Covariances of the LD channels relative to their mean that each head expects, by band.
    own : ndarray, shape (n_lags, n_ld, n_ld)
        The wearer's own; any unit.
    before : ndarray, shape (n_heads,)
        Shares that count without LD recordings; they sum to one.

    Returns
    -------
    ndarray, shape (n_bands, n_heads)
        They sum to any positive number in each band: one band may be louder than the other.
    """
    n_bands, n_heads = seen.shape[:2]
    left_out = _LeftOut.of(own)
    atoms = seen[:, :, : left_out.n_lags]
    log_before = np.log(before)

    def cost(flat: FloatArray) -> tuple[float, FloatArray]:
        leaning, louder = flat[:-n_bands].reshape(n_bands, n_heads), flat[-n_bands:]
        logs = log_before + leaning
        logs = logs - np.logaddexp.reduce(logs, axis=1)[:, None]
        shares, gains = np.exp(logs), np.exp(louder)[:, None]
        try:
            value, slope = left_out.log_error(np.tensordot(gains * shares, atoms, 2))
        except np.linalg.LinAlgError:  # no signal has such covariances
            return _IMPOSSIBLE, np.zeros_like(flat)
        by_share = np.tensordot(atoms, slope, 3)
        apart = logs - log_before
        held = (shares * apart).sum(axis=1)
        inner = gains * by_share + _HOLD / n_bands * apart
        by_leaning = shares * (inner - (shares * inner).sum(axis=1)[:, None])
        by_louder = (gains * shares * by_share).sum(axis=1) + 2.0 * _HOLD * _HOLD_GAIN * louder
        value += _HOLD * (held.mean() + _HOLD_GAIN * float(louder @ louder))
        return value, np.concatenate([by_leaning.ravel(), by_louder])

    found = minimize(
        cost,
        np.zeros(n_bands * (n_heads + 1)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_FURTHEST, _FURTHEST)] * (n_bands * n_heads) + [(-_LOUDEST, _LOUDEST)] * n_bands,
        options={"maxiter": _MAX_ITERATIONS},
    ).x
    logs = log_before + found[:-n_bands].reshape(n_bands, n_heads)
    logs -= np.logaddexp.reduce(logs, axis=1)[:, None]
    return np.asarray(np.exp(logs + found[-n_bands:, None]))


@dataclass(frozen=True, eq=False)
class _LeftOut:
    """Each LD channel, relative to the mean of the others, from the others.

    Attributes
    ----------
    n_lags : int
        Lags that are seen of the others.
    wanted : ndarray, shape (n_ld, n_ld)
        Row i: channel i less the mean of the others.
    given : ndarray, shape (n_ld, n_ld, n_ld - 2)
        Contrasts of the others.
    power : ndarray, shape (n_ld,)
        Of what is wanted, as recorded.
    crossed : ndarray, shape (n_ld, n_lags * (n_ld - 2))
        Of what is wanted with what is given.
    inner : ndarray, shape (n_ld, n_lags * (n_ld - 2), n_lags * (n_ld - 2))
        Of what is given.
    """

    n_lags: int
    wanted: FloatArray
    given: FloatArray
    power: FloatArray
    crossed: FloatArray
    inner: FloatArray

    @classmethod
    def of(cls, own: FloatArray) -> _LeftOut:
        n = own.shape[1]
        n_lags = max(1, min(_N_LAGS, len(own), _MOST_UNKNOWNS // (n - 2)))
        wanted = (n * np.eye(n) - 1.0) / (n - 1)
        given = np.zeros((n, n, n - 2))
        for i, others in enumerate(given):
            others[np.arange(n) != i] = contrasts(n - 1)
        kept = own[:n_lags]
        crossed = np.array([(v @ kept @ r).ravel() for v, r in zip(wanted, given, strict=True)])
        inner = np.array([stacked(r.T @ kept @ r) for r in given])
        power = np.einsum("ia,ab,ib->i", wanted, own[0], wanted)
        return cls(n_lags, wanted, given, power, crossed, inner)

    def log_error(self, lagged: FloatArray) -> tuple[float, FloatArray]:
        """Mean log of the error left under covariances (n_lags, n_ld, n_ld), and its slope."""
        n = len(self.wanted)
        size = n - 2
        noise = np.full(self.n_lags * size, NOISE + LATE_NOISE)
        noise[:size] = NOISE
        value, slope = 0.0, np.zeros_like(lagged)
        for i, (v, r) in enumerate(zip(self.wanted, self.given, strict=True)):
            inside = r.T @ lagged @ r
            expected = stacked(inside)
            expected[np.diag_indices(len(expected))] += noise * np.trace(inside[0]) / (n - 1)
            factor = cho_factor(expected, lower=True, overwrite_a=True, check_finite=False)
            weights = cho_solve(factor, (v @ lagged @ r).ravel(), check_finite=False)
            through = self.inner[i] @ weights
            error = self.power[i] + weights @ (through - 2.0 * self.crossed[i])
            floored = max(float(error), 0.0) + _LEAST * self.power[i]
            value += np.log(floored / self.power[i])
            # d error = by_crossed . d(v C r) - weights^T d(expected) by_crossed
            by_crossed = cho_solve(factor, 2.0 * (through - self.crossed[i]), check_finite=False)
            by_inner = -(weights * by_crossed) @ noise / (n - 1)
            a, b = weights.reshape(-1, size), by_crossed.reshape(-1, size)
            for lag in range(self.n_lags):
                pairs = a[: self.n_lags - lag].T @ b[lag:] + b[: self.n_lags - lag].T @ a[lag:]
                by_lag = -pairs if lag else -0.5 * pairs + by_inner * np.eye(size)
                slope[lag] += (r @ by_lag @ r.T + np.outer(v, b[lag] @ r.T)) / floored
        return value / n, slope / n


def stacked(lagged: FloatArray) -> FloatArray:
    """Covariance of samples in a row, newest first, of covariances (n_lags, n, n)."""
    n_lags, n = lagged.shape[:2]
    found = np.empty((n_lags, n, n_lags, n))
    for earlier in range(n_lags):
        for later in range(earlier, n_lags):
            found[earlier, :, later] = lagged[later - earlier]
            found[later, :, earlier] = lagged[later - earlier].T
    return found.reshape(n_lags * n, n_lags * n)
