"""What one person gives to the population: lagged covariances that no reference can change.

A person's bad and bridged electrodes are not learned from. They are filled by what the mean of all
people expects there, given the good ones, with what this leaves open. So one person
with a bridged forehead neither counts double there nor leaves a hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.session.channel_quality import BRIDGED_CORRELATION, suspicious_channels
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray, Samples
from emag_rt.core.labels import canonical
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording

N_LAGS = 20
"""Lags kept, at the population's rate: 16 are used, and smooth profiles reach a little further."""
_MIN_S = 20.0
_MIN_GOOD = 0.5
_ROUNDS = 3
_SPLINE_SMOOTHING = 1e-3
# Over the usual place's power. The mean of so few people is a rough guide: with 0.01 the field of
# the others erred by 3 % more.
_RIDGE = 0.2


@dataclass(frozen=True, eq=False)
class PersonStatistics:
    """One person's statistics at the population's places.

    Attributes
    ----------
    name : str
        Person.
    covariances : ndarray, shape (n_lags, n_places, n_places), float64
        ``E[x(t) x(t - l)^T]`` in µV², relative to the mean of the good electrodes; rows and
        columns of others are zero.
    good : ndarray, shape (n_places,), bool
        Electrodes that were there, neither bad nor bridged to another.
    seconds : float
        Of signal.
    notes : tuple of str
        What was left out, and why.
    """

    name: str
    covariances: FloatArray
    good: np.ndarray[tuple[int], np.dtype[np.bool_]]
    seconds: float
    notes: tuple[str, ...] = ()


def person_statistics(
    name: str,
    recordings: Sequence[Recording],
    labels: Sequence[str],
    sos: FloatArray,
    n_lags: int = N_LAGS,
) -> PersonStatistics:
    """Statistics of one person.

    Parameters
    ----------
    name : str
        Person.
    recordings : sequence of Recording
        HD recordings at the population's rate.
    labels : sequence of str
        The population's places. Other electrodes are not looked at.
    sos : ndarray, shape (n_sections, 6)
        The causal front end.
    n_lags : int
        Lags to keep.

    Returns
    -------
    PersonStatistics
        Without a scale: that is for :func:`repaired`.

    Raises
    ------
    CalibrationError
        If there is too little signal, or fewer than half of the places have a good electrode.
    """
    columns = [_columns(recording, labels) for recording in recordings]
    there = np.all([column >= 0 for column in columns], axis=0)
    sfreq = recordings[0].sfreq
    settle = round(SETTLE_S * sfreq)
    signals: list[FloatArray] = []
    marked: set[int] = set()
    for recording, column in zip(recordings, columns, strict=True):
        bads = {canonical(label) for label in recording.bads}
        marked |= {i for i, label in enumerate(labels) if canonical(label) in bads}
        for start, stop in recording.segments:
            if stop - start > settle + n_lags:
                raw = recording.data_uv[start:stop, column[there]]
                signals.append(CausalFilter(sos, raw.shape[1]).process(raw)[settle:])
    seconds = sum(map(len, signals)) / sfreq
    if seconds < _MIN_S:
        raise CalibrationError(
            f"{name}: must have at least {_MIN_S:g} s of continuous signal, got {seconds:.1f} s."
        )
    rows = np.flatnonzero(there)
    wild = {int(rows[c]): why for c, why in suspicious_channels(signals, sfreq).items()}
    bridged = {int(rows[c]) for c in _bridged_to_any(np.concatenate(signals))}
    good = there.copy()
    good[list(marked | set(wild) | bridged)] = False
    if good.sum() < _MIN_GOOD * len(labels):
        raise CalibrationError(
            f"{name}: at least half of the population's {len(labels)} places must have a good "
            f"electrode, {int(good.sum())} have. Leave this person out."
        )
    notes = [f"{labels[i]} looks {why}" for i, why in sorted(wild.items())]
    if bridged:
        notes.append(f"bridged: {', '.join(labels[i] for i in sorted(bridged))}")
    kept = [signal[:, good[there]] for signal in signals]
    covariances = np.zeros((n_lags, len(labels), len(labels)))
    found = lagged_covariances([x - x.mean(axis=1, keepdims=True) for x in kept], n_lags)
    for covariance, measured in zip(covariances, found, strict=True):
        covariance[np.ix_(good, good)] = measured
    return PersonStatistics(name, covariances, good, seconds, tuple(notes))


