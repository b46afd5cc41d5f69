"""Whether other electrodes, as many, would do markedly better: a short search and one fit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from calibration.electrodes.choice import score_set
from calibration.electrodes.offer import MontageRequest, Offer
from calibration.electrodes.search import SetSearch
from calibration.regression.lag_grams import choose_penalty, errors_with, search_grams
from calibration.report.evidence import Evidence
from calibration.settings.calibration_settings import CalibrationSettings

SEARCH_S = 30.0
"""Where it would take longer than this, it is left out."""
_TRIES = 4
"""Times that each electrode is tried at other places, about."""


@dataclass(frozen=True)
class BetterSet:
    """What was found, or why nothing was sought.

    Attributes
    ----------
    labels : tuple of str
        Electrodes; empty where it was left out.
    nmse : float
        Cross-validated error of the closed form on channels that would not be worn; NaN likewise.
    cost_s : float
        Seconds that it would have taken, where it was left out for that.
    """

    labels: tuple[str, ...] = ()
    nmse: float = float("nan")
    cost_s: float = 0.0


def find_better_set(evidence: Evidence, fit_s: float) -> BetterSet:
    """Move the worn electrodes one by one to where they tell most, and fit what comes of it.

    `emag-rt montage` begins at more places and looks further, so that it may find better ones.

    Parameters
    ----------
    evidence : Evidence
        Of a calibration's own recordings.
    fit_s : float
        Seconds that one fit takes.

    Returns
    -------
    BetterSet
        Left out where it would take over half a minute.

    Raises
    ------
    CalibrationError
        If the session does not offer as many electrodes.
    """
    session, manifest = evidence.session, evidence.bundle.manifest
    settings = CalibrationSettings(
        band_hz=manifest.frontend.band_hz, look_ahead_s=manifest.look_ahead_s
    )
    if fit_s > SEARCH_S:
        return BetterSet(cost_s=fit_s)
    offer = Offer.of(session, MontageRequest(len(session.ld)), settings.settle_s)
    good = [i for i in range(len(session.montage)) if i not in session.bad]
    place = {row: i for i, row in enumerate(good)}
    grams = search_grams(
        [y[:, good] for _, y in session.segments],
        session.sfreq,
        manifest.look_ahead_samples,
        reference="ld-mean",
    )
    worn = tuple(sorted(place[i] for i in session.ld))
    penalty = choose_penalty(grams, worn)
    started = time.perf_counter()
    errors_with(grams, worn[1:], penalty)
    cost = fit_s + _TRIES * len(worn) * (time.perf_counter() - started)
    if cost > SEARCH_S:
        return BetterSet(cost_s=cost)
    search = SetSearch(grams, [place[i] for i in offer.candidates], lam=penalty)
    found = search.refine(worn)
    labels = tuple(session.montage.labels[good[i]] for i in found.rows)
    error = score_set(session.recordings, labels, settings).nmse["ld-mean"]["unseen"]
    return BetterSet(labels, error)
