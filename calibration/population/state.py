"""How strong a wearer's sources are now, and what a bundle's field must change by for it.

Sources that the HD session found keep their places; their powers are followed from covariances of
LD channels. What the sources say of the best linear operator, now less then, is the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.regression.sources import Sources, find_sources, follow_powers, ld_model
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, why_not_adaptable
from emag_rt.core.drive import contrasts
from emag_rt.core.labels import canonical
from emag_rt.core.ld_bands import block_covariances, mean_bands
from emag_rt.core.misfit import MIN_CHANNELS, Misfit, misfit
from emag_rt.errors import CalibrationError

PULL = 0.4
LEAST_DB = 1.0
"""Where LD power changed by less, over all bands, the state is the session's."""
# Of the mean power of what the operator is fed: what no source explains.
_NOISE = 1e-2
_SMALLEST = 1e-3
_FREQUENCY_STEP_HZ = 0.1


class State:
    """Follows the powers of the sources that a session found.

    Parameters
    ----------
    bundle : Bundle
        Calibrated on HD, anchor ``stream``.

    Raises
    ------
    CalibrationError
        If the bundle holds nothing to adapt by.

    Attributes
    ----------
    edges_hz : ndarray, shape (n_bands + 1,)
        Of the bands in which powers are followed.
    mixing : ndarray, shape (n_ld - 1, n_sources)
        From sources to contrasts of LD channels.
    powers : ndarray, shape (n_bands, n_sources)
        In the session.
    """

    def __init__(self, bundle: Bundle) -> None:
        why_not = why_not_adaptable(bundle)
        if why_not:
            raise CalibrationError(why_not)
        self._bundle, self._ld = bundle, _ld_rows(bundle)
        assert bundle.hd_bands is not None
        self.edges_hz = bundle.hd_bands.edges_hz
        self._profiles = _profiles(bundle)
        self._sources = find_sources(bundle.hd_bands)
        self._basis = contrasts(len(self._ld))
        self.mixing = self._basis.T @ self._sources.mixing[self._ld]
        self.powers = self._sources.powers
        self._then: FloatArray | None = None

    def contrasts(self, signals: Sequence[FloatArray], sfreq: float) -> FloatArray:
        """Covariances of contrasts of LD channels, shape (n_blocks, n_bands, n_ld - 1, n_ld - 1).

        Parameters
        ----------
        signals : sequence of ndarray, shape (n_times, n_ld)
            Filtered and reference-free, in µV.
        sfreq : float
            Their rate in Hz.
        """
        found = np.array(block_covariances(signals, self.edges_hz, sfreq))
        return np.asarray(self._basis.T @ found @ self._basis)

    def at_channels(self, contrasts: FloatArray) -> FloatArray:
        """Covariances of LD channels relative to their mean, from those of contrasts."""
        return np.asarray(self._basis @ contrasts @ self._basis.T)

    def power_db(self, now: FloatArray) -> FloatArray:
        """By how much LD power is above the session's in each band, shape (n_bands,), in dB.

        Parameters
        ----------
        now : ndarray, shape (n_bands, n_ld - 1, n_ld - 1)
            Mean of :meth:`contrasts`.
        """
        then = ld_model(self.mixing, self.powers)
        power = np.trace(now, axis1=1, axis2=2) / np.trace(then, axis1=1, axis2=2)
        return np.asarray(10.0 * np.log10(power))

    def differs(self, power_db: FloatArray) -> bool:
        """Whether a :meth:`power_db` is another state than the session's."""
        return bool(np.sqrt((power_db**2).mean()) >= LEAST_DB)

    def by_band(self, power_db: FloatArray) -> tuple[tuple[float, float, float], ...]:
        """Each band from and to in Hz, and its :meth:`power_db`."""
        return tuple(
            (float(a), float(b), float(db))
            for (a, b), db in zip(pairwise(self.edges_hz), power_db, strict=True)
        )

    def readout_change(self, now: FloatArray) -> FloatArray:
        """What the drive's readout must gain, shape (n_points, n_gaussians, n_ld).

        Parameters
        ----------
        now : ndarray, shape (n_bands, n_ld - 1, n_ld - 1)
            Mean of :meth:`contrasts`.
        """
        if self._then is None:
            self._then = self._operator(self._sources)
        powers = follow_powers(self.mixing, self.powers, now, PULL)
        return self._at_gaussians(
            self._operator(replace(self._sources, powers=powers)) - self._then
        )

    def _operator(self, sources: Sources) -> FloatArray:
        """The best operator on LD filtered by the profiles' span, as (n_lags, n_ld, n_hd)."""
        model, ld = self._bundle.model, self._ld
        left, values, _ = np.linalg.svd(self._profiles, full_matrices=False)
        taps = left[:, values > _SMALLEST * values[0]]
        size = taps.shape[1] * len(ld)
        inner, outer = np.zeros((size, size)), np.zeros((size, len(sources.mixing)))
        bands = through_taps(taps, self.edges_hz, model.sfreq)
        for (angle, response, between), power in zip(bands, sources.powers, strict=True):
            to_now = (response.conj() * np.exp(-1j * angle * model.look_ahead)).real.mean(axis=0)
            covariance = (sources.mixing * power) @ sources.mixing.T
            inner += np.kron(between, covariance[np.ix_(ld, ld)])
            outer += np.kron(to_now[:, None], covariance[ld])
        inner += _NOISE * np.trace(inner) / size * np.eye(size)
        weights = np.linalg.solve(inner, outer).reshape(taps.shape[1], len(ld), -1)
        return np.asarray(np.tensordot(taps, weights, axes=1))

    def _at_gaussians(self, change: FloatArray) -> FloatArray:
        """A change of the operator, by what the Gaussians must do at known rendered electrodes."""
        model, manifest = self._bundle.model, self._bundle.manifest
        assert self._bundle.hd_bands is not None
        known = np.flatnonzero(np.diag(self._bundle.hd_bands.covariances.sum(axis=(0, 1))) > 0)
        change = change[:, :, known].copy()
        change[:, :, np.isin(known, self._ld)] = 0.0
        by_profile = np.tensordot(np.linalg.pinv(self._profiles, rcond=_SMALLEST), change, axes=1)
        kernel = model.field.spatial_kernel(manifest.hd_montage.positions_mm[known])
        readout = np.zeros_like(model.drive.readout)
        for g in range(kernel.shape[2]):
            solver = np.linalg.pinv(kernel[:, :, g], rcond=_SMALLEST)
            readout[:, g] = solver @ (by_profile[g].T * model.scale_uv)
        return readout


