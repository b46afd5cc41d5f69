"""What blocks of live LD change of a bundle: the session's powers, or other people's heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from calibration.population.adapt import with_change
from calibration.population.remake import heads_of, remade_live
from calibration.population.state import State
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.ld_bands import band_edges, block_covariances
from emag_rt.core.model import FieldModel
from emag_rt.errors import CalibrationError

_WEARER_S = 300.0
"""Of LD that tell whom the wearer is like: it does not change."""


@dataclass(frozen=True, eq=False)
class Change:
    """What blocks of LD tell.

    Attributes
    ----------
    power_db : tuple of (float, float, float)
        Band from and to in Hz, and LD power there over the session's, in dB; empty where there
        was no session.
    now : ndarray, shape (n_bands, n_ld, n_ld)
        Covariances of the LD channels relative to their mean, in µV².
    model : FieldModel or None
        As it should be now; None where it is as it should be.
    make : callable
        Makes the bundle of it.
    """

    power_db: tuple[tuple[float, float, float], ...]
    now: FloatArray
    model: FieldModel | None
    make: Callable[[], Bundle]


class Changes(Protocol):
    """Finds changes of a bundle.

    Attributes
    ----------
    edges_hz : ndarray, shape (n_bands + 1,)
        Of the bands in which LD is told.
    longest_s : float
        Of LD that it makes use of; more may be looked at.
    """

    edges_hz: FloatArray
    longest_s: float

    def learn(self, blocks: Sequence[FloatArray], sfreq: float) -> Change:
        """What blocks, shape (n_times, n_ld), filtered and reference-free, in µV, tell."""
        ...


def changes_of(bundle: Bundle, population: str | None = None) -> Changes:
    """How a bundle follows its wearer.

    Parameters
    ----------
    bundle : Bundle
        Of the anchor ``stream``.
    population : str, optional
        File of the population of a bundle without HD, where it is none of the package's.

    Raises
    ------
    CalibrationError
        If the bundle cannot be adapted.
    """
    if bundle.manifest.hd_measured:
        return SessionChanges(bundle)
    return WearerChanges(bundle, population)


class SessionChanges:
    """Follows the powers of the sources that an HD session found; see :class:`Changes`."""

    longest_s = 0.0

    def __init__(self, bundle: Bundle) -> None:
        self._bundle, self._state = bundle, State(bundle)
        self.edges_hz = self._state.edges_hz

    def learn(self, blocks: Sequence[FloatArray], sfreq: float) -> Change:
        """See :class:`Changes`."""
        state, model = self._state, self._bundle.model
        contrasts = state.contrasts(blocks, sfreq).mean(axis=0)
        power_db = state.power_db(contrasts)
        bands, now = state.by_band(power_db), state.at_channels(contrasts)
        if not state.differs(power_db):
            return Change(bands, now, None, lambda: self._bundle)
        more = state.readout_change(contrasts)
        drive = replace(model.drive, readout=model.drive.readout + more)
        seconds = sum(map(len, blocks)) / sfreq
        make = partial(with_change, self._bundle, more, seconds)
        return Change(bands, now, replace(model, drive=drive), make)


class WearerChanges:
    """Finds whom the wearer of a bundle without HD is like; see :class:`Changes`."""

    longest_s = _WEARER_S

    def __init__(self, bundle: Bundle, population: str | None = None) -> None:
        self._bundle, self._heads = bundle, heads_of(bundle, population)
        band_hz, theirs = bundle.manifest.frontend.band_hz, self._heads.people.band_hz
        if band_hz != theirs:
            raise CalibrationError(
                f"--adapt must have a bundle from {theirs[0]:g} to {theirs[1]:g} Hz where nobody's "
                f"HD was measured, got {band_hz[0]:g} to {band_hz[1]:g} Hz. Give LD recordings to "
                "emag-rt calibrate --no-hd, or serve it without --adapt."
            )
        self.edges_hz = band_edges(theirs, bundle.manifest.sfreq)

    def learn(self, blocks: Sequence[FloatArray], sfreq: float) -> Change:
        """See :class:`Changes`."""
        made = remade_live(self._bundle, self._heads, blocks, sfreq)
        now = np.mean(block_covariances(blocks, self.edges_hz, sfreq), axis=0)
        return Change((), now, made.bundle.model, lambda: made.bundle)
