"""What a longer recording and a longer wait would give: the closed form, fitted anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.regression.blocks import Segment, make_blocks
from calibration.regression.closed_form import fit_linear
from calibration.regression.priors import SpatialPrior, session_prior
from calibration.report.evidence import Evidence, ridge_fit
from emag_rt.core.scores import nmse

LENGTHS = (0.25, 0.5, 1.0)
LOOK_AHEADS_S = (0.0, 0.02, 0.05)
TEST_SHARE = 0.25
MAX_S = 300.0
"""Curves look at no more than the last five minutes of a session."""
LEAST_S = 8.0
_GAMMAS = (1.0, 3.0)
"""Half of those that calibration tries: half the time, and the same within a per cent."""


@dataclass(frozen=True)
class Point:
    """One fit: seconds of signal and samples waited for, and errors on the last quarter."""

    seconds: float
    look_ahead_s: float
    field: float
    lagged_ridge: float


@dataclass(frozen=True)
class Curves:
    """Curves of error, and why they are not longer.

    Attributes
    ----------
    lengths : tuple of Point
        By length of the recording, at the bundle's look-ahead.
    look_aheads : tuple of Point
        By look-ahead, at full length.
    test_s : float
        Seconds they are tested on: the end of the session, which none of the fits has seen.
    note : str
        What was left out, and why; empty when nothing was.
    """

    lengths: tuple[Point, ...] = ()
    look_aheads: tuple[Point, ...] = ()
    test_s: float = 0.0
    note: str = ""


def n_fits(evidence: Evidence) -> float:
    """Fits of the whole length that :func:`measure_curves` costs, about."""
    seconds = min(MAX_S, evidence.session.duration_s)
    share = (1 - TEST_SHARE) * seconds / max(evidence.session.duration_s, 1e-9)
    # With half of the gammas, a fit takes less; without beliefs, half of that.
    return 0.8 * (len(LENGTHS) + 0.5 * len(LOOK_AHEADS_S)) * (0.4 + 0.6 * share)


def measure_curves(evidence: Evidence) -> Curves:
    """Fit the closed form on parts of the session and test all on its last quarter.

    Shorter recordings are the last part of the others, so that all end where the test begins.

    Parameters
    ----------
    evidence : Evidence
        Session and bundle.

    Returns
    -------
    Curves
        On unseen channels.
    """
    session, sfreq = evidence.session, evidence.sfreq
    rows = list(session.targets)
    segments = [(x, y[:, rows]) for x, y in session.segments]
    total = sum(len(x) for x, _ in segments)
    used = min(total, round(MAX_S * sfreq))
    border = total - round(TEST_SHARE * used)
    own = evidence.bundle.manifest.look_ahead_samples
    fit = _Fitter(
        _between(segments, border, total),
        sfreq,
        session_prior(session),
        [session.targets.index(row) for row in session.unseen],
    )
    plain = replace(fit, prior=None)  # beliefs are for short sessions, and double the cost
    lengths: list[Point] = []
    refused: list[str] = []
    n_train = border - (total - used)
    for share in LENGTHS:
        n = round(share * n_train)
        if n < LEAST_S * sfreq:
            refused.append(f"{n / sfreq:.0f} s")
            continue
        lengths.append(fit.point(_between(segments, border - n, border), own))
    whole = _between(segments, border - n_train, border)
    aheads: list[Point] = []
    for seconds in LOOK_AHEADS_S:
        n = round(seconds * sfreq)
        if n_train >= LEAST_S * sfreq and not (n == 0 and seconds > 0):
            aheads.append(plain.point(whole, n))
    note = f"Too short to fit: {', '.join(refused)}." if refused else ""
    return Curves(tuple(lengths), tuple(aheads), (total - border) / sfreq, note)


@dataclass(frozen=True, eq=False)
class _Fitter:
    """Fits on a stretch, and what it is tested on."""

    test: list[Segment]
    sfreq: float
    prior: SpatialPrior | None
    scored: list[int]

    def point(self, train: list[Segment], ahead: int) -> Point:
        blocks = make_blocks([len(x) for x, _ in train])
        fits = {
            "field": fit_linear(
                train, self.sfreq, ahead, gammas=_GAMMAS, blocks=blocks, prior=self.prior
            ),
            "lagged_ridge": ridge_fit(train, self.sfreq, ahead, blocks),
        }
        truth = np.concatenate([y[:, self.scored] for _, y in self.test])
        errors = {
            name: nmse(
                truth, np.concatenate([fit.predict(x)[:, self.scored] for x, _ in self.test])
            )
            for name, fit in fits.items()
        }
        seconds = sum(len(x) for x, _ in train) / self.sfreq
        return Point(seconds, ahead / self.sfreq, **errors)


def _between(segments: Sequence[Segment], start: int, stop: int) -> list[Segment]:
    """Samples start to stop, counted through all segments."""
    kept, seen = [], 0
    for x, y in segments:
        a, b = max(start - seen, 0), min(stop - seen, len(x))
        if a < b:
            kept.append((x[a:b], y[a:b]))
        seen += len(x)
    return kept
