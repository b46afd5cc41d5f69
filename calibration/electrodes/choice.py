"""Electrodes worth wearing: which K of a subject's HD channels tell most about all the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from calibration.electrodes.offer import MontageRequest, Offer
from calibration.electrodes.search import Choice, choose_set
from calibration.regression.blocks import guarded_start
from calibration.regression.closed_form import fit_linear
from calibration.regression.lag_grams import SearchGrams, search_grams
from calibration.regression.priors import session_prior
from calibration.session.segments import Session, make_session, read_recordings
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.recordings.read import Recording

Progress = Callable[[float, str], None]
LADDER = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True, eq=False)
class SetScore:
    """Cross-validated errors of the closed-form field on one set of electrodes.

    Attributes
    ----------
    labels : tuple of str
        The set.
    nmse : dict of str to dict of str to float
        ``average`` and ``ld-mean``: ``all`` channels, those worn passed through, and ``unseen``
        ones (not worn, not bridged to one, not bad).
    per_channel : dict of str to float
        Error of each good channel over its power, both under average reference.
    """

    labels: tuple[str, ...]
    nmse: dict[str, dict[str, float]]
    per_channel: dict[str, float]


@dataclass(frozen=True, eq=False)
class MontageChoice:
    """The electrodes worth wearing, and what to expect of them.

    Attributes
    ----------
    montage : Montage
        All channels of the session.
    chosen, spread : dict of int to SetScore
        By size: the sets chosen, and evenly spread ones from the same candidates.
    surrogate : dict of int to Choice
        By size: what the search found; rows count among the good channels.
    candidates, bad, bridged : tuple of str
        Channels on offer, not learned from, and bridged to another (not on offer).
    warnings : tuple of str
        What the user should know.
    templates : tuple of (str, str)
        Each file, and the template that placed its electrodes; empty: positions of its own.
    """

    montage: Montage
    chosen: dict[int, SetScore]
    spread: dict[int, SetScore]
    surrogate: dict[int, Choice]
    candidates: tuple[str, ...]
    bad: tuple[str, ...]
    bridged: tuple[str, ...]
    warnings: tuple[str, ...]
    templates: tuple[tuple[str, str], ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The electrodes to wear."""
        return self.chosen[max(self.chosen)].labels


def choose_montage(
    recordings: Sequence[str | Path | Recording],
    request: MontageRequest,
    settings: CalibrationSettings | None = None,
    progress: Progress | None = None,
) -> MontageChoice:
    """Choose electrodes from a subject's HD session.

    The search runs on a fast stand-in (:mod:`calibration.regression.lag_grams`); errors reported
    are of the closed-form field that `calibrate` fits. Both are cross-validated on blocks of time
    within the session. As the electrodes were chosen for the least error on those very blocks, the
    figure is mildly optimistic: `evaluate` on another run gives the one to believe.

    Parameters
    ----------
    recordings : sequence of path-like or Recording
        HD recordings of one subject and cap.
    request : MontageRequest
        What is wanted.
    settings : CalibrationSettings, optional
        Rate, band and look-ahead, as they will be used.
    progress : callable, optional
        Called with the share done and what is being done.

    Returns
    -------
    MontageChoice
        Sets, errors and notes.

    Raises
    ------
    CalibrationError
        If a label is unknown or not to be had, or the count is impossible.
    EmagError
        If the recordings cannot be used.
    """
    settings, tell = settings or CalibrationSettings(), progress or (lambda _share, _what: None)
    tell(0.0, "reading")
    read = read_recordings(recordings, settings)
    # Any two channels will do: the search sees average reference, whatever the LD channels.
    session = make_session(read, 2, settings)
    offer = Offer.of(session, request, settings.settle_s)
    good = [i for i in range(len(session.montage)) if i not in session.bad]
    n_ahead = settings.n_look_ahead(session.sfreq)
    chosen: dict[int, SetScore] = {}
    spread: dict[int, SetScore] = {}
    surrogate: dict[int, Choice] = {}
    with threadpool_limits(1, user_api="blas"):
        tell(0.02, "Gram matrices")
        grams = search_grams(
            [y[:, good] for _, y in session.segments],
            session.sfreq,
            n_ahead,
            reference=request.reference,
        )
        sizes = _sizes(request, offer)
        # Work grows about with the square of the size.
        done, total = 0.0, float(sum(size**2 for size in sizes))
        for size in sizes:
            at = 0.05 + 0.95 * done / total
            start = offer.spread(session.montage, size)
            found = _search(grams, good, offer, start, request, partial(tell, at))
            tell(at, f"{size} electrodes: scoring")
            rows = [good[i] for i in found.rows]
            surrogate[size] = found
            chosen[size] = score_set(read, [session.montage.labels[i] for i in rows], settings)
            spread[size] = score_set(read, [session.montage.labels[i] for i in start], settings)
            done += size**2
    tell(1.0, "done")
    labels = session.montage.labels
    return MontageChoice(
        montage=session.montage,
        chosen=chosen,
        spread=spread,
        surrogate=surrogate,
        candidates=tuple(labels[i] for i in offer.candidates),
        bad=tuple(labels[i] for i in session.bad),
        bridged=tuple(labels[i] for i in offer.bridged),
        warnings=(*_own_warnings(session), *offer.notes),
        templates=tuple((r.path.name, r.template) for r in read),
    )


