"""The population at the electrodes of an HD session: what its closed form may lean on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from calibration.population.estimate import Places, moments, timing_of
from calibration.population.people import ADULT, Population, load_population
from calibration.regression.other_people import MAX_SESSION_S, PeopleCovariance
from calibration.regression.profiles import Bank
from calibration.session.segments import Session
from calibration.settings.calibration_settings import NO_PRIOR, CalibrationSettings
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.errors import CalibrationError, EmagError
from emag_rt.montages.resolve import laid_on_head

_REACH = 2.0
"""Widths of a profile that people's lags must hold for it to be known."""
_DELAY_SAMPLES = 0.2
"""Profiles narrower than this are exact delays: they reach no further than their centre."""


@dataclass(frozen=True, eq=False)
class SessionPeople:
    """Other people at a session's electrodes.

    Attributes
    ----------
    places : Places
        LD electrodes and targets in the population's frame.
    scale_uv : ndarray, shape (n_ld,)
        What the LD inputs were divided by.
    sfreq : float
        Rate in Hz.
    """

    places: Places
    scale_uv: FloatArray
    sfreq: float

    @property
    def name(self) -> str:
        """What the population is called."""
        return self.places.population.name

    @property
    def n_people(self) -> int:
        """How many people it holds."""
        return self.places.population.n_people

    @cached_property
    def expected(self) -> FloatArray:
        """The population's mean, the same for every bank."""
        return self.places.population.mean()

    def __call__(self, bank: Bank, n_look_ahead: int) -> PeopleCovariance:
        """What they have, seen through the profiles of a bank that their lags reach."""
        people = self.places.population
        known = _known(bank, people, self.sfreq)
        part = Bank(bank.name, bank.centers_s[known], bank.widths_s[known])
        timing = timing_of(people, part, self.sfreq, n_look_ahead)
        found = moments(self.places, timing, self.expected)
        scale = np.where(self.scale_uv > 0, self.scale_uv, 1.0)
        return PeopleCovariance(
            known,
            found.zz / (scale[:, None, None] * scale),
            found.yz.transpose(1, 2, 0) / scale[:, None],
        )


def session_people(
    session: Session,
    settings: CalibrationSettings,
    population: Population | None = None,
    however_long: bool = False,
) -> tuple[SessionPeople | None, tuple[str, ...]]:
    """Other people for a session, and why there are none.

    Parameters
    ----------
    session : Session
        Ready to be fitted.
    settings : CalibrationSettings
        Its ``prior`` says whose heads.
    population : Population, optional
        Already loaded, in the place of the one that ``prior`` names.
    however_long : bool
        Also for a session too long to lean on them.

    Returns
    -------
    people : SessionPeople or None
        For :func:`calibration.regression.closed_form.fit_linear`, and for their network.
    notes : tuple of str
        Why the default was not used.

    Raises
    ------
    CalibrationError
        If a prior that was asked for by name cannot be used.
    """
    too_long = settings.prior is None and session.duration_s > MAX_SESSION_S
    if settings.prior == NO_PRIOR or (too_long and not however_long):
        return None, ()
    loaded = population or load_population(settings.prior or ADULT, "--prior")
    try:
        return _people_at(session, settings, loaded), ()
    except EmagError as error:
        if settings.prior is None:
            return None, (f"the field leans on no other people ({ADULT}): {error}",)
        raise CalibrationError(
            f"--prior {settings.prior} cannot be used: {error} Or leave it out: --prior none."
        ) from error


def _people_at(
    session: Session, settings: CalibrationSettings, population: Population
) -> SessionPeople:
    reach = (population.n_lags - 1) / population.sfreq
    if settings.look_ahead_s > reach / 2:
        raise CalibrationError(
            f"--look-ahead-s must be at most {reach / 2:.3g} s (the population knows {reach:.3g} "
            f"s), got {settings.look_ahead_s:g}."
        )
    montage = session.montage
    placed = laid_on_head(
        dict(zip(montage.labels, montage.positions_mm, strict=True)),
        population.places,
        population.radius_mm,
    ).montage.positions_mm
    places = Places(population, placed[list(session.ld)], placed[list(session.targets)])
    return SessionPeople(places, session.scale_uv, session.sfreq)


def _known(bank: Bank, population: Population, sfreq: float) -> IndexArray:
    """Profiles of a bank that lie within the population's lags of its first."""
    reach = (population.n_lags - 1) / population.sfreq
    wide = np.where(bank.widths_s * sfreq > _DELAY_SAMPLES, _REACH * bank.widths_s, 0.0)
    last = bank.centers_s - bank.centers_s.min() + wide
    return np.flatnonzero(last <= reach + 1e-9)
