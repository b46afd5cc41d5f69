"""Statistics of measured HD beside those of its rendering, from blocks held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from calibration.regression.blocks import Segment
from emag_rt.array_types import BoolArray, ComplexArray, FloatArray
from emag_rt.core.output_statistics import OutputStatistics

MAX_COST = 0.2
"""What the map may add to the squared error on blocks held out, over that of the estimate."""
_CAPS = (4.0, 3.5, 3.0, 2.5, 2.25, 2.0, 1.75, 1.5, 1.25, 1.0)
_ORDER = 24
_WINDOW = 128
"""Samples of a window: the noise remembers 24, so finer spectra would be of no use."""
_FLOOR = 1e-4
"""White noise in each part, over its power: a spectrum with empty bands would ring for ever."""
_LOUD = 2.0
"""Windows whose slopes have more than this times the median power do not count."""


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
    truth = _windows([y for _, y in segments])
    estimate = _windows(rendered)
    kept = _quiet(truth)
    wanted, found, error = (_spectra(w[kept]) for w in (truth, estimate, truth - estimate))
    # What the networks explain moves from the error to the estimate.
    found, error = found + (1.0 - left) * error, left * error
    covariances = (np.fft.irfft(spectra, axis=0)[0] for spectra in (found, wanted, error))
    transport, cost = _capped_transport(*covariances)
    parts, reflection = _noise(wanted - transport @ found @ transport)
    before = float(np.trace(np.fft.irfft(error, axis=0)[0]))
    noise_cost = float((parts**2).sum()) / before if before > 0 else 0.0
    whole = np.eye(n_hd)
    whole[np.ix_(rows, rows)] = transport
    mixing = np.zeros((n_hd, len(rows)))
    mixing[list(rows)] = parts
    return OutputStatistics(whole, mixing, reflection, cost, noise_cost)


def _windows(segments: Sequence[FloatArray]) -> ComplexArray:
    """Spectra of windows that overlap by half, (n_windows, n_freqs, n_out).

    Their mean square is the covariance: the front end takes out the mean.
    """
    n = min(_WINDOW, max(len(values) for values in segments) // 2 * 2)
    taper = np.hanning(n + 1)[:n]
    cut = [
        sliding_window_view(values, n, axis=0)[:: n // 2] for values in segments if len(values) >= n
    ]
    spectra = np.fft.rfft(np.concatenate(cut) * (taper / np.sqrt((taper**2).sum())))
    return np.asarray(spectra.transpose(0, 2, 1))


def _quiet(windows: ComplexArray) -> BoolArray:
    """Windows to learn from, (n_windows,): not bursts of muscle, which are few and very loud."""
    slopes = 1.0 - np.cos(np.pi * np.linspace(0.0, 1.0, windows.shape[1]))
    loudness = (np.abs(windows) ** 2).sum(axis=2) @ slopes
    return np.asarray(loudness <= _LOUD * np.median(loudness))


def _spectra(windows: ComplexArray) -> FloatArray:
    """Spectra and cross-spectra without what is out of phase, (n_freqs, n_out, n_out)."""
    of_each = windows.transpose(1, 2, 0)
    return np.asarray((of_each @ of_each.conj().transpose(0, 2, 1)).real / len(windows))


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


def _noise(missing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Noise of the spectra that are missing.

    Its parts are uncorrelated, at once and a sample later. In some directions and bands the map
    gives more power than there is. No noise can take that away, so in each band the noise gets
    no more power than all channels together lack.

    Parameters
    ----------
    missing : ndarray, shape (n_freqs, n_out, n_out)
        Cross-spectra.

    Returns
    -------
    mixing : ndarray, shape (n_out, n_out)
        From parts of variance 1 to the channels.
    reflection : ndarray, shape (n_out, n_order)
        Of each part.
    """
    lagged = np.fft.irfft(missing, axis=0)
    root, whiten = _power(lagged[0], 0.5), _power(lagged[0], -0.5)
    _, turn = np.linalg.eigh(whiten @ lagged[1] @ whiten)
    unmixing, mixing = whiten @ turn, root @ turn
    spectra = np.maximum(((missing @ unmixing) * unmixing).sum(axis=1), 0.0)
    drawn = spectra @ (mixing**2).sum(axis=0)
    lacking = np.trace(missing, axis1=1, axis2=2)
    spectra *= np.clip(lacking / np.maximum(drawn, 1e-300), 0.0, 1.0)[:, None]
    of_parts = np.fft.irfft(spectra, axis=0)[: _ORDER + 1]
    mixing *= np.sqrt(of_parts[0])
    of_parts[0] *= 1.0 + _FLOOR
    return mixing, _reflection(of_parts)


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
