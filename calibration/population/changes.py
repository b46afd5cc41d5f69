"""What blocks of live LD change of a bundle: the session's powers, or other people's heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from calibration.population.adapt import with_change
from calibration.population.estimate import Places
from calibration.population.no_hd_field import expected_operator
from calibration.population.remake import heads_of, remade
from calibration.population.state import State
from calibration.population.wearer import wearer_of_blocks
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.folding import fold, fold_readout
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
    matrices : ndarray, shape (n_lags, n_out, n_ld), or None
        By how much the linear part is to differ from the bundle's, in µV per µV; None where it is
        as it should be.
    make : callable
        Makes the bundle that is so.
    """

    power_db: tuple[tuple[float, float, float], ...]
    now: FloatArray
    matrices: FloatArray | None
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


def changes_of(bundle: Bundle, positions_mm: FloatArray, population: str | None = None) -> Changes:
    """How a bundle follows its wearer.

    Parameters
    ----------
    bundle : Bundle
        Of the anchor ``stream``.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes that are rendered.
    population : str, optional
        File of the population of a bundle without HD, where it is none of the package's.

    Raises
    ------
    CalibrationError
        If the bundle cannot be adapted.
    """
    if bundle.manifest.hd_measured:
        return SessionChanges(bundle, positions_mm)
    return WearerChanges(bundle, positions_mm, population)


class SessionChanges:
    """Follows the powers of the sources that an HD session found; see :class:`Changes`."""

    longest_s = 0.0

    def __init__(self, bundle: Bundle, positions_mm: FloatArray) -> None:
        self._bundle, self._positions_mm, self._state = bundle, positions_mm, State(bundle)
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
        folded = fold_readout(model.field, self._positions_mm, model.tau_s, more)
        matrices = model.drive.taps[0, 0] * folded / model.scale_uv
        seconds = sum(map(len, blocks)) / sfreq
        return Change(bands, now, matrices, partial(with_change, self._bundle, more, seconds))


class WearerChanges:
    """Finds whom the wearer of a bundle without HD is like; see :class:`Changes`."""

    longest_s = _WEARER_S

    def __init__(
        self, bundle: Bundle, positions_mm: FloatArray, population: str | None = None
    ) -> None:
        heads = heads_of(bundle, population)
        band_hz, theirs = bundle.manifest.frontend.band_hz, heads.people.band_hz
        if band_hz != theirs:
            raise CalibrationError(
                f"--adapt must have a bundle from {theirs[0]:g} to {theirs[1]:g} Hz where nobody's "
                f"HD was measured, got {band_hz[0]:g} to {band_hz[1]:g} Hz. Give LD recordings to "
                "emag-rt calibrate --no-hd, or serve it without --adapt."
            )
        self._bundle, self._heads = bundle, heads
        self._places = Places(heads.people, heads.ld.positions_mm, positions_mm)
        self._was = _linear(bundle.model, positions_mm)
        self.edges_hz = band_edges(theirs, bundle.manifest.sfreq)

    def learn(self, blocks: Sequence[FloatArray], sfreq: float) -> Change:
        """See :class:`Changes`."""
        heads = self._heads
        mean, wearer = wearer_of_blocks(blocks, sfreq, heads.ld, heads.people)
        now = np.mean(block_covariances(blocks, self.edges_hz, sfreq), axis=0)
        wanted = expected_operator(self._places, heads.timing, mean, wearer.noise)

        def make() -> Bundle:
            return remade(self._bundle, heads, mean, wearer).bundle

        return Change((), now, wanted - self._was, make)


def _linear(model: FieldModel, positions_mm: FloatArray) -> FloatArray:
    """The linear part folded, shape (n_lags, n_out, n_ld), in µV per µV."""
    operator = fold(replace(model, drive=replace(model.drive, hidden=None)), positions_mm)
    weights = operator.weights.reshape(operator.n_out, -1, operator.n_ld)
    return np.asarray(np.tensordot(operator.taps.T, weights, axes=(1, 1)))
