"""Where is it? A planted dipole, looked for by the field's power map and by sLORETA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from calibration.regression.profiles import apply_taps
from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError, SettingsError
from emag_rt.synthetic.generators import FilteredNoise, resonators
from emag_rt.synthetic.head import SyntheticHead
from tools.studies.simulation.forward import forward_solution, gains
from tools.studies.simulation.subject import SimulatedSubject

SOURCE_HZ = 20.0
BAND_HZ = (17.0, 23.0)
BLOCK_S = 5.0
_SNR = 3.0
"""What MNE's inverse assumes by custom."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A dipole that is on in every other block.

    Attributes
    ----------
    place_mm, moment : ndarray, shape (3,), float64
        Where it is, and its direction.
    data_uv : ndarray, shape (n_times, n_channels), float64
        The recording that it was added to.
    on : ndarray, shape (n_times,), bool
        When it is on.
    """

    place_mm: FloatArray
    moment: FloatArray
    data_uv: FloatArray
    on: BoolArray


def in_band(data: FloatArray, sfreq: float) -> FloatArray:
    """Zero-phase band-pass to the planted source's band, along the first axis."""
    sos = butter(4, BAND_HZ, "bandpass", fs=sfreq, output="sos")
    return np.asarray(sosfiltfilt(sos, data, axis=0))


