"""The sizes that calibration gives a subject, as a small table.

``emag_rt`` knows nothing of ``calibration``; a test holds this copy against
``calibration.regression.profiles`` and ``calibration.residual.bag``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray

_STEP_S = 1.0 / 160.0
_DELAY_WIDTH = 0.1
_REACH = 3.0
_N_DELAYS = 16
_DILATED = (0, 1, 2, 3, 4, 5, 7, 10, 15, 22, 33, 50)
_TAIL = ((20, 3.0), (27, 5.0), (38, 8.0), (55, 12.0), (80, 20.0))

N_NETWORKS = 8
"""Five splits, and three networks that learn from everything."""
N_UNITS = 32
N_BLOCKS = 8


@dataclass(frozen=True, eq=False)
class Layout:
    """Temporal shapes of a calibrated ``stream`` field.

    Attributes
    ----------
    centers_s, widths_s : ndarray, shape (n_gaussians,)
        Temporal centres and widths of the Gaussians of a point, in s.
    n_lags : int
        Length of the lag axis, look-ahead included.
    encoder : ndarray, shape (n_taps, n_encoder_lags)
        What the networks see.
    step : int
        Samples between those that the networks look at.
    """

    centers_s: FloatArray
    widths_s: FloatArray
    n_lags: int
    encoder: FloatArray
    step: int

    @property
    def now(self) -> int:
        """The Gaussian of the present, an exact delay of 0."""
        return int(np.argmin(np.abs(self.centers_s)))

    @property
    def dilations(self) -> tuple[int, ...]:
        """Samples between the taps of each block."""
        return tuple(self.step * 2**i for i in range(N_BLOCKS))

    def profiles(self, sfreq: float, look_ahead: int) -> FloatArray:
        """Temporal factor of each Gaussian at each lag, shape (n_gaussians, n_lags)."""
        tau = (np.arange(self.n_lags) - look_ahead) / sfreq
        return np.asarray(
            np.exp(-0.5 * ((tau - self.centers_s[:, None]) / self.widths_s[:, None]) ** 2)
        )


def layout_of(sfreq: float, look_ahead: int = 0) -> Layout:
    """What calibration would lay out at a rate.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    look_ahead : int
        Samples waited for.

    Returns
    -------
    Layout
        The union of all banks, as when the average of all fits is best.
    """
    step_s = max(1.0 / sfreq, _STEP_S)
    dense = _DELAY_WIDTH if step_s * sfreq < 1 + 1e-9 else 0.6
    dilated = {mu: 0.6 * (mu - before) for before, mu in itertools.pairwise(_DILATED)}
    banks = (
        (dict.fromkeys(range(_N_DELAYS), _DELAY_WIDTH), 1.0 / sfreq),
        ({0: _DELAY_WIDTH, **dilated}, step_s),
        ({**dict.fromkeys(range(_N_DELAYS), dense), **dict(_TAIL)}, step_s),
    )
    limit = look_ahead / sfreq * (1 + 1e-9)
    found = set()
    for profiles, unit in banks:
        for mu, sigma in profiles.items():
            width = _DELAY_WIDTH / sfreq if mu == 0 else sigma * unit
            found.add((round(mu * unit, 12), round(width, 12)))
            if 0 < mu * unit <= limit:
                found.add((round(-mu * unit, 12), round(width, 12)))
    centers, widths = np.array(sorted(found)).T
    reach = float(np.max(centers + _REACH * widths)) * sfreq
    n_lags = look_ahead + max(0, int(np.floor(reach + 1e-9))) + 1
    step = max(1, round(step_s * sfreq))
    encoder = np.ones((1, 1))
    if step > 1:
        encoder = np.stack([np.eye(1, step)[0], np.full(step, 1.0 / step)])
    return Layout(centers, widths, n_lags, encoder, step)
