"""Channels that should not be trusted: flat, wild, bridged, or made from others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emag_rt.array_types import FloatArray

FLAT_RATIO = 0.05
LINE_RATIO = 0.5
LINE_EXCESS = 3.0
LINES_HZ = (50.0, 60.0)
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


def line_noise(segments: Sequence[FloatArray], sfreq: float) -> tuple[dict[int, str], float]:
    """Find channels with much more of the mains' 50 or 60 Hz than the others.

    Parameters
    ----------
    segments : sequence of ndarray, shape (n_times, n_channels)
        Filtered signals in µV.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    found : dict of int to str
        Column and reason: an rms at 50 or 60 Hz of over half the usual channel's whole amplitude,
        and over three times that of the usual channel.
    share : float
        That of the usual channel, as a share of its whole amplitude: over 0.5, all have it.
    """
    size = max(2, round(sfreq))
    pieces = [x[i : i + size] for x in segments for i in range(0, len(x) - size + 1, size)]
    lines = [hz for hz in LINES_HZ if hz < 0.499 * sfreq]
    if not pieces or not lines:
        return {}, 0.0
    waves = np.exp(-2j * np.pi * np.outer(lines, np.arange(size)) / sfreq) * np.sqrt(2.0) / size
    amplitudes = [np.abs(waves @ (x - x.mean(axis=0))).max(axis=0) for x in pieces]
    typical = np.median(np.array(amplitudes), axis=0)
    usual = float(np.median([x.std(axis=0) for x in pieces]))
    others = float(np.median(typical))
    limit = max(LINE_RATIO * usual, LINE_EXCESS * others)
    found = {
        column: f"{value:.2g} µV at 50 or 60 Hz, others {others:.2g} µV"
        for column, value in enumerate(typical)
        if value > limit
    }
    return found, others / usual if usual > 0 else 0.0


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
    wanted = set(columns)
    found = {i for pair in bridges(data) if wanted & set(pair) for i in pair}
    return found - wanted


def bridges(data: FloatArray) -> list[tuple[int, int]]:
    """Pairs of channels that carry one signal (|r| > 0.999).

    Parameters
    ----------
    data : ndarray, shape (n_times, n_channels)
        Filtered signals in µV.

    Returns
    -------
    list of (int, int)
        Columns, the lower one first.
    """
    centred = data - data.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(norm > 0, norm, 1.0)
    alike = np.triu(np.abs(unit.T @ unit) > BRIDGED_CORRELATION, k=1)
    return [(int(i), int(j)) for i, j in np.argwhere(alike)]


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
