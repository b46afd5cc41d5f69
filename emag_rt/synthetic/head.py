"""A head with known sources: EEG for ever, from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mne
import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.errors import SettingsError
from emag_rt.recordings.positions import fill_from_template, template
from emag_rt.synthetic.generators import Blinks, FilteredNoise, PinkNoise, Rhythm, lowpass_poles

_BUILTIN = {
    16: "biosemi16",
    32: "biosemi32",
    64: "biosemi64",
    128: "biosemi128",
    160: "biosemi160",
    256: "biosemi256",
}
# Cortex lies at about 0.85 of the radius of the scalp; MNE's brain layer ends at 0.9.
_DEPTHS = (0.66, 0.84)
_BRAIN_UV = 15.0  # median rms of a channel
_BLINK_UV = 100.0
_DRIFT_UV = 6.0
_SENSOR_UV = 1.0
_BLOCK_S = 0.25


class SyntheticHead:
    """A spherical head with cortical sources, rhythms, blinks, drift and sensor noise.

    Sources in a shell have radial or tangential moments and 1/f activity that is correlated
    over two centimetres; occipital alpha, central mu and frontal beta wax and wane; eye
    blinks, slow electrode drift and sensor noise are added.

    Parameters
    ----------
    channels : int or sequence of str
        Number of channels (16, 32 or 64 by 10-20 names; 128, 160 or 256 by BioSemi's), or
        labels of the 10-05 system.
    sfreq : float
        Rate in Hz, 40 or more.
    seed : int
        The same seed gives the same head and the same signal.
    n_sources : int
        Number of cortical sources.

    Attributes
    ----------
    montage : Montage
        Electrodes, origin at the centre of the sphere.
    origin_mm : ndarray, shape (3,)
        Centre of the sphere in MNE's head frame.
    info : mne.Info
        Channels for MNE.
    source_positions_mm, source_moments : ndarray, shape (n_sources, 3)
        Sources about the centre of the sphere, in mm, and the unit vectors of their moments.
    lead_field : ndarray, shape (n_channels, n_sources)
        Microvolts at each electrode for one nA m of each source (reference at infinity).

    Raises
    ------
    SettingsError
        If a setting is out of range.
    MontageError
        If labels are unknown or doubled.
    """

    def __init__(
        self,
        channels: int | Sequence[str] = 64,
        sfreq: float = 250.0,
        seed: int = 0,
        n_sources: int = 300,
    ) -> None:
        if not 40.0 <= sfreq <= 100_000.0:
            raise SettingsError(f"sfreq must be from 40 to 100000 Hz, got {sfreq:g}.")
        if seed < 0:
            raise SettingsError(f"seed must not be negative, got {seed}.")
        if n_sources < 10:
            raise SettingsError(f"n_sources must be at least 10, got {n_sources}.")
        self.sfreq = float(sfreq)
        self.seed = int(seed)
        labels, head_mm = _electrodes(channels)
        self.origin_mm, radius = fit_sphere(head_mm)
        self.montage = Montage(labels, head_mm - self.origin_mm)
        self.info = _info(labels, head_mm, self.sfreq)
        place_rng = np.random.default_rng([self.seed, 1])
        self.source_positions_mm, self.source_moments = _cortex(n_sources, radius, place_rng)
        eyes, gaze = _eyes(radius)
        gains = _lead_field(
            self.info,
            self.origin_mm,
            radius,
            np.vstack([self.source_positions_mm, eyes]),
            np.vstack([self.source_moments, gaze]),
        )
        self.lead_field = gains[:, :-2]
        blink = gains[:, -2:].sum(axis=1)
        self._blink_uv = _BLINK_UV * blink / np.abs(blink).max()
        self.reset()

    @property
    def labels(self) -> tuple[str, ...]:
        """Channel labels."""
        return self.montage.labels

    def reset(self) -> None:
        """Go back to the first sample."""
        brain, alpha, mu, beta, blinks, drift, sensor = np.random.default_rng([self.seed, 2]).spawn(
            7
        )
        n_channels = len(self.montage)
        weights = _mixing(self.source_positions_mm, np.random.default_rng([self.seed, 3]))
        self._rhythms = (
            Rhythm((8.5, 11.5), weights["alpha"].shape[1], alpha, self.sfreq),
            Rhythm((9.5, 12.5), weights["mu"].shape[1], mu, self.sfreq),
            Rhythm((16.0, min(24.0, 0.4 * self.sfreq)), weights["beta"].shape[1], beta, self.sfreq),
        )
        # The background's processes are alike and independent, so one for each channel, mixed by
        # a factor of the same covariance, is the same in distribution and far cheaper.
        spread = self.lead_field @ weights["background"]
        covariance = spread @ spread.T
        jitter = 1e-9 * np.trace(covariance) / n_channels * np.eye(n_channels)
        self._background = PinkNoise(n_channels, brain, self.sfreq)
        rhythmic = self.lead_field @ np.hstack([weights[k] for k in ("alpha", "mu", "beta")])
        topographies = np.hstack([np.linalg.cholesky(covariance + jitter), rhythmic])
        # All processes have unit variance, so this is the rms of each channel.
        rms = np.sqrt((topographies**2).sum(axis=1))
        self._topographies = topographies * (_BRAIN_UV / np.median(rms))
        self._blinks = Blinks(blinks, self.sfreq)
        slow = lowpass_poles(np.full(n_channels, 0.05), self.sfreq)
        self._drift = FilteredNoise(*slow, drift, self.sfreq)
        self._sensor = sensor
        self._waiting = np.zeros((0, n_channels))

    def generate(self, n: int) -> FloatArray:
        """Next samples; the block size makes no difference to any number.

        Parameters
        ----------
        n : int
            Number of samples.

        Returns
        -------
        ndarray, shape (n, n_channels), float64
            EEG in microvolts.
        """
        blocks = [self._waiting]
        n_ready = len(self._waiting)
        while n_ready < n:
            blocks.append(self._block())
            n_ready += len(blocks[-1])
        ready = np.concatenate(blocks)
        self._waiting = ready[n:]
        return ready[:n]

    def _block(self) -> FloatArray:
        """A block of fixed length: matrix products round differently for other lengths."""
        n = max(8, round(_BLOCK_S * self.sfreq))
        activity = np.hstack(
            [self._background.generate(n), *(rhythm.generate(n) for rhythm in self._rhythms)]
        )
        signal = activity @ self._topographies.T
        signal += self._blinks.generate(n)[:, None] * self._blink_uv
        signal += _DRIFT_UV * self._drift.generate(n)
        signal += _SENSOR_UV * self._sensor.standard_normal(signal.shape)
        return np.asarray(signal)


def _electrodes(channels: int | Sequence[str]) -> tuple[tuple[str, ...], FloatArray]:
    """Labels, and positions in MNE's head frame in mm."""
    if isinstance(channels, int):
        if channels not in _BUILTIN:
            raise SettingsError(
                f"channels must be one of {', '.join(map(str, _BUILTIN))}, or labels of the "
                f"10-05 system, got {channels}."
            )
        name = _BUILTIN[channels]
        places = template(name)
        labels = tuple(places)
        if channels > 64:
            return labels, np.array([places[label] for label in labels])
    else:
        labels = tuple(channels)
    unknown = np.full((len(labels), 3), np.nan)
    positions, _ = fill_from_template(labels, unknown)
    missing = [labels[i] for i in np.flatnonzero(~np.isfinite(positions).all(axis=1))]
    if missing or len(labels) < 4:
        raise SettingsError(
            "channels must name at least 4 electrodes of the 10-05 system, got "
            f"{', '.join(labels)}{' with unknown ' + ', '.join(missing) if missing else ''}."
        )
    return labels, positions


def _info(labels: Sequence[str], head_mm: FloatArray, sfreq: float) -> Any:
    info = mne.create_info(list(labels), sfreq, "eeg", verbose="ERROR")
    places = dict(zip(labels, head_mm / 1000.0, strict=True))
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), verbose="ERROR")
    return info


