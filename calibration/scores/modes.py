"""How far rendered channels behave like measured ones, in each mode of ``--statistics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import welch

from emag_rt.array_types import FloatArray
from emag_rt.core.output_statistics import OutputStatistics, SimulatedNoise
from emag_rt.core.scores import BANDS_HZ, nmse

N_EIGENVALUES = 16
_SHOWN = (1, 4, 16)
SPREAD = f"eigenvalues {', '.join(map(str, _SHOWN))} (µV²)"
"""What :attr:`ModeScores.spread` holds, for tables."""


@dataclass(frozen=True)
class ModeScores:
    """How a rendering behaves.

    Attributes
    ----------
    nmse : float
        Its error.
    rank : int
        Eigenvalues of its covariance over a thousandth of the largest true one.
    eigenvalues : tuple of float
        The largest, in µV².
    power, power_median : dict of str to float
        Band power over the true one, summed over channels, and of the middle channel.
    """

    nmse: float
    rank: int
    eigenvalues: tuple[float, ...]
    power: dict[str, float]
    power_median: dict[str, float]

    @property
    def spread(self) -> str:
        """Some eigenvalues from large to small, as far as there are so many channels."""
        shown = [self.eigenvalues[n - 1] for n in _SHOWN if n <= len(self.eigenvalues)]
        return " ".join(f"{value:.{int(value < 10)}f}" for value in shown)


def other_modes(
    statistics: OutputStatistics | None, rows: Sequence[int], estimate: FloatArray
) -> dict[str, FloatArray]:
    """What an estimate becomes in the other modes; nothing where the bundle does not know them.

    Parameters
    ----------
    statistics : OutputStatistics or None
        Of the bundle.
    rows : sequence of int
        Channels of the bundle's output that are given.
    estimate : ndarray, shape (n_times, n_rows)
        In µV, relative to the LD mean.
    """
    if statistics is None:
        return {}
    transport = statistics.transport[np.ix_(rows, rows)]
    noise = SimulatedNoise(statistics, 1.0, rows).take(len(estimate))
    matched = estimate @ transport.T
    return {"matched": matched, "simulated": matched + noise}


def mode_scores(
    truth: FloatArray, modes: Mapping[str, FloatArray], sfreq: float
) -> dict[str, ModeScores]:
    """Error, rank, eigenvalues and band power of each mode, beside the truth.

    Parameters
    ----------
    truth : ndarray, shape (n_times, n_channels)
        In µV.
    modes : mapping of str to ndarray, shape (n_times, n_channels)
        Renderings.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    dict of str to ModeScores
        Of ``truth`` and each mode.
    """
    true_power = _band_power(truth, sfreq)
    values = {"truth": truth, **modes}
    eigenvalues = {
        name: np.linalg.eigvalsh(np.atleast_2d(np.cov(v.T)))[::-1] for name, v in values.items()
    }
    floor = 1e-3 * eigenvalues["truth"][0]
    found: dict[str, ModeScores] = {}
    for name, signal in values.items():
        power = _band_power(signal, sfreq)
        found[name] = ModeScores(
            nmse(truth, signal),
            int((eigenvalues[name] > floor).sum()),
            tuple(round(float(v), 3) for v in eigenvalues[name][:N_EIGENVALUES]),
            {b: float(p.sum() / true_power[b].sum()) for b, p in power.items()},
            {b: float(np.median(p / true_power[b])) for b, p in power.items()},
        )
    return found


def _band_power(signal: FloatArray, sfreq: float) -> dict[str, FloatArray]:
    """Power of each channel in each band below the Nyquist rate, (n_channels,)."""
    freqs, power = welch(signal, sfreq, nperseg=min(len(signal), int(2 * sfreq)), axis=0)
    rows = {
        name: (freqs >= low) & (freqs < min(high, sfreq / 2))
        for name, (low, high) in BANDS_HZ.items()
    }
    tiny = np.finfo(float).tiny
    return {name: power[r].sum(axis=0) + tiny for name, r in rows.items() if r.any()}
