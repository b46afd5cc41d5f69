"""What LD recordings tell of the wearer: how large the signals are, and how noisy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.population.estimate import NOISE, at_lags, carry
from calibration.population.likeness import likely_mean
from calibration.population.people import Population
from calibration.population.statistics import lagged_covariances
from calibration.session.channel_quality import suspicious_channels
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import contrasts, reference_free
from emag_rt.core.labels import match_labels
from emag_rt.core.ld_bands import LdBands, band_edges, mean_bands
from emag_rt.core.montage import Montage
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter, design_band
from emag_rt.recordings.read import read_recording

MIN_SECONDS = 8.0
# Fewer LD channels than this say little of whom the wearer is like.
_FEWEST_ALIKE = 4
_SPARE_LAGS = 4
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
    recorded: LdSignals,
    ld: Montage,
    sfreq: float,
    band_hz: tuple[float, float],
    people: Population,
) -> tuple[FloatArray, Wearer]:
    """What LD recordings tell: whom the wearer is like, how large the signals, how noisy.

    Parameters
    ----------
    paths : sequence of path-like
        Recordings that hold the LD channels; others in them are not looked at.
    recorded : LdSignals
        What :func:`read_ld` read of them for the bundle.
    ld : Montage
        LD channels, in the population's frame.
    sfreq : float
        Rate of the bundle in Hz.
    band_hz : tuple of float
        Pass band of its causal front end in Hz.
    people : Population
        Whom to expect.

    Returns
    -------
    mean : ndarray, shape (n_lags, n_places, n_places)
        What is expected at the population's places.
    wearer : Wearer
        Channels that are flat or wild in the recordings are left out of it, and told.

    Raises
    ------
    CalibrationError
        If there is too little signal, or fewer than two channels are good.
    """
    # Whom the wearer is like: as the population's people were read, whatever the bundle's rate.
    theirs = design_band(*people.band_hz, people.sfreq)
    found = read_ld(paths, ld.labels, people.sfreq, theirs)
    good = [i for i in range(len(ld)) if i not in found.odd]
    own = lagged_covariances([reference_free(x[:, good])[0] for x in found.signals], people.n_lags)
    mean = _mean_like(people, ld.positions_mm[good], own)
    good = [i for i in range(len(ld)) if i not in recorded.odd]
    if len(good) < 2:
        raise CalibrationError(
            f"LD recordings must have at least 2 good channels, got {len(good)} of {len(ld)}. "
            "Is the cap on the head, the reference connected?"
        )
    centred = reference_free(np.concatenate(recorded.signals)[:, good])[0]
    now = centred.T @ centred / len(centred)
    amplitude, noise = _scale_and_noise(now, people, mean, ld.positions_mm[good])
    notes = tuple(
        f"channel {ld.labels[i]} looks {why} in the LD recordings"
        for i, why in recorded.odd.items()
    )
    bands = None
    if not recorded.odd:
        bands = mean_bands(recorded.signals, band_edges(band_hz, sfreq), sfreq)
    return mean, Wearer(amplitude, noise, recorded.seconds, recorded.inputs, notes, bands)


def wearer_of_blocks(
    blocks: Sequence[FloatArray], sfreq: float, ld: Montage, people: Population
) -> tuple[FloatArray, Wearer]:
    """The same from blocks of a live stream, whose channels were all good.

    Parameters
    ----------
    blocks : sequence of ndarray, shape (n_times, n_ld)
        Reference-free, in µV, in the population's band.
    sfreq : float
        Their rate in Hz.
    ld, people
        As for :func:`read_wearer`.

    Returns
    -------
    mean : ndarray, shape (n_lags, n_places, n_places)
        What is expected at the population's places.
    wearer : Wearer
        Without files.
    """
    seconds = np.arange(people.n_lags) / people.sfreq
    n_lags = int(np.ceil(seconds[-1] * sfreq)) + _SPARE_LAGS
    # Each block ends: the further two samples are apart, the fewer pairs it has of them.
    pairs = 1.0 - np.arange(n_lags) / np.mean([len(block) for block in blocks])
    found = lagged_covariances(blocks, n_lags) / pairs[:, None, None]
    own = at_lags(found, sfreq, seconds)
    mean = _mean_like(people, ld.positions_mm, own)
    amplitude, noise = _scale_and_noise(own[0], people, mean, ld.positions_mm)
    bands = mean_bands(blocks, band_edges(people.band_hz, sfreq), sfreq)
    return mean, Wearer(amplitude, noise, sum(map(len, blocks)) / sfreq, bands=bands)


def _mean_like(people: Population, ld_mm: FloatArray, own: FloatArray) -> FloatArray:
    return likely_mean(people, ld_mm, own) if len(ld_mm) >= _FEWEST_ALIKE else people.mean()


def read_ld(
    paths: Sequence[str | Path], ld: Sequence[str], sfreq: float, sos: FloatArray
) -> LdSignals:
    """Read the LD channels of recordings, filtered as they are live.

    Parameters
    ----------
    paths : sequence of path-like
        Recordings that hold the LD channels; others in them are not looked at.
    ld : sequence of str
        Labels of the LD channels.
    sfreq : float
        Rate in Hz; recordings are resampled to it.
    sos : ndarray, shape (n_sections, 6)
        The causal front end.

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


def _scale_and_noise(
    own: FloatArray, people: Population, expected: FloatArray, ld_mm: FloatArray
) -> tuple[float, float]:
    """Most likely amplitude and noise of ``amplitude**2 * (mean + noise * its power)``."""
    n = len(own)
    carried = carry(people.places.positions_mm, ld_mm)
    mean = carried @ expected[0] @ carried.T
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