def through_taps(
    taps: FloatArray, edges_hz: FloatArray, sfreq: float
) -> Iterator[tuple[FloatArray, NDArray[np.complex128], FloatArray]]:
    """What white signals of each band are behind taps.

    Parameters
    ----------
    taps : ndarray, shape (n_lags, n_taps)
        Filters, the present first.
    edges_hz : ndarray, shape (n_bands + 1,)
        Where one band ends and the next begins.
    sfreq : float
        Rate in Hz.

    Yields
    ------
    angle : ndarray, shape (n_hz, 1)
        What a sample turns each frequency of the band by.
    response : ndarray, shape (n_hz, n_taps), complex128
        The taps' own.
    between : ndarray, shape (n_taps, n_taps)
        Covariance of the taps' outputs, for a signal of variance 1.
    """
    lags = np.arange(len(taps))
    for a, b in pairwise(edges_hz):
        hz = np.arange(a, b, _FREQUENCY_STEP_HZ)
        angle = 2.0 * np.pi * hz[:, None] / sfreq
        response = np.exp(-1j * angle * lags) @ taps
        yield angle, response, (response.conj().T @ response).real / len(hz)


def fit_of(bundle: Bundle, signals: Sequence[FloatArray], sfreq: float) -> Misfit | None:
    """How well LD fits a bundle: another person's would be followed as well, to no good.

    Parameters
    ----------
    bundle : Bundle
        Whose LD it should be.
    signals : sequence of ndarray, shape (n_times, n_ld)
        Filtered LD channels in µV.
    sfreq : float
        Their rate in Hz.

    Returns
    -------
    Misfit or None
        None where nothing can be told.
    """
    old, n = bundle.ld_bands, len(bundle.manifest.ld)
    if old is None or n < MIN_CHANNELS:
        return None
    now = mean_bands(signals, old.edges_hz, sfreq)
    return None if now is None else misfit(old, now.covariances, now.n_blocks, np.arange(n))


def _profiles(bundle: Bundle) -> FloatArray:
    """Temporal profiles of the field's Gaussians, shape (n_lags, n_gaussians)."""
    shared = bundle.model.field.shared_profiles()
    assert shared is not None
    mu_s, rate = shared
    return np.asarray(np.exp(-0.5 * ((bundle.model.tau_s[:, None] - mu_s) * rate) ** 2))


def _ld_rows(bundle: Bundle) -> list[int]:
    rows = {canonical(e.label): i for i, e in enumerate(bundle.manifest.hd)}
    return [rows[canonical(e.label)] for e in bundle.manifest.ld]
