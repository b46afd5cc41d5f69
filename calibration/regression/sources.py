"""Where signals come from: sources that all bands and parts of a session have in common.

The covariances of a session's bands and parts differ by how strong each source is, not by how it
reaches the electrodes. So one matrix makes all of them diagonal (joint diagonalisation, Pham
2001), and what is on the diagonals are the sources' powers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.ld_bands import MIN_WIDTH_HZ, HdBands, block_covariances

_INNER_HZ = (4.0, 8.0, 13.0, 20.0, 30.0, 45.0)
_HIGHEST_HZ = 90.0
_PARTS = 4
_LARGE = 80
"""With more HD channels the whole session is one part: the bundle stays small."""
_SWEEPS = 8
_SMALLEST = 1e-4
_LOADING = 1e-3
_ROUNDS = 30


def all_edges(band_hz: tuple[float, float], sfreq: float) -> FloatArray:
    """Edges in Hz of bands that cover what a front end lets through, shape (n_bands + 1,)."""
    low, high = band_hz[0], min(band_hz[1], 0.45 * sfreq, _HIGHEST_HZ)
    inner = [hz for hz in _INNER_HZ if low + MIN_WIDTH_HZ <= hz <= high - MIN_WIDTH_HZ]
    return np.array([low, *inner, high])


def hd_bands(
    segments: Sequence[FloatArray], bad: Sequence[int], band_hz: tuple[float, float], sfreq: float
) -> HdBands | None:
    """Covariances of all channels, as the bundle keeps them.

    Parameters
    ----------
    segments : sequence of ndarray, shape (n_times, n_hd)
        All channels relative to the LD mean in µV.
    bad : sequence of int
        Channels not to be learned from: their rows are 0.
    band_hz : tuple of float
        Of the front end, in Hz.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    HdBands or None
        None where there is no whole block.
    """
    edges_hz = all_edges(band_hz, sfreq)
    blocks = block_covariances(segments, edges_hz, sfreq)
    if not blocks or np.diff(edges_hz).min() < MIN_WIDTH_HZ:
        return None
    n_parts = _PARTS if blocks[0].shape[-1] <= _LARGE else 1
    parts = np.array_split(np.arange(len(blocks)), min(n_parts, len(blocks)))
    covariances = np.array([np.mean([blocks[i] for i in part], axis=0) for part in parts])
    covariances[..., list(bad), :] = 0.0
    covariances[..., :, list(bad)] = 0.0
    return HdBands(edges_hz, covariances)


@dataclass(frozen=True, eq=False)
class Sources:
    """Where a session's signals come from.

    Attributes
    ----------
    mixing : ndarray, shape (n_hd, n_sources)
        How each reaches the electrodes, relative to the LD mean.
    powers : ndarray, shape (n_bands, n_sources)
        How strong each is over the session, in the square of the mixing's unit.
    """

    mixing: FloatArray
    powers: FloatArray


def find_sources(bands: HdBands) -> Sources:
    """Sources whose powers differ between bands and parts, and whose mixing does not."""
    mean = bands.covariances.mean(axis=0)
    total = mean.sum(axis=0)
    values, vectors = np.linalg.eigh(total)
    kept = values > _SMALLEST * values[-1]
    white = vectors[:, kept] / np.sqrt(values[kept])
    matrices = white.T @ bands.covariances @ white
    n = matrices.shape[-1]
    matrices = matrices.reshape(-1, n, n)
    matrices /= np.trace(matrices, axis1=1, axis2=2)[:, None, None] / n
    unmixing = joint_diagonaliser(matrices + _LOADING * np.eye(n))
    mixing = total @ white @ np.linalg.inv(unmixing)
    rows = unmixing @ white.T
    return Sources(mixing, np.einsum("si,bij,sj->bs", rows, mean, rows, optimize=True))


def joint_diagonaliser(matrices: FloatArray) -> FloatArray:
    """A matrix B for which all ``B C B^T`` are as diagonal as can be.

    Parameters
    ----------
    matrices : ndarray, shape (n_matrices, n, n)
        Symmetric, positive definite.

    Returns
    -------
    ndarray, shape (n, n)
        Rows in no order.

    Notes
    -----
    D. T. Pham (2001), Joint approximate diagonalization of positive definite Hermitian matrices,
    SIAM J. Matrix Anal. Appl. 22: pairs of rows in turn, each by the best 2 x 2 matrix.
    """
    now, n = matrices.copy(), matrices.shape[-1]
    found = np.eye(n)
    for _ in range(_SWEEPS):
        for i in range(1, n):
            for j in range(i):
                first, second, both = now[:, i, i], now[:, j, j], now[:, i, j]
                g, h = (both / first).mean(), (both / second).mean()
                up, down = (first / second).mean(), (second / first).mean()
                root, ratio = np.sqrt(up * down), np.sqrt(up / down)
                total = (ratio * g + h) / (root + 1.0)
                difference = (ratio * g - h) / max(root - 1.0, 1e-9)
                a, b = total + difference, (total - difference) / ratio
                scale = 1.0 + np.sqrt(max(1.0 - a * b, 0.0))
                turn = np.array([[1.0, -a / scale], [-b / scale, 1.0]])
                pair = [i, j]
                now[:, pair] = turn @ now[:, pair]
                now[:, :, pair] = now[:, :, pair] @ turn.T
                found[pair] = turn @ found[pair]
    return found


def follow_powers(
    mixing: FloatArray, powers: FloatArray, covariances: FloatArray, pull: float
) -> FloatArray:
    """Powers that make LD covariances likely, pulled to the session's.

    Parameters
    ----------
    mixing : ndarray, shape (n, n_sources)
        To contrasts of LD channels.
    powers : ndarray, shape (n_bands, n_sources)
        Of the session.
    covariances : ndarray, shape (n_bands, n, n)
        Of the same contrasts, at present.
    pull : float
        From 0 (none) to 1: at each round, powers go that part of the way back (of logarithms).

    Returns
    -------
    ndarray, shape (n_bands, n_sources)
        Present powers.
    """
    found = powers.copy()
    for _ in range(_ROUNDS):
        inverse = np.linalg.inv(ld_model(mixing, found))
        seen = inverse @ mixing
        wanted = np.einsum("bis,bij,bjs->bs", seen, covariances, seen, optimize=True)
        found = found * np.sqrt(wanted / (mixing * seen).sum(axis=1))
        found = found ** (1.0 - pull) * powers**pull
    return np.asarray(found)


def ld_model(mixing: FloatArray, powers: FloatArray) -> FloatArray:
    """Covariances, shape (n_bands, n, n), of contrasts of LD channels that sources make."""
    found = (mixing * powers[:, None]) @ mixing.T
    n = found.shape[-1]
    power = np.trace(found, axis1=1, axis2=2)[:, None, None] / n
    return np.asarray(found + _LOADING * power * np.eye(n))
