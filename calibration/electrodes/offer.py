"""Which channels may be worn: what the user demands, and what the session and the cap allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from calibration.regression.lag_grams import Reference
from calibration.session.segments import Session, session_bridges
from emag_rt.bundle import HeadSphere
from emag_rt.core.labels import canonical
from emag_rt.core.montage import Montage, spread_choice
from emag_rt.errors import CalibrationError
from emag_rt.montages.from_mne import read_montage

_SAME_PLACE = 0.35
"""Greatest distance, in radii of the head, between a channel and the cap's of the same label."""


@dataclass(frozen=True)
class MontageRequest:
    """What is wanted.

    Attributes
    ----------
    count : int
        Electrodes to wear.
    must, forbid : tuple of str
        Labels that must be, or must not be, among them.
    cap : str or None
        Standard montage (or file of positions) whose labels alone are on offer.
    reference : {"average", "ld-mean"}
        What the error to be lowered is relative to: the average of all channels, as published
        figures are, or the LD mean.
    curve : bool
        Choose and score sets of several sizes up to ``count``.
    n_starts : int
        Random sets that the search begins with, beside two good ones.
    seed : int
        Of the random sets.
    """

    count: int
    must: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    cap: str | None = None
    reference: Reference = "average"
    curve: bool = False
    n_starts: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Offer:
    """What a session offers for a request.

    Attributes
    ----------
    candidates : tuple of int
        Rows that may be worn, those that must be among them.
    must : tuple of int
        Rows that must be worn.
    bridged : tuple of int
        Rows that carry the signal of another channel.
    notes : tuple of str
        What the user should know.
    """

    candidates: tuple[int, ...]
    must: tuple[int, ...]
    bridged: tuple[int, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, session: Session, request: MontageRequest, settle_s: float) -> Offer:
        """Check a request against a session; errors name the option, the labels and the rule."""
        montage = session.montage
        must = _rows("--must", request.must, montage)
        forbid = _rows("--forbid", request.forbid, montage)
        _refuse("--must", must, set(forbid), montage, "also named by --forbid. Name it once")
        _refuse("--must", must, set(session.bad), montage, "bad in this session. Leave it out")
        free = [i for i in range(len(montage)) if i not in session.bad and i not in forbid]
        notes: list[str] = []
        if request.cap is not None:
            worn = _cap_rows(request.cap, session, notes)
            outside = set(range(len(montage))) - worn
            _refuse("--must", must, outside, montage, f"not in the cap {request.cap}. Leave it out")
            free = [i for i in free if i in worn]
        paired = {i for pair in session_bridges(session, settle_s) for i in pair}
        bridged = tuple(sorted(paired - set(session.bad)))
        if bridged:
            names = ", ".join(montage.labels[i] for i in bridged)
            notes.append(f"{names}: bridged to another channel: not on offer unless --must has it")
        candidates = tuple(i for i in free if i not in bridged or i in must)
        least, most = max(2, len(must)), min(len(candidates), len(montage) - len(session.bad) - 1)
        if not least <= request.count <= most:
            raise CalibrationError(
                f"--count must be from {least} to {most} ({len(candidates)} channels are on offer, "
                f"{len(must)} must be worn, one must be left to render), got {request.count}."
            )
        return cls(candidates, tuple(must), bridged, tuple(notes))

    def spread(self, montage: Montage, count: int) -> list[int]:
        """Evenly spread candidates, with those that must be worn in place of the nearest."""
        rows = [
            self.candidates[i]
            for i in spread_choice(montage.positions_mm[list(self.candidates)], count)
        ]
        for row in (i for i in self.must if i not in rows):
            loose = [i for i in rows if i not in self.must]
            gaps = montage.positions_mm[loose] - montage.positions_mm[row]
            rows[rows.index(loose[int(np.argmin((gaps**2).sum(axis=1)))])] = row
        return sorted(rows)


def _rows(option: str, labels: Sequence[str], montage: Montage) -> list[int]:
    known = {canonical(label): i for i, label in enumerate(montage.labels)}
    unknown = [label for label in labels if canonical(label) not in known]
    if unknown:
        told = []
        for label in unknown:
            near = get_close_matches(canonical(label), known, n=2)
            names = ", ".join(montage.labels[known[key]] for key in near)
            told.append(f"{label} (did you mean {names}?)" if near else label)
        raise CalibrationError(
            f"{option} must name channels of the recordings, got {'; '.join(told)}. They are: "
            f"{', '.join(montage.labels)}."
        )
    rows = [known[canonical(label)] for label in labels]
    if len(set(rows)) != len(rows):
        raise CalibrationError(f"{option} must name each channel once, got {', '.join(labels)}.")
    return rows


def _refuse(option: str, rows: list[int], among: set[int], montage: Montage, why: str) -> None:
    lost = [montage.labels[i] for i in rows if i in among]
    if lost:
        raise CalibrationError(f"{option} {', '.join(lost)}: {why}.")


def _cap_rows(cap: str, session: Session, notes: list[str]) -> set[int]:
    """Rows that a standard cap has, by label and place: F3 is another place in BioSemi's naming."""
    montage = session.montage
    worn = read_montage(cap, HeadSphere(radius_mm=session.radius_mm))
    places = {canonical(label): i for i, label in enumerate(worn.labels)}
    shared = [i for i, label in enumerate(montage.labels) if canonical(label) in places]
    there = worn.positions_mm[[places[canonical(montage.labels[i])] for i in shared]]
    gaps = np.linalg.norm(montage.positions_mm[shared] - there, axis=1)
    rows = {i for i, gap in zip(shared, gaps, strict=True) if gap < _SAME_PLACE * session.radius_mm}
    if not rows or len(rows) < len(shared) / 2:  # a few may agree by accident
        raise CalibrationError(
            f"--cap {cap} must share labels and places with the recordings, got {len(shared)} "
            f"labels, {len(rows)} of them at the same place; theirs are "
            f"{', '.join(montage.labels[:8])}... Choose a cap of the same naming."
        )
    elsewhere = [montage.labels[i] for i in shared if i not in rows]
    if elsewhere:
        notes.append(f"cap {cap}: {', '.join(elsewhere)} lie elsewhere: not on offer")
    notes.append(f"cap {cap}: {len(rows)} of {len(worn)} positions are channels of the session")
    return rows