def plant(
    subject: SimulatedSubject,
    background_uv: FloatArray,
    place_mm: FloatArray,
    moment: FloatArray,
    snr: float,
    seed: int,
) -> Planted:
    """Add a dipole to a recording.

    Parameters
    ----------
    subject : SimulatedSubject
        Whose head.
    background_uv : ndarray, shape (n_times, n_channels), float64
        The recording.
    place_mm, moment : ndarray, shape (3,)
        Of the dipole; the moment's length does not matter.
    snr : float
        Rms of the dipole at its strongest electrode over the median rms of the background in
        ``BAND_HZ``, both relative to the mean of all electrodes.
    seed : int
        Of the dipole's activity, noise of 1 Hz width about ``SOURCE_HZ``.

    Returns
    -------
    Planted
        Off in the first block, on in the second, and so forth.

    Raises
    ------
    SettingsError
        If the SNR is not positive, or the dipole is not in the brain.
    """
    if not snr > 0:
        raise SettingsError(f"snr must be positive, got {snr:g}.")
    n = len(background_uv)
    topography = gains(subject.head, place_mm)[:, 0] @ moment
    seen = np.abs(topography - topography.mean()).max()
    filtered = in_band(background_uv, subject.sfreq)
    level = float(np.median((filtered - filtered.mean(axis=1, keepdims=True)).std(axis=0)))
    poles = resonators(np.array([SOURCE_HZ]), np.ones(1), subject.sfreq)
    rng = np.random.default_rng([seed, 18])
    activity = FilteredNoise(*poles, rng, subject.sfreq).generate(n)[:, 0]
    on = (np.arange(n) // round(BLOCK_S * subject.sfreq)) % 2 == 1
    signal = np.where(on, activity / activity[on].std(), 0.0) * snr * level
    data = background_uv + signal[:, None] * (topography / seen)
    return Planted(np.asarray(place_mm), np.asarray(moment), data, on)


def field_power(model: FieldModel, x: FloatArray, on: BoolArray) -> FloatArray:
    """Map of how much more power the amplitudes have while the source is on.

    Parameters
    ----------
    model : FieldModel
        A ``stream`` field with profiles shared by all points and a linear drive: its amplitudes
        a_n + Delta_n, summed over the Gaussians of a point with their temporal profiles.
    x : ndarray, shape (n_times, n_ld), float64
        Features, filtered to the band.
    on : ndarray, shape (n_times,), bool
        When the source is on.

    Returns
    -------
    ndarray, shape (n_points,), float64
        In µV²: from the covariance of the drive's inputs, propagated. Base amplitudes are
        constant and have no power in a band.

    Raises
    ------
    CalibrationError
        If the field is not of that kind.
    """
    shared = model.field.shared_profiles()
    if shared is None or model.drive.hidden is not None or len(model.drive.taps) != 1:
        raise CalibrationError(
            "model must be a closed-form stream field: shared profiles and a linear drive. "
            "Calibrate with refine=False."
        )
    mu_s, rate = shared
    kernel = np.exp(-0.5 * ((model.tau_s - mu_s[:, None]) * rate[:, None]) ** 2)
    z = apply_taps(x, kernel, model.look_ahead).reshape(len(x), -1)
    return gain(model.drive.readout.reshape(model.field.n_points, -1), z, on)


def gain(readout: FloatArray, z: FloatArray, on: BoolArray) -> FloatArray:
    """Power of ``z @ readout.T`` while on less that while off, shape (n_points,)."""
    powers = [_power(readout, z[rows]) for rows in (on, ~on)]
    return powers[0] - powers[1]


def ratio(readout: FloatArray, z: FloatArray, on: BoolArray) -> FloatArray:
    """Power of ``z @ readout.T`` while on over that while off, shape (n_points,)."""
    powers = [_power(readout, z[rows]) for rows in (on, ~on)]
    # Points that nothing drives have no power at all.
    return powers[0] / np.maximum(powers[1], 1e-6 * powers[1].max())


def _power(readout: FloatArray, z: FloatArray) -> FloatArray:
    covariance = z.T @ z / len(z)
    return np.asarray(np.einsum("nf,nf->n", readout @ covariance, readout))


class SLoreta:
    """sLORETA (Pascual-Marqui 2002) as MNE has it, on a grid of free dipoles.

    Parameters
    ----------
    head : SyntheticHead
        Geometry: the inverse knows the true head.
    rows : sequence of int
        Electrodes it gets.
    noise_uv : ndarray, shape (n_times, n_channels), float64
        Signal in the band without the source, all electrodes: gives the noise covariance.
    places_mm : ndarray, shape (n_places, 3), float64
        Grid.
    """

    def __init__(
        self, head: SyntheticHead, rows: Sequence[int], noise_uv: FloatArray, places_mm: FloatArray
    ) -> None:
        import mne

        self.places_mm = places_mm
        self._rows = list(rows)
        names = [head.labels[i] for i in self._rows]
        raw = mne.io.RawArray(
            np.zeros((len(names), 2)), mne.pick_info(head.info, self._rows), verbose="ERROR"
        )
        raw.set_eeg_reference(projection=True, verbose="ERROR")
        self._info = raw.info
        forward = mne.pick_channels_forward(
            forward_solution(head, places_mm), names, ordered=True, verbose="ERROR"
        )
        noise = mne.cov.regularize(self._covariance(noise_uv), raw.info, eeg=0.1, verbose="ERROR")
        self._inverse = mne.minimum_norm.make_inverse_operator(
            raw.info, forward, noise, loose=1.0, depth=None, fixed=False, verbose="ERROR"
        )

    def _covariance(self, data_uv: FloatArray) -> Any:
        import mne

        volts = data_uv[:, self._rows] * 1e-6
        return mne.Covariance(
            volts.T @ volts / len(volts),
            self._info["ch_names"],
            bads=[],
            projs=self._info["projs"],
            nfree=len(volts),
            verbose="ERROR",
        )

    def power(self, data_uv: FloatArray, on: BoolArray) -> FloatArray:
        """Standardised power while on less that while off, shape (n_places,)."""
        import mne

        maps = [
            mne.minimum_norm.apply_inverse_cov(
                self._covariance(data_uv[rows]),
                self._info,
                self._inverse,
                lambda2=1.0 / _SNR**2,
                method="sLORETA",
                verbose="ERROR",
            ).data[:, 0]
            for rows in (on, ~on)
        ]
        return np.asarray(maps[0] - maps[1])


@dataclass(frozen=True)
class Miss:
    """How far a map's peak is from the source, in mm.

    Attributes
    ----------
    distance : float
        From peak to source.
    lateral : float
        Length of the arc between them on the source's sphere: depth does not count.
    depth : float
        How much deeper the source is than the peak.
    """

    distance: float
    lateral: float
    depth: float


def miss(power: FloatArray, places_mm: FloatArray, truth_mm: FloatArray) -> Miss:
    """Compare the peak of a map with the truth.

    Parameters
    ----------
    power : ndarray, shape (n_places,)
        The map.
    places_mm : ndarray, shape (n_places, 3)
        Where its values are.
    truth_mm : ndarray, shape (3,)
        The source, about the same centre.

    Returns
    -------
    Miss
        In mm.
    """
    peak = places_mm[int(np.argmax(power))]
    radii = float(np.linalg.norm(peak)), float(np.linalg.norm(truth_mm))
    cosine = float(peak @ truth_mm) / max(radii[0] * radii[1], 1e-12)
    return Miss(
        distance=float(np.linalg.norm(peak - truth_mm)),
        lateral=float(np.arccos(np.clip(cosine, -1.0, 1.0))) * radii[1],
        depth=radii[0] - radii[1],
    )