def lagged_covariances(segments: Sequence[Samples], n_lags: int) -> FloatArray:
    """``E[x(t) x(t - l)^T]`` over segments (n_times, n), shape (n_lags, n, n), biased to zero."""
    n_times = sum(map(len, segments))
    return np.array(
        [sum(x[lag:].T @ x[: len(x) - lag] for x in segments) / n_times for lag in range(n_lags)]
    )


def repaired(
    people: Sequence[PersonStatistics], positions_mm: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Every person at every place, relative to the average, scaled to unit power.

    Parameters
    ----------
    people : sequence of PersonStatistics
        As measured.
    positions_mm : ndarray, shape (n_places, 3)
        The places.

    Returns
    -------
    covariances : ndarray, shape (n_people, n_lags, n_places, n_places), float64
        Mean variance over the places is one.
    amplitudes_uv : ndarray, shape (n_people,), float64
        What one is, in µV.
    """
    found = [_completed(person, _by_spline(person.good, positions_mm)) for person in people]
    for _ in range(_ROUNDS):
        mean = np.mean([_scaled(each)[0] for each in found], axis=0)
        found = [_expected(person, mean) for person in people]
    scaled = [_scaled(each) for each in found]
    return np.array([each for each, _ in scaled]), np.array([uv for _, uv in scaled])


def _columns(recording: Recording, labels: Sequence[str]) -> np.ndarray:
    known = {canonical(label): i for i, label in enumerate(recording.labels)}
    return np.array([known.get(canonical(label), -1) for label in labels])


def _bridged_to_any(data: FloatArray) -> set[int]:
    """Columns that carry the signal of another one: both of a pair."""
    correlation = np.abs(np.corrcoef(data, rowvar=False))
    np.fill_diagonal(correlation, 0.0)
    return set(np.flatnonzero((np.nan_to_num(correlation) > BRIDGED_CORRELATION).any(axis=1)))


def _by_spline(good: np.ndarray, positions_mm: FloatArray) -> FloatArray:
    """All places from the good ones, shape (n_places, n_good)."""
    carry = np.zeros((len(good), int(good.sum())))
    carry[good] = np.eye(carry.shape[1])
    if not good.all():
        carry[~good] = spherical_spline(
            positions_mm[good], positions_mm[~good], smoothing=_SPLINE_SMOOTHING
        )
    return carry


def _completed(person: PersonStatistics, carry: FloatArray) -> FloatArray:
    inner = person.covariances[:, person.good][:, :, person.good]
    return np.asarray(carry @ inner @ carry.T)


def _expected(person: PersonStatistics, mean: FloatArray) -> FloatArray:
    """What ``mean`` expects of this person: where good electrodes differ, so do bad places."""
    good = person.good
    if good.all():
        return person.covariances
    known = mean[:, good][:, :, good]
    size = np.trace(known[0]) / len(known[0])
    carry = np.zeros((len(good), len(known[0])))
    carry[good] = np.eye(len(known[0]))
    loaded = known[0] + _RIDGE * size * np.eye(len(known[0]))
    carry[~good] = np.linalg.solve(loaded, mean[0][np.ix_(good, ~good)]).T
    own = person.covariances[:, good][:, :, good]
    louder = np.trace(own[0]) / np.trace(known[0])
    found = np.asarray(louder * mean + carry @ (own - louder * known) @ carry.T)
    # The ridge lets a bad place go with good ones a little more than any signal could.
    values, vectors = np.linalg.eigh(found[0])
    found[0] = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return found


def _scaled(covariances: FloatArray) -> tuple[FloatArray, float]:
    centre = np.eye(covariances.shape[1]) - 1.0 / covariances.shape[1]
    averaged = centre @ covariances @ centre
    power = float(np.trace(averaged[0])) / len(centre)
    return averaged / power, float(np.sqrt(power))
