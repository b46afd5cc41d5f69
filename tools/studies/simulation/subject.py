"""A simulated subject: sphere model, correlated sources, known second-order statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.errors import SettingsError
from emag_rt.recordings.read import Recording
from emag_rt.synthetic.generators import lowpass_poles, resonators
from emag_rt.synthetic.head import SyntheticHead
from tools.studies.simulation.forward import gains
from tools.studies.simulation.processes import Component, Kind, bump_filter

BAND_HZ = (0.5, 45.0)
# Slow activity is coherent over more of the cortex than fast activity is.
_BACKGROUND = ((0.3, 24.0), (1.0, 20.0), (3.0, 16.0), (9.0, 12.0), (27.0, 9.0))
"""Corner in Hz and correlation length in mm of the parts of the 1/f background."""
_RHYTHMS = (
    ("alpha", (8.5, 11.5), 8, 8.0, ((0.35, -0.9, 0.3), (-0.35, -0.9, 0.3), (0.0, -0.6, 0.8))),
    ("mu", (9.5, 12.5), 4, 3.0, ((0.7, -0.1, 0.7), (-0.7, -0.1, 0.7))),
    ("beta", (16.0, 24.0), 6, 2.0, ((0.4, 0.6, 0.7), (-0.4, 0.6, 0.7), (0.0, 0.1, 1.0))),
)
"""Name, range in Hz, number of processes, rms at the strongest channel in µV, directions."""
_PATCH_MM = 16.0
_BACKGROUND_UV = 8.0
_WAVES = ((3.0, 20), (9.0, 20))
"""Corner in Hz, and number, of the activities that start somewhere and spread."""
_WAVES_UV = 6.0
_WAVE_MM = 20.0
_SPEED_MM_S = 500.0
_BLINK_UV = 100.0
_DRIFT_UV = 6.0
_EYES = ((-0.35, 0.88, -0.2), (0.35, 0.88, -0.2))


@dataclass(frozen=True, eq=False)
class SimulatedSubject:
    """What is at the electrodes, as independent components of known covariance.

    Attributes
    ----------
    head : SyntheticHead
        Geometry: electrodes, sources, lead field.
    sfreq : float
        Rate in Hz.
    components : tuple of Component
        All there is; those not ``wanted`` are noise.
    """

    head: SyntheticHead
    sfreq: float
    components: tuple[Component, ...]

    @property
    def montage(self) -> Montage:
        """Electrodes."""
        return self.head.montage

    def draw(self, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Draw a recording.

        Parameters
        ----------
        n : int
            Number of samples.
        seed : int
            The same seed gives the same numbers.

        Returns
        -------
        signal, truth : ndarray, shape (n, n_channels), float64
            What is measured, and the part that is wanted, in µV.
        """
        streams = np.random.default_rng([seed, 17]).spawn(len(self.components))
        truth = np.zeros((n, len(self.montage)))
        noise = np.zeros_like(truth)
        for component, rng in zip(self.components, streams, strict=True):
            into = truth if component.wanted else noise
            into += component.sample(n, self.sfreq, rng)
        return truth + noise, truth

    def covariances(self, n_lags: int, sos: FloatArray, wanted_only: bool = False) -> FloatArray:
        """Exact lagged covariances behind the front end.

        Parameters
        ----------
        n_lags : int
            Lags 0 to n_lags - 1.
        sos : ndarray, shape (n_sections, 6)
            Front end.
        wanted_only : bool
            Without the noise of the electrodes.

        Returns
        -------
        ndarray, shape (n_lags, n_channels, n_channels), float64
            In µV².
        """
        n_channels = len(self.montage)
        total = np.zeros((n_lags, n_channels, n_channels))
        for component in self.components:
            if component.wanted or not wanted_only:
                total += component.covariances(n_lags, self.sfreq, sos)
        return total

    def recording(self, data_uv: FloatArray, rows: Sequence[int] | None = None) -> Recording:
        """Wrap samples as the recording that calibration reads.

        Parameters
        ----------
        data_uv : ndarray, shape (n_times, n_channels), float64
            All channels, in µV.
        rows : sequence of int, optional
            Channels to keep; by default all.

        Returns
        -------
        Recording
            One continuous stretch.
        """
        import mne

        rows = list(range(len(self.montage))) if rows is None else list(rows)
        kept = self.montage.select(rows)
        data = np.ascontiguousarray(data_uv[:, rows])
        return Recording(
            labels=kept.labels,
            data_uv=data,
            sfreq=self.sfreq,
            segments=((0, len(data)),),
            positions_mm=kept.positions_mm,
            origin_mm=self.head.origin_mm,
            radius_mm=self.radius_mm,
            unplaced=(),
            bads=(),
            path=Path("simulated_raw.fif"),
            sha256=hashlib.sha256(data.tobytes()).hexdigest(),
            meas_date=None,
            events=(),
            info=mne.pick_info(self.head.info, rows),
            warnings=(),
        )

    @property
    def radius_mm(self) -> float:
        """Mean distance of the electrodes from the centre of the sphere."""
        return float(np.linalg.norm(self.montage.positions_mm, axis=1).mean())


