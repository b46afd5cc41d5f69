"""Quality of the recordings: each channel, and what was cut out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.session.segments import Session, session_bridges
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray
from emag_rt.core.labels import canonical
from emag_rt.files import shown_name
from emag_rt.recordings.read import Recording

MAINS_HZ = (50.0, 60.0)
NOISY_SHARE = 0.5
"""A channel with this share of its power (1 Hz up) at the mains frequency is called noisy."""
_FROM_HZ = 1.0
_HALF_WIDTH_HZ = 1.0


@dataclass(frozen=True)
class Channel:
    """One channel of the recordings.

    Attributes
    ----------
    label : str
        Its name.
    role : {"LD", "rendered", "bad"}
        What calibration took it for.
    states : tuple of str
        What is the matter with it, in words; empty for a good channel.
    amplitude_uv : float
        Typical rms in the recording's reference, between 1 and 45 Hz, in µV.
    line_uv, line_share : float
        Rms of the line noise as recorded in µV, and its share of the power from 1 Hz up; NaN
        where the rate is too low to hold it.
    nearest_ld_mm : float
        Straight distance to the nearest LD electrode in mm, 0 for LD electrodes.
    """

    label: str
    role: str
    states: tuple[str, ...]
    amplitude_uv: float
    line_uv: float
    line_share: float
    nearest_ld_mm: float


@dataclass(frozen=True)
class Cut:
    """What of a recording was used.

    Attributes
    ----------
    name : str
        File name.
    total_s, usable_s : float
        Seconds recorded, and usable before the filter settles.
    used : tuple of (float, float)
        Usable stretches, from and to, in seconds.
    reasons : tuple of str
        What was left out, and other remarks of the reader.
    """

    name: str
    total_s: float
    usable_s: float
    used: tuple[tuple[float, float], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Quality:
    """Of a session.

    Attributes
    ----------
    channels : tuple of Channel
        In the order of the montage.
    cuts : tuple of Cut
        One a recording.
    used_s : float
        Seconds used, after the filter has settled.
    mains_hz : float or None
        Mains frequency that was looked for: the louder one of 50 and 60 Hz.
    remarks : tuple of str
        What preparing the session found.
    """

    channels: tuple[Channel, ...]
    cuts: tuple[Cut, ...]
    used_s: float
    mains_hz: float | None
    remarks: tuple[str, ...]


def look_at(session: Session) -> Quality:
    """Judge the recordings of a session.

    Parameters
    ----------
    session : Session
        Prepared recordings.

    Returns
    -------
    Quality
        The verdicts on channels are those of the calibration itself.
    """
    freqs, typical = _spectrum(session, "median")
    # Line noise is no noise: the median's correction, made for noise, would be wrong for it.
    power = _spectrum(session, "mean")[1]
    mains = _mains(freqs, power)
    resolution = freqs[1]
    amplitude = np.sqrt(typical[(freqs >= _FROM_HZ) & (freqs < 45)].sum(axis=0) * resolution)
    line = np.full(power.shape[1], np.nan)
    share = line.copy()
    if mains is not None:
        at = np.abs(freqs - mains) <= _HALF_WIDTH_HZ
        everything = power[freqs >= _FROM_HZ].sum(axis=0)
        line = np.sqrt(power[at].sum(axis=0) * resolution)
        share = power[at].sum(axis=0) / np.where(everything > 0, everything, np.inf)
    positions = session.montage.positions_mm
    distance = np.linalg.norm(positions[:, None] - positions[list(session.ld)], axis=2).min(axis=1)
    states = _states(session, share)
    channels = tuple(
        Channel(
            label,
            "LD" if i in session.ld else "bad" if i in session.bad else "rendered",
            states[i],
            float(amplitude[i]),
            float(line[i]),
            float(share[i]),
            float(distance[i]),
        )
        for i, label in enumerate(session.montage.labels)
    )
    cuts = tuple(_cut(recording) for recording in session.recordings)
    return Quality(channels, cuts, session.duration_s, mains, session.warnings)


def _spectrum(session: Session, average: str) -> tuple[FloatArray, FloatArray]:
    """Power spectra as recorded: (n_freqs,) and (n_freqs, n_channels), µV²/Hz."""
    from scipy.signal import welch

    size = round(2 * session.sfreq)
    found, weights = [], []
    freqs = np.empty(0)
    for recording in session.recordings:
        known = {canonical(label): i for i, label in enumerate(recording.labels)}
        columns = [known[canonical(label)] for label in session.montage.labels]
        for start, stop in recording.segments:
            if stop - start < size:
                continue
            freqs, power = welch(
                recording.data_uv[start:stop, columns],
                session.sfreq,
                nperseg=size,
                axis=0,
                average=average,
            )
            found.append(np.nan_to_num(power))
            weights.append(stop - start)
    return freqs, np.average(found, axis=0, weights=weights)


def _mains(freqs: FloatArray, power: FloatArray) -> float | None:
    """The louder mains frequency, relative to what is beside it."""
    best, loudest = None, 0.0
    for mains in MAINS_HZ:
        if mains + 4 > freqs[-1]:
            continue
        away = np.abs(freqs - mains)
        beside = power[(away > 2) & (away <= 4)].mean(axis=0)
        ratio = power[away <= _HALF_WIDTH_HZ].max(axis=0) / np.where(beside > 0, beside, np.inf)
        # The mean: one electrode with a bad contact is enough to tell which mains it is.
        if float(ratio.mean()) >= loudest:
            best, loudest = mains, float(ratio.mean())
    return best


def _states(session: Session, line_share: FloatArray) -> list[tuple[str, ...]]:
    labels = session.montage.labels
    marked = {canonical(label) for recording in session.recordings for label in recording.bads}
    found: list[list[str]] = [[] for _ in labels]
    for i, label in enumerate(labels):
        if canonical(label) in marked:
            found[i].append("marked bad in the recording")
        # The judgement is the session's: it says why in its warnings.
        start = f"channel {label} looks "
        found[i] += [
            note.removeprefix(start).split(": ")[0]
            for note in session.warnings
            if note.startswith(start)
        ]
        if line_share[i] > NOISY_SHARE:
            found[i].append(f"line noise ({100 * line_share[i]:.0f} % of its power)")
    for i, j in session_bridges(session, SETTLE_S):
        found[i].append(f"bridged to {labels[j]}")
        found[j].append(f"bridged to {labels[i]}")
    return [tuple(each) for each in found]


def _cut(recording: Recording) -> Cut:
    sfreq = recording.sfreq
    return Cut(
        shown_name(recording.path),
        len(recording.data_uv) / sfreq,
        recording.duration_s,
        tuple((start / sfreq, stop / sfreq) for start, stop in recording.segments),
        tuple(recording.warnings),
    )