def score_set(
    recordings: Sequence[Recording], labels: Sequence[str], settings: CalibrationSettings
) -> SetScore:
    """Cross-validate the closed-form field on a set of electrodes.

    Parameters
    ----------
    recordings : sequence of Recording
        HD recordings of one subject.
    labels : sequence of str
        Electrodes worn.
    settings : CalibrationSettings
        Rate, band and look-ahead.

    Returns
    -------
    SetScore
        Held-out errors, guards at the starts of blocks left out.
    """
    session = make_session(recordings, list(labels), settings)
    targets, segments = list(session.targets), session.target_segments
    # Small eigenproblems: BLAS threads gain little on idle cores and thrash on busy ones.
    with threadpool_limits(1, user_api="blas"):
        n_ahead, prior = settings.n_look_ahead(session.sfreq), session_prior(session)
        fit = fit_linear(segments, session.sfreq, n_ahead, prior=prior)
    good = np.array([i for i in range(len(session.montage)) if i not in session.bad])
    sums: dict[str, list[FloatArray]] = {"average": [], "ld-mean": []}
    predicted = fit.predict_held_out(segments)
    for block in fit.blocks:
        rows = slice(guarded_start(block, fit.n_lags), block.stop)
        truth = session.segments[block.segment][1][rows]
        error = np.zeros_like(truth)
        error[:, targets] = predicted[block.segment][rows] - truth[:, targets]
        for name, parts in sums.items():
            e, y = (
                z - z.mean(axis=1, keepdims=True) if name == "average" else z
                for z in (error[:, good], truth[:, good])
            )
            parts.append(np.array([(e**2).sum(axis=0), (y**2).sum(axis=0)]))
    unseen = np.isin(good, session.unseen)
    totals = {name: np.sum(parts, axis=0) for name, parts in sums.items()}
    nmse = {
        name: {"all": _ratio(*total), "unseen": _ratio(*total[:, unseen])}
        for name, total in totals.items()
    }
    each = totals["average"][0] / np.maximum(totals["average"][1], np.finfo(float).tiny)
    names = [session.montage.labels[i] for i in good]
    return SetScore(
        labels=tuple(session.montage.labels[i] for i in session.ld),
        nmse=nmse,
        per_channel={name: float(e) for name, e in zip(names, each, strict=True)},
    )


def _ratio(error: FloatArray, power: FloatArray) -> float:
    return float(error.sum() / power.sum()) if power.sum() > 0 else float("nan")


def _sizes(request: MontageRequest, offer: Offer) -> list[int]:
    least = max(2, len(offer.must))
    below = [n for n in LADDER if least <= n < request.count] if request.curve else []
    return [*below, request.count]


def _search(
    grams: SearchGrams,
    good: list[int],
    offer: Offer,
    start: list[int],
    request: MontageRequest,
    tell: Callable[[str], None],
) -> Choice:
    """Search among the good channels, which is how the Grams count them."""
    place = {row: i for i, row in enumerate(good)}
    changes = 0

    def changed(_rows: Sequence[int]) -> None:
        nonlocal changes
        changes += 1
        tell(f"{len(start)} electrodes: change {changes}")

    return choose_set(
        grams,
        [place[i] for i in offer.candidates],
        [place[i] for i in start],
        must=[place[i] for i in offer.must],
        n_starts=request.n_starts,
        seed=request.seed,
        tell=changed,
    )


def _own_warnings(session: Session) -> list[str]:
    """Notes of the session but for bridges to its two stand-in LD channels."""
    return [note for note in session.warnings if "bridged to an LD channel" not in note]
