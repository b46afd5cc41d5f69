"""What a bundle knows of measured and rendered HD in one band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.labels import canonical
from emag_rt.errors import BundleError

_FLOOR = 1e-2
"""Of the mean power of a channel: noise below it does not count as a direction of the EEG."""
_LEAST = 1e-6
"""Of the power that the best direction keeps: those below are numerical noise."""


@dataclass(frozen=True, eq=False)
class BandMap:
    """Covariances of measured and rendered HD in a band, relative to the LD mean.

    Attributes
    ----------
    labels : tuple of str
        HD channels that calibration found good.
    ld : tuple of int
        Which of them are LD channels.
    measured, rendered : ndarray, shape (n_channels, n_channels)
        In µV², honest: no rendering saw what it is compared with.
    """

    labels: tuple[str, ...]
    ld: tuple[int, ...]
    measured: FloatArray
    rendered: FloatArray

    @classmethod
    def of(cls, bundle: Bundle, band: tuple[float, float]) -> BandMap:
        """The map of a bundle over a band in Hz.

        Raises
        ------
        BundleError
            If the bundle holds none.
        SettingsError
            If it does not reach so far.
        """
        manifest = bundle.manifest
        if bundle.cross_spectra is None:
            why = (
                "it was made by an older version, or by another method than the default"
                if manifest.hd_measured
                else "its HD was never measured (--no-hd)"
            )
            raise BundleError(
                f"bundle {manifest.name} must know how its rendered channels differ from measured "
                f"ones, but does not: {why}. Calibrate from an HD recording with this version, or "
                "train the decoder on rendered HD (emag-rt upsample --train-like-served)."
            )
        measured, rendered = bundle.cross_spectra.over(*band)
        worn = {canonical(e.label) for e in manifest.ld}
        labels = tuple(e.label for e in manifest.hd if not e.bad)
        ld = tuple(i for i, label in enumerate(labels) if canonical(label) in worn)
        return cls(labels, ld, measured, rendered)

    def centering(self) -> FloatArray:
        """Matrix that takes out the LD mean, shape (n_channels, n_channels)."""
        out = np.eye(len(self.labels))
        out[:, self.ld] -= 1.0 / len(self.ld)
        return out

    def directions(self, n: int) -> FloatArray:
        """Spatial filters, shape (n, n_channels), whose signals rendering keeps best.

        Rendered over measured power is largest there; measured, they are white. Fewer than n where
        rendering has fewer, as a field without lags does.

        Raises
        ------
        BundleError
            If the channels have no power in the band, or the map is no covariance.
        """
        n_channels = len(self.labels)
        noise = _FLOOR * np.trace(self.measured) / n_channels * np.eye(n_channels)
        try:
            kept, vectors = eigh(self.rendered, self.measured + noise)
        except np.linalg.LinAlgError as error:
            raise BundleError(
                "the bundle's measured channels must have power in the band, they have none. "
                "Choose another band, or calibrate again."
            ) from error
        best = vectors[:, kept > _LEAST * kept[-1]][:, -n:]
        filters: FloatArray = best.T @ self.centering()
        return filters


def rendering_matrix(
    bundle: Bundle, band: tuple[float, float] = (8.0, 30.0)
) -> tuple[FloatArray, tuple[str, ...], tuple[str, ...]]:
    """The one matrix that comes closest to rendering in a band: no lags, no networks.

    For models that begin with an interpolation of channels: it takes the place of their spherical
    spline. Input and output may have any reference, which stays the same.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    band : tuple of float
        In Hz.

    Returns
    -------
    matrix : ndarray, shape (n_hd, n_ld)
        HD = matrix @ LD. LD channels are passed through.
    hd, ld : tuple of str
        Names of its rows (HD channels that calibration found good) and columns.

    Raises
    ------
    BundleError
        If the bundle does not know its renderings (see ``BandMap.of``).
    SettingsError
        If the band reaches beyond what it knows.
    """
    known = BandMap.of(bundle, band)
    ld = list(known.ld)
    inner = known.rendered[np.ix_(ld, ld)]
    # Relative to their mean, LD channels have one direction without power.
    relative = known.rendered[:, ld] @ np.linalg.pinv(inner, rcond=1e-6, hermitian=True)
    mean = np.full((1, len(ld)), 1.0 / len(ld))
    matrix = relative @ (np.eye(len(ld)) - mean) + mean
    return matrix, known.labels, tuple(known.labels[i] for i in ld)
