"""Statistics of measured HD beside those of its rendering, from blocks held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from calibration.regression.blocks import Segment
from emag_rt.array_types import FloatArray
from emag_rt.core.output_statistics import OutputStatistics

MAX_COST = 0.2
"""What the map may add to the squared error on blocks held out, over that of the estimate."""
_CAPS = (4.0, 3.5, 3.0, 2.5, 2.25, 2.0, 1.75, 1.5, 1.25, 1.0)
_ORDER = 24


def fit_output_statistics(
    segments: Sequence[Segment],
    rendered: Sequence[FloatArray],
    rows: Sequence[int],
    n_hd: int,
    left: float = 1.0,
) -> OutputStatistics:
    """Find the map and the noise of an output.

    Parameters
    ----------
    segments : sequence of (x, y)
        Targets y (n_times, n_out) in µV, relative to the mean of the LD channels.
    rendered : sequence of ndarray, shape (n_times, n_out)
        The same from fits that did not see them.
    rows : sequence of int
        Channels of the output that the targets are.
    n_hd : int
        Channels of the output.
    left : float
        Share of the error that is left by what was fitted after the renderings: the networks.

    Returns
    -------
    OutputStatistics
        The identity, and no noise, in all other channels.
    """
    truth = np.concatenate([y for _, y in segments])
    errors = [y - z for (_, y), z in zip(segments, rendered, strict=True)]
    error = _covariance(np.concatenate(errors))
    wanted = _covariance(truth)
    estimated = np.concatenate(list(rendered))
    # What the networks explain moves from the error to the estimate.
    found = _covariance(estimated) + (1.0 - left) * error
    error = left * error
    transport, cost = _capped_transport(found, wanted, error)
    parts, reflection = _parts(errors, wanted - _covariance(estimated))
    places = np.ix_(rows, rows)
    whole = np.eye(n_hd)
    whole[places] = transport
    mixing = np.zeros((n_hd, len(rows)))
    mixing[list(rows)] = np.sqrt(left) * parts
    return OutputStatistics(whole, mixing, reflection, cost)


def _covariance(values: FloatArray) -> FloatArray:
    """Second moments: the front end takes out the mean."""
    return np.asarray(values.T @ values / len(values))


def _power(matrix: FloatArray, exponent: float) -> FloatArray:
    """Power of a covariance; directions without any variance stay so."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-6 * values[-1]
    raised = np.where(kept, np.where(kept, values, 1.0) ** exponent, 0.0)
    return np.asarray((vectors * raised) @ vectors.T)


def _capped_transport(
    found: FloatArray, wanted: FloatArray, error: FloatArray
) -> tuple[FloatArray, float]:
    """Optimal transport between two Gaussians, its gains under a cap, and what it costs.

    The cap is the largest whose cost is allowed: directions that the estimate hardly has would
    be noise, blown up.
    """
    root = _power(wanted, 0.5)
    gains, vectors = np.linalg.eigh(root @ _power(root @ found @ root, -0.5) @ root)
    crossed = 0.5 * (wanted + found - error)
    before = float(np.trace(error))
    for cap in _CAPS:
        transport = (vectors * np.minimum(gains, cap)) @ vectors.T
        after = np.trace(wanted) - 2 * np.trace(transport @ crossed)
        after += np.trace(transport @ found @ transport)
        cost = max(0.0, float(after) / before - 1.0) if before > 0 else 0.0
        if cost <= MAX_COST:
            break
    return transport, cost


def _parts(errors: Sequence[FloatArray], missing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Parts of the error, uncorrelated at once and in their slopes, and the spectrum of each.

    The error of a fit to little data is larger than what the estimate lacks, because a part of it
    is in the estimate. So each part counts by its share of the ``missing`` covariance.

    Returns
    -------
    mixing : ndarray, shape (n_out, n_out)
        From parts of variance 1 to the channels.
    reflection : ndarray, shape (n_out, n_order)
        Of each part.
    """
    covariance = _covariance(np.concatenate(errors))
    n = len(covariance)
    covariance += 1e-6 * max(float(np.trace(covariance)) / n, 1e-12) * np.eye(n)
    slopes = _covariance(np.concatenate([np.diff(e, axis=0) for e in errors]))
    _, vectors = eigh(slopes, covariance)
    lagged = np.zeros((_ORDER + 1, n))
    for part in (e @ vectors for e in errors):
        for lag in range(min(_ORDER + 1, len(part))):
            lagged[lag] += (part[lag:] * part[: len(part) - lag]).sum(axis=0)
    share = np.clip((vectors * (missing @ vectors)).sum(axis=0), 0.0, 1.0)
    return covariance @ vectors * np.sqrt(share), _reflection(lagged)


def _reflection(lagged: FloatArray) -> FloatArray:
    """Levinson's recursion, for all parts at once: (n_order + 1, n) -> (n, n_order)."""
    past = np.empty((0, lagged.shape[1]))
    left = np.maximum(lagged[0], 1e-300)
    found = []
    for order in range(1, len(lagged)):
        k = (lagged[order] - (past * lagged[order - 1 : 0 : -1]).sum(axis=0)) / left
        k = np.clip(k, -0.9999, 0.9999)
        past = np.concatenate([past - k * past[::-1], k[None]])
        left = left * (1.0 - k**2)
        found.append(k)
    return np.array(found).T
