"""Errors of the methods: pooled, by channel and by band, on channels that are not worn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.report.evidence import SHOWN, Evidence
from calibration.scores.modes import ModeScores, mode_scores, other_modes
from emag_rt.array_types import FloatArray, Samples
from emag_rt.core.scores import BANDS_HZ, band_nmse, nmse, nmse_per_channel

SPECTRUM_S = 2.0


@dataclass(frozen=True, eq=False)
class Scores:
    """Errors on unseen channels.

    Attributes
    ----------
    methods : dict of str to float
        NMSE by method; cross-validated scores are those of the bundle, all of the field included.
    channels : dict of str to dict of str to float
        NMSE of each channel, by method.
    bands : dict of str to dict of str to float
        NMSE in each band within the pass band, by method.
    channel_bands : ndarray, shape (n_channels, n_bands), or None
        NMSE of the field, for each channel and band.
    modes : dict of str to ModeScores
        How each mode of ``--statistics`` behaves beside the truth.
    """

    methods: dict[str, float]
    channels: dict[str, dict[str, float]]
    bands: dict[str, dict[str, float]]
    channel_bands: FloatArray | None
    modes: dict[str, ModeScores]


def score(evidence: Evidence) -> Scores:
    """Score every method of the evidence.

    Parameters
    ----------
    evidence : Evidence
        Truth and estimates.

    Returns
    -------
    Scores
        On unseen channels.
    """
    unseen = list(evidence.unseen)
    truth = evidence.truth[:, unseen].astype(np.float64)
    labels = [evidence.labels[i] for i in unseen]
    names = [name for name in SHOWN if name in evidence.methods]
    estimates = {name: evidence.methods[name][:, unseen].astype(np.float64) for name in names}
    by_channel = {
        name: dict(zip(labels, nmse_per_channel(truth, z).tolist(), strict=True))
        for name, z in estimates.items()
    }
    methods = {name: nmse(truth, z) for name, z in estimates.items()}
    if not evidence.held_out:
        methods, by_channel = _of_bundle(evidence, methods, by_channel, labels)
    kept = _bands(evidence)
    bands = {name: band_nmse(truth, z, evidence.sfreq) for name, z in estimates.items()}
    return Scores(
        methods={name: methods[name] for name in SHOWN if name in methods},
        channels={name: by_channel[name] for name in SHOWN if name in by_channel},
        bands={
            name: {b: v for b, v in found.items() if b in kept} for name, found in bands.items()
        },
        channel_bands=_channel_bands(truth, estimates.get("field"), evidence.sfreq, kept),
        modes=_mode_scores(evidence, truth, unseen),
    )


def _mode_scores(evidence: Evidence, truth: FloatArray, unseen: list[int]) -> dict[str, ModeScores]:
    others = _modes(evidence)
    if not others:
        return {}
    modes = {"estimate": evidence.methods["field"].astype(np.float64), **others}
    return mode_scores(truth, {m: v[:, unseen] for m, v in modes.items()}, evidence.sfreq)


def _modes(evidence: Evidence) -> dict[str, FloatArray]:
    """Other modes of ``--statistics`` that the bundle offers."""
    field = evidence.methods.get("field")
    if field is None:
        return {}
    places = [e.label for e in evidence.bundle.manifest.hd]
    rows = [places.index(label) for label in evidence.labels]
    return other_modes(evidence.bundle.statistics, rows, field.astype(np.float64))


def _of_bundle(
    evidence: Evidence,
    methods: dict[str, float],
    by_channel: dict[str, dict[str, float]],
    labels: list[str],
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """What calibration wrote down counts: it holds the networks, and fields of windows."""
    manifest = evidence.bundle.manifest
    written = {name: unseen for name, (unseen, _) in manifest.method_scores.items()}
    for name, value in written.items():
        if name in SHOWN and value is not None:
            methods[name] = value
    expected = {e.label: e.expected_nmse for e in manifest.hd if e.expected_nmse is not None}
    found = {label: float(expected[label]) for label in labels if label in expected}
    if len(found) == len(labels):
        by_channel["field"] = found
    return methods, by_channel


def _bands(evidence: Evidence) -> list[str]:
    """Bands that the front end lets through, and that the rate holds."""
    low, high = evidence.bundle.manifest.frontend.band_hz
    top = min(high, evidence.sfreq / 2)
    return [name for name, (a, b) in BANDS_HZ.items() if b > low and a < top]


def _channel_bands(
    truth: FloatArray, field: FloatArray | None, sfreq: float, kept: list[str]
) -> FloatArray | None:
    if field is None:
        return None
    rows = []
    for column in range(truth.shape[1]):
        found = band_nmse(truth[:, [column]], field[:, [column]], sfreq)
        rows.append([found.get(name, np.nan) for name in kept])
    return np.array(rows)


def spectra(evidence: Evidence) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Mean power spectra over unseen channels.

    Parameters
    ----------
    evidence : Evidence
        Truth and estimates.

    Returns
    -------
    freqs : ndarray, shape (n_freqs,)
        In Hz.
    power : dict of str to ndarray, shape (n_freqs,)
        ``truth``, each method and each other mode of ``--statistics``, in µV²/Hz.
    """
    from scipy.signal import welch

    unseen = list(evidence.unseen)
    size = min(len(evidence.truth), round(SPECTRUM_S * evidence.sfreq))
    power, freqs = {}, np.empty(0)
    shown: dict[str, Samples] = {"truth": evidence.truth, **evidence.methods, **_modes(evidence)}
    for name, values in shown.items():
        freqs, density = welch(
            values[:, unseen].astype(float), evidence.sfreq, nperseg=size, axis=0
        )
        power[name] = density.mean(axis=1)
    return freqs, power