def _cortex(
    n_sources: int, radius_mm: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Sources in a shell, spread evenly above the base, two thirds of them radial."""
    golden = np.pi * (3.0 - np.sqrt(5.0))
    k = np.arange(n_sources)
    height = 1.0 - 1.45 * (k + 0.5) / n_sources
    ring = np.sqrt(1.0 - height**2)
    outward = np.column_stack([ring * np.cos(golden * k), ring * np.sin(golden * k), height])
    depth = radius_mm * rng.uniform(*_DEPTHS, n_sources)
    tangent = np.cross(outward, rng.standard_normal((n_sources, 3)))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    radial = rng.random(n_sources) < 2.0 / 3.0
    moments = np.where(radial[:, None], outward, tangent) + 0.3 * rng.standard_normal(
        (n_sources, 3)
    )
    return depth[:, None] * outward, moments / np.linalg.norm(moments, axis=1, keepdims=True)


def _eyes(radius_mm: float) -> tuple[FloatArray, FloatArray]:
    """Dipoles as near to the eyes as the brain layer allows, pointing forward and up."""
    toward = np.array([[-0.35, 0.88, -0.2], [0.35, 0.88, -0.2]])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    gaze = toward + np.array([0.0, 0.0, 0.4])
    return 0.86 * radius_mm * toward, gaze / np.linalg.norm(gaze, axis=1, keepdims=True)


def _lead_field(
    info: mne.Info,
    origin_mm: FloatArray,
    radius_mm: float,
    places_mm: FloatArray,
    moments: FloatArray,
) -> FloatArray:
    """Microvolts for one nA m, by MNE's four-layer sphere; nothing is downloaded."""
    sphere = mne.make_sphere_model(
        r0=origin_mm / 1000.0, head_radius=radius_mm / 1000.0, verbose="ERROR"
    )
    points = {"rr": (places_mm + origin_mm) / 1000.0, "nn": moments}
    sources = mne.setup_volume_source_space(pos=points, sphere_units="m", verbose="ERROR")
    forward = mne.make_forward_solution(
        info, trans=None, src=sources, bem=sphere, meg=False, eeg=True, mindist=0.0, verbose="ERROR"
    )
    if forward["nsource"] != len(places_mm):
        raise SettingsError("synthetic head: every source must lie in the brain; MNE left some out")
    fixed = mne.convert_forward_solution(
        forward, force_fixed=True, use_cps=False, surf_ori=True, verbose="ERROR"
    )
    # Volts per A m: 1 nA m gives 1e-9 of it, 1e6 microvolts make a volt.
    return np.asarray(fixed["sol"]["data"], dtype=np.float64) * 1e-3


def _mixing(places_mm: FloatArray, rng: np.random.Generator) -> dict[str, FloatArray]:
    """How processes drive sources: shape (n_sources, n_processes) for each kind."""
    distance_sq = ((places_mm[:, None, :] - places_mm[None, :, :]) ** 2).sum(axis=2)
    background = np.exp(-distance_sq / (2.0 * 12.0**2))
    unit = places_mm / np.linalg.norm(places_mm, axis=1, keepdims=True)

    def patches(regions: Sequence[tuple[float, float, float]], n: int, gain: float) -> FloatArray:
        """Bumps of two centimetres around points near the middles of regions."""
        columns = []
        for i in range(n):
            middle = np.asarray(regions[i % len(regions)]) + 0.25 * rng.standard_normal(3)
            middle /= np.linalg.norm(middle)
            columns.append(np.exp(-((unit - middle) ** 2).sum(axis=1) / (2.0 * 0.22**2)))
        return np.asarray(gain * np.column_stack(columns) / np.sqrt(n))

    scale = np.sqrt((background**2).sum(axis=1)).mean()
    return {
        "background": background / scale,
        "alpha": patches([(0.35, -0.9, 0.3), (-0.35, -0.9, 0.3), (0.0, -0.6, 0.8)], 12, 3.0),
        "mu": patches([(0.7, -0.1, 0.7), (-0.7, -0.1, 0.7)], 6, 1.2),
        "beta": patches([(0.4, 0.6, 0.7), (-0.4, 0.6, 0.7), (0.0, 0.1, 1.0)], 9, 0.8),
    }
