"""What LD recordings tell of the wearer: how large the signals are, and how noisy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.population.estimate import NOISE
from calibration.session.channel_quality import suspicious_channels
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import contrasts, reference_free
from emag_rt.core.labels import match_labels
from emag_rt.core.ld_bands import LdBands, band_edges, mean_bands
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import read_recording

MIN_SECONDS = 8.0
# Above, what does not fit the population is taken for noise that is none.
_NOISES = np.geomspace(0.01, 0.2, 14)


@dataclass(frozen=True, eq=False)
class Wearer:
    """What is known of the person who wears the LD electrodes.

    Attributes
    ----------
    amplitude_uv : float
        What the population's one is, in µV.
    noise : float
        Of an LD electrode, over the mean power of the LD channels.
    seconds : float
        Of signal; 0 where nothing was recorded.
    bands : LdBands or None
        How the LD channels go together, where all are good.
    inputs : tuple of (Path, str)
        Files and their SHA-256.
    notes : tuple of str
        What the user should know.
    """

    amplitude_uv: float
    noise: float = NOISE
    seconds: float = 0.0
    inputs: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    bands: LdBands | None = None


@dataclass(frozen=True, eq=False)
class LdSignals:
    """LD recordings of a wearer.

    Attributes
    ----------
    signals : tuple of ndarray, shape (n_times, n_ld)
        Filtered, in µV.
    seconds : float
        Of them all.
    inputs : tuple of (Path, str)
        Files and their SHA-256.
    odd : mapping of int to str
        Channels that are flat or wild, and which of these.
    """

    signals: tuple[FloatArray, ...]
    seconds: float
    inputs: tuple[tuple[Path, str], ...]
    odd: Mapping[int, str]


def read_wearer(
    paths: Sequence[str | Path],
    ld: Sequence[str],
    sfreq: float,
    band_hz: tuple[float, float],
    sos: FloatArray,
    mean: FloatArray,
) -> Wearer:
    """Find scale and noise from LD recordings, by their likelihood under the population's mean.

    Parameters
    ----------
    paths : sequence of path-like
        Recordings that hold the LD channels; others in them are not looked at.
    ld : sequence of str
        Labels of the LD channels.
    sfreq : float
        Rate in Hz; recordings are resampled to it.
    band_hz : tuple of float
        Pass band of the causal front end in Hz.
    sos : ndarray, shape (n_sections, 6)
        That front end.
    mean : ndarray, shape (n_ld, n_ld)
        Covariance of the LD channels relative to their mean that the population expects.

    Returns
    -------
    Wearer
        Channels that are flat or wild in the recordings are left out of it, and told.

    Raises
    ------
    CalibrationError
        If there is too little signal, or fewer than two channels are good.
    """
    found = read_ld(paths, ld, sfreq, sos)
    signals, odd = found.signals, found.odd
    good = [i for i in range(len(ld)) if i not in odd]
    if len(good) < 2:
        raise CalibrationError(
            f"LD recordings must have at least 2 good channels, got {len(good)} of {len(ld)}. "
            "Is the cap on the head, the reference connected?"
        )
    centred = reference_free(np.concatenate(signals)[:, good])[0]
    amplitude, noise = _scale_and_noise(
        centred.T @ centred / len(centred), mean[np.ix_(good, good)]
    )
    notes = tuple(f"channel {ld[i]} looks {why} in the LD recordings" for i, why in odd.items())
    bands = None if odd else mean_bands(signals, band_edges(band_hz, sfreq), sfreq)
    return Wearer(amplitude, noise, found.seconds, found.inputs, notes, bands)


def read_ld(
    paths: Sequence[str | Path], ld: Sequence[str], sfreq: float, sos: FloatArray
) -> LdSignals:
    """Read the LD channels of recordings, filtered as they are live.

    Parameters
    ----------
    paths, ld, sfreq, sos
        As for :func:`read_wearer`.

    Returns
    -------
    LdSignals
        Stretches without the settling of the filter.

    Raises
    ------
    CalibrationError
        If there is too little signal.
    """
    settle = round(SETTLE_S * sfreq)
    signals, inputs = [], []
    for path in paths:
        recording = read_recording(path, sfreq=sfreq, need_positions=False)
        columns = match_labels(ld, recording.labels, recording.path.name)
        inputs.append((recording.path, recording.sha256))
        for start, stop in recording.segments:
            if stop - start > 2 * settle:
                raw = recording.data_uv[start:stop, columns]
                signals.append(CausalFilter(sos, len(ld)).process(raw)[settle:])
    seconds = sum(map(len, signals)) / sfreq
    if seconds < MIN_SECONDS:
        raise CalibrationError(
            f"LD recordings must hold at least {MIN_SECONDS:g} s of continuous signal, got "
            f"{seconds:.1f} s. Record for longer, or give none."
        )
    odd = suspicious_channels(signals, sfreq)
    return LdSignals(tuple(signals), seconds, tuple(inputs), odd)


def _scale_and_noise(own: FloatArray, mean: FloatArray) -> tuple[float, float]:
    """Most likely amplitude and noise of ``amplitude**2 * (mean + noise * its power)``."""
    n = len(own)
    # What the mean of the channels leaves: n - 1 directions.
    basis = contrasts(n)
    own, mean = basis.T @ own @ basis, basis.T @ mean @ basis
    power = float(np.trace(mean)) / n
    best = (np.inf, 1.0, NOISE)
    for noise in _NOISES:
        model = mean + noise * power * np.eye(n - 1)
        squared = float(np.trace(np.linalg.solve(model, own))) / (n - 1)
        cost = (n - 1) * np.log(squared) + float(np.linalg.slogdet(model)[1])
        if cost < best[0]:
            best = (cost, squared, float(noise))
    return float(np.sqrt(best[1])), best[2]
