"""How LD channels go together in bands of frequency: what is the same from day to day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.drive import reference_free

BLOCK_S = 2.0
EDGES_HZ = (1.0, 4.0, 8.0, 13.0, 20.0, 30.0)
MIN_WIDTH_HZ = 1.5
_ENOUGH_HZ = 200.0


@dataclass(frozen=True, eq=False)
class LdBands:
    """Mean over blocks of the LD channels' covariances in bands, each block of unit power.

    Attributes
    ----------
    edges_hz : ndarray, shape (n_bands + 1,)
        Where one band ends and the next begins.
    covariances : ndarray, shape (n_bands, n_ld, n_ld)
        Of the reference-free channels; the trace of each is 1.
    n_blocks : int
        Blocks of 2 s in the mean.
    """

    edges_hz: FloatArray
    covariances: FloatArray
    n_blocks: int


@dataclass(frozen=True, eq=False)
class HdBands:
    """Covariances of all channels relative to the LD mean, in bands and parts of the session.

    Attributes
    ----------
    edges_hz : ndarray, shape (n_bands + 1,)
        Where one band ends and the next begins; all that the front end lets through.
    covariances : ndarray, shape (n_parts, n_bands, n_hd, n_hd)
        In µV²; rows of channels that were bad are 0.
    """

    edges_hz: FloatArray
    covariances: FloatArray


def band_edges(band_hz: tuple[float, float], sfreq: float) -> FloatArray:
    """Edges of the bands that a front end lets through.

    Parameters
    ----------
    band_hz : tuple of float
        Of the front end, in Hz.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    ndarray, shape (n_bands + 1,)
        In Hz; of less than two numbers where no band is let through.
    """
    low, high = band_hz[0], min(band_hz[1], 0.45 * sfreq)
    return np.array([hz for hz in EDGES_HZ if low <= hz <= high])


def band_covariances(block: FloatArray, edges_hz: FloatArray, sfreq: float) -> FloatArray:
    """Covariances of a block of about 2 s in bands.

    Parameters
    ----------
    block : ndarray, shape (n_times, n)
        Filtered channels in µV, in the reference that the covariances are wanted in.
    edges_hz : ndarray, shape (n_bands + 1,)
        Edges of the bands in Hz, each band at least :data:`MIN_WIDTH_HZ` wide.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    ndarray, shape (n_bands, n, n)
        In µV².
    """
    n_times = len(block)
    window = np.hanning(n_times)
    spectrum = np.fft.rfft(block * window[:, None], axis=0)
    bounds = np.ceil(edges_hz * n_times / sfreq).astype(int)
    parts = [spectrum[a:b] for a, b in pairwise(bounds)]
    found = np.stack([(part.conj().T @ part).real for part in parts])
    return found * (2.0 / (n_times * float((window**2).sum())))


def slowed(signal: FloatArray, sfreq: float) -> tuple[FloatArray, float]:
    """Means of samples in a row, where there are more than the bands need.

    Parameters
    ----------
    signal : ndarray, shape (n_times, n_ld)
        Filtered LD channels.
    sfreq : float
        Their rate in Hz.

    Returns
    -------
    signal : ndarray, shape (n_slower, n_ld)
        A rest too short for a mean is left out.
    sfreq : float
        Its rate in Hz: from 200 to under 400, or as it was.
    """
    n = max(1, int(sfreq / _ENOUGH_HZ))
    whole = len(signal) // n * n
    return signal[:whole].reshape(-1, n, signal.shape[1]).mean(axis=1), sfreq / n


def block_covariances(
    segments: Sequence[FloatArray], edges_hz: FloatArray, sfreq: float
) -> list[FloatArray]:
    """Covariances of every whole block of stretches of signal.

    Parameters
    ----------
    segments : sequence of ndarray, shape (n_times, n)
        As :func:`band_covariances` takes them, of any length.
    edges_hz, sfreq
        The same.

    Returns
    -------
    list of ndarray, shape (n_bands, n, n)
        In µV².
    """
    found = []
    for signal, slower in (slowed(x, sfreq) for x in segments):
        n = round(BLOCK_S * slower)
        starts = range(0, len(signal) - n + 1, n)
        found += [band_covariances(signal[i : i + n], edges_hz, slower) for i in starts]
    return found


def mean_bands(
    segments: Sequence[FloatArray], edges_hz: FloatArray, sfreq: float
) -> LdBands | None:
    """The bands of whole recordings.

    Parameters
    ----------
    segments : sequence of ndarray, shape (n_times, n_ld)
        Stretches of filtered LD channels in µV.
    edges_hz : ndarray, shape (n_bands + 1,)
        As :func:`band_edges` gives them.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    LdBands or None
        None where there is no band, or no block with power in every band.
    """
    if len(edges_hz) < 2:
        return None
    blocks = block_covariances([reference_free(x)[0] for x in segments], edges_hz, sfreq)
    usable = [shape for block in blocks if (shape := of_unit_power(block)) is not None]
    return LdBands(edges_hz, np.mean(usable, axis=0), len(usable)) if usable else None


def of_unit_power(covariances: FloatArray) -> FloatArray | None:
    """Covariances, shape (n_bands, n, n), with traces of 1; None where one has no power."""
    power = np.trace(covariances, axis1=1, axis2=2)
    if not (power > 0).all() or not np.isfinite(power).all():
        return None
    return np.asarray(covariances / power[:, None, None])
