"""Spectra and cross-spectra of measured HD beside those of its rendering.

Decoders live in one band each. So the covariances are kept by frequency, and a band's own is
their sum over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.errors import SettingsError

N_BINS = 24
"""Bins of frequency, from 0 Hz on."""


@dataclass(frozen=True, eq=False)
class CrossSpectra:
    """Covariances by frequency, relative to the LD mean.

    Attributes
    ----------
    width_hz : float
        Of each bin.
    measured, rendered : ndarray, shape (n_bins, n_channels * (n_channels + 1) / 2), float32
        Upper triangles in µV², row by row; they sum up to the covariance.
    """

    width_hz: float
    measured: Float32Array
    rendered: Float32Array

    def over(self, low_hz: float, high_hz: float) -> tuple[FloatArray, FloatArray]:
        """Covariance of measured and of rendered channels in a band, in µV².

        Parameters
        ----------
        low_hz, high_hz : float
            The band. A bin that lies in it by a part counts by that part.

        Returns
        -------
        measured, rendered : ndarray, shape (n_channels, n_channels)

        Raises
        ------
        SettingsError
            If the band does not begin and end within the bins.
        """
        edges = self.width_hz * np.arange(len(self.measured) + 1)
        if not 0 <= low_hz < high_hz <= edges[-1]:
            raise SettingsError(
                f"band must be (low, high) in Hz with 0 <= low < high <= {edges[-1]:g}, which is "
                f"as far as the bundle knows its channels, got ({low_hz}, {high_hz})."
            )
        share = np.diff(np.clip(edges, low_hz, high_hz)) / self.width_hz
        return _square(share @ self.measured), _square(share @ self.rendered)


def n_pairs(n_channels: int) -> int:
    """Numbers in an upper triangle."""
    return n_channels * (n_channels + 1) // 2


def _square(triangle: FloatArray) -> FloatArray:
    n = (np.sqrt(8 * len(triangle) + 1) - 1) / 2
    out = np.zeros((round(n), round(n)))
    upper = np.triu_indices(len(out))
    out[upper] = triangle
    out[upper[::-1]] = triangle
    return out
