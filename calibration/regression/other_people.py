"""Other people's heads, as if they were seconds of the session's own signal.

A short session determines lagged weights badly, and what many people's electrodes have in common
is a better start than none. Their covariances, at the session's own electrodes and with the
session's own power, are added to its sums as so many seconds of signal, and the fits that follow
are averaged with those of the session alone: that costs next to nothing where people mislead.
How many seconds is chosen by the average's error on blocks held out. Blocks of a short session
resemble each other more than what comes later, so the greatest strength is taken that errs like
the session alone; what counts as alike shrinks as the session grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from calibration.regression.profiles import Bank
from emag_rt.array_types import FloatArray, IndexArray

SECONDS = (4.0, 8.0, 16.0, 32.0)
"""What other people may count as."""
MAX_SESSION_S = 100.0
"""Longer sessions gain nothing from other people."""
_ALIKE_S = 0.5


@dataclass(frozen=True, eq=False)
class PeopleCovariance:
    """What other people have at a session's electrodes, up to one factor.

    Attributes
    ----------
    profiles : ndarray of int, shape (n_known,)
        Temporal profiles of a bank that are known, the present among them: people's lags do not
        reach all.
    ld_ld : ndarray, shape (n_known, n_ld, n_known, n_ld), float64
        Of the scaled LD channels through these profiles.
    ld_out : ndarray, shape (n_known, n_ld, n_out), float64
        Of the same with the targets.
    """

    profiles: IndexArray
    ld_ld: FloatArray
    ld_out: FloatArray

    def on_all(self, among: FloatArray, now: int) -> tuple[FloatArray, FloatArray]:
        """Covariances on all profiles of the bank, with the inputs' present power as unit.

        Parameters
        ----------
        among : ndarray, shape (n_profiles, n_profiles), float64
            Covariance of one channel through the profiles: what unknown profiles have.
        now : int
            Profile that is the present sample.

        Returns
        -------
        zz : ndarray, shape (n_profiles * n_ld, n_profiles * n_ld), float64
            Of all profiles; unknown ones tell nothing of known ones.
        zy : ndarray, shape (n_profiles * n_ld, n_out), float64
            With the targets; 0 for unknown profiles.
        """
        n, n_ld, n_out = len(among), self.ld_ld.shape[1], self.ld_out.shape[2]
        present = self.ld_ld[self.profiles == now][0][:, self.profiles == now][:, 0]
        known = np.isin(np.arange(n), self.profiles)
        zz = np.einsum("gh,cd->gchd", among * np.outer(~known, ~known), present)
        every = np.arange(n_ld)
        zz[np.ix_(self.profiles, every, self.profiles, every)] = self.ld_ld
        zy = np.zeros((n, n_ld, n_out))
        zy[self.profiles] = self.ld_out
        power = float(np.trace(present))
        return zz.reshape(n * n_ld, -1) / power, zy.reshape(n * n_ld, n_out) / power


class People(Protocol):
    """Other people at a session's electrodes."""

    @property
    def name(self) -> str:
        """What they are called."""

    @property
    def n_people(self) -> int:
        """How many."""

    def __call__(self, bank: Bank, n_look_ahead: int) -> PeopleCovariance:
        """What they have at the session's rate, through the profiles of a bank."""


def alike(seconds: float) -> float:
    """Ratio of two errors of a session of so many seconds that still counts as no difference."""
    return 1.0 + _ALIKE_S / seconds
