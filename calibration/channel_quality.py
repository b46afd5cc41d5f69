"""Channels that should not be trusted: flat, wild, bridged, or made from others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FLAT_RATIO = 0.05
WILD_RATIO = 6.0
BRIDGED_CORRELATION = 0.999
_RANK_TOLERANCE = 1e-7


def suspicious_channels(segments: Sequence[FloatArray], sfreq: float) -> dict[int, str]:
    """Find flat and wild channels by their typical amplitude.

    Parameters
    ----------
    segments : sequence of ndarray, shape (n_times, n_channels)
        Filtered signals in µV.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    dict of int to str
        Column and reason. The typical amplitude is the median over one-second pieces of the
        standard deviation, so blinks and single artefacts do not count.
    """
    size = max(2, round(sfreq))
    pieces = [
        x[i : i + size].std(axis=0) for x in segments for i in range(0, len(x) - size + 1, size)
    ]
    if not pieces:
        return {}
    typical = np.median(np.array(pieces), axis=0)
    usual = float(np.median(typical))
    found: dict[int, str] = {}
    for column, value in enumerate(typical):
        if value < FLAT_RATIO * usual:
            found[column] = f"flat ({value:.2g} µV, others {usual:.2g} µV)"
        elif value > WILD_RATIO * usual:
            found[column] = f"wild ({value:.3g} µV, others {usual:.2g} µV)"
    return found


def bridged_channels(data: FloatArray, columns: Sequence[int]) -> set[int]:
    """Columns that are bridged to one of the given columns (|r| > 0.999).

    Parameters
    ----------
    data : ndarray, shape (n_times, n_channels)
        Filtered signals in µV.
    columns : sequence of int
        The LD channels.

    Returns
    -------
    set of int
        Columns outside ``columns`` that carry the signal of one of them.
    """
    centred = data - data.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(norm > 0, norm, 1.0)
    correlation = np.abs(unit.T @ unit[:, list(columns)])
    correlation[list(columns)] = 0.0
    return {int(i) for i in np.flatnonzero((correlation > BRIDGED_CORRELATION).any(axis=1))}


def dependent_channels(covariance: FloatArray) -> int:
    """Number of channels that are combinations of others (interpolated ones, as a rule).

    Parameters
    ----------
    covariance : ndarray, shape (n_channels, n_channels)
        Covariance of the filtered channels in µV².

    Returns
    -------
    int
        Rank deficiency beyond the one that an average reference makes.
    """
    scale = np.sqrt(np.diag(covariance))
    values = np.linalg.eigvalsh(covariance / np.outer(scale, scale))
    rank = int((values > _RANK_TOLERANCE * values[-1]).sum())
    return max(0, len(covariance) - 1 - rank)