def make_subject(
    seed: int,
    *,
    channels: int | Sequence[str] = 64,
    sfreq: float = 128.0,
    gaussian: bool = False,
    sensor_uv: float = 1.5,
    n_sources: int = 300,
) -> SimulatedSubject:
    """Simulate a subject.

    Parameters
    ----------
    seed : int
        Of the sources and of which rhythm is where.
    channels : int or sequence of str
        As for :class:`emag_rt.synthetic.head.SyntheticHead`.
    sfreq : float
        Rate in Hz, above 100.
    gaussian : bool
        Rhythms without bursts and no blinks: then the whole is Gaussian, and no estimator at all
        beats the best linear one.
    sensor_uv : float
        Rms of the white noise of each channel, in µV.
    n_sources : int
        Cortical sources.

    Returns
    -------
    SimulatedSubject
        1/f background, activity that spreads at 0.5 m/s, alpha, mu and beta (which spread as
        well), blinks, slow drift, sensor noise.

    Raises
    ------
    SettingsError
        If the rate or the noise is out of range.
    """
    if not sfreq > 2.2 * BAND_HZ[1]:
        raise SettingsError(
            f"sfreq must be above {2.2 * BAND_HZ[1]:g} Hz to hold the band, got {sfreq:g}."
        )
    if not sensor_uv > 0:
        raise SettingsError(f"sensor_uv must be positive, got {sensor_uv:g}.")
    head = SyntheticHead(channels, sfreq, seed, n_sources)
    rng = np.random.default_rng([seed, 16])
    kind: Kind = "gaussian" if gaussian else "bursts"
    components = [*_background(head, sfreq), *_rhythms(head, sfreq, rng, kind)]
    components += _waves(head, sfreq, rng)
    n_channels = len(head.montage)
    if not gaussian:
        components.append(_blinks(head, sfreq))
    drift = lowpass_poles(np.full(n_channels, 0.05), sfreq)
    components.append(
        Component("drift", *drift, _DRIFT_UV * np.eye(n_channels)[None], wanted=False)
    )
    white = np.tile([1.0, 0.0], (n_channels, 1))
    components.append(
        Component("sensor", white, white, sensor_uv * np.eye(n_channels)[None], wanted=False)
    )
    return SimulatedSubject(head, float(sfreq), tuple(components))


def _background(head: SyntheticHead, sfreq: float) -> list[Component]:
    places = head.source_positions_mm
    distance_sq = ((places[:, None] - places) ** 2).sum(axis=2)
    factors, weights = [], []
    for corner, length in _BACKGROUND:
        spread = np.exp(-distance_sq / (2.0 * (length / np.sqrt(2.0)) ** 2))
        spread /= np.sqrt((spread**2).sum(axis=1, keepdims=True))
        mixed = head.lead_field @ spread
        covariance = mixed @ mixed.T
        jitter = 1e-9 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        factor = np.linalg.cholesky(covariance + jitter)
        factors.append(factor / np.median(np.sqrt((factor**2).sum(axis=1))))
        weights.append(corner**-0.35)
    scale = _BACKGROUND_UV / np.linalg.norm(weights)
    components = []
    for (corner, _), factor, weight in zip(_BACKGROUND, factors, weights, strict=True):
        poles = lowpass_poles(np.full(factor.shape[1], corner), sfreq)
        topography = scale * weight * factor[None]
        components.append(Component(f"background {corner:g} Hz", *poles, topography))
    return components


def _spreading(
    head: SyntheticHead, sfreq: float, middles: FloatArray, width_mm: float
) -> FloatArray:
    """Topographies (n_delays, n_channels, n_middles) of patches that are late at their edges."""
    places = head.source_positions_mm
    distance = np.linalg.norm(places[:, None] - middles, axis=2)
    strength = np.where(distance < 2.5 * width_mm, np.exp(-0.5 * (distance / width_mm) ** 2), 0.0)
    delay = np.rint(distance / _SPEED_MM_S * sfreq).astype(int)
    n_delays = 1 + int(delay[strength > 0].max())
    return np.stack([head.lead_field @ (strength * (delay == d)) for d in range(n_delays)])


def _waves(head: SyntheticHead, sfreq: float, rng: np.random.Generator) -> list[Component]:
    components = []
    for corner, n in _WAVES:
        middles = head.source_positions_mm[rng.choice(len(head.source_positions_mm), n, False)]
        topography = _spreading(head, sfreq, middles, _WAVE_MM)
        topography *= _WAVES_UV / np.sqrt(len(_WAVES)) / _median_rms(topography)
        poles = lowpass_poles(np.full(n, corner), sfreq)
        components.append(Component(f"waves {corner:g} Hz", *poles, topography))
    return components


def _median_rms(topography: FloatArray) -> float:
    return float(np.median(np.sqrt((topography**2).sum(axis=(0, 2)))))


def _rhythms(
    head: SyntheticHead, sfreq: float, rng: np.random.Generator, kind: Kind
) -> list[Component]:
    depth = float(np.linalg.norm(head.source_positions_mm, axis=1).mean())
    components = []
    for name, band, n, rms_uv, regions in _RHYTHMS:
        middles = np.array([regions[i % len(regions)] for i in range(n)])
        middles = middles + 0.25 * rng.standard_normal((n, 3))
        middles *= depth / np.linalg.norm(middles, axis=1, keepdims=True)
        topography = _spreading(head, sfreq, middles, _PATCH_MM)
        topography *= rms_uv / np.sqrt((topography**2).sum(axis=(0, 2))).max()
        poles = resonators(rng.uniform(*band, n), np.ones(n), sfreq)
        components.append(Component(name, *poles, topography, kind))
    return components


def _blinks(head: SyntheticHead, sfreq: float) -> Component:
    radius = float(np.linalg.norm(head.montage.positions_mm, axis=1).mean())
    toward = np.array(_EYES)
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    lead = gains(head, 0.86 * radius * toward)
    # Forward and up, both eyes together.
    topography = np.einsum("cek,ek->c", lead, toward + np.array([0.0, 0.0, 0.4]))
    topography *= _BLINK_UV / np.abs(topography).max()
    return Component("blinks", *bump_filter(sfreq), topography[None, :, None], "pulses")
