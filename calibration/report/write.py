"""From a calibration, or a bundle and recordings, to the report's file."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from threadpoolctl import threadpool_limits

from calibration.report import page
from calibration.report.around_events import events_html
from calibration.report.better_set import find_better_set
from calibration.report.curves import MAX_S, Curves, Point, measure_curves, n_fits
from calibration.report.elements import paragraph
from calibration.report.evidence import Evidence, from_calibration, from_recordings
from calibration.report.facts import Facts, Verdict
from calibration.report.gaussians import make_clip
from calibration.report.heads import electrodes_figure
from calibration.report.one_file import Section, save_page
from calibration.report.player import player_html
from calibration.report.quality import NOISY_SHARE, Quality, look_at
from calibration.report.scores import Scores, score
from calibration.report.verdict import judge
from calibration.result import Calibration
from emag_rt.bundle import Bundle
from emag_rt.core.grades import grade_of
from emag_rt.core.labels import canonical
from emag_rt.errors import EmagError
from emag_rt.files import shown_name

log = logging.getLogger(__name__)
Tell = Callable[[float, str], None]
CurveChoice = Literal["auto", "yes", "no"]
CURVES_S = 30.0
"""With ``auto`` the curves are left out where they would take longer than this."""


def report_of_calibration(
    calibration: Calibration, sha256: str, path: str | Path, tell: Tell | None = None
) -> Verdict:
    """Write the report of a calibration that has just been made.

    Parameters
    ----------
    calibration : Calibration
        What it gave.
    sha256 : str
        Of the bundle's file.
    path : path-like
        HTML file to write.
    tell : callable, optional
        Called with the share done (0 to 1) and what is being done.

    Returns
    -------
    Verdict
        What stands at its top.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    return _write(lambda: from_calibration(calibration, sha256), path, "auto", tell)


def report_of_bundle(
    bundle: Bundle,
    recordings: Sequence[str | Path],
    path: str | Path,
    curves: CurveChoice = "auto",
    tell: Tell | None = None,
) -> Verdict:
    """Write a report of a bundle on recordings.

    Parameters
    ----------
    bundle : Bundle
        Loaded from its file.
    recordings : sequence of path-like
        HD recordings. Those that the calibration has not seen count; where there is none, its
        own are cross-validated again.
    path : path-like
        HTML file to write.
    curves : {"auto", "yes", "no"}
        Curves of length and look-ahead; ``auto``: where they take under half a minute, about.
    tell : callable, optional
        Called with the share done (0 to 1) and what is being done.

    Returns
    -------
    Verdict
        What stands at its top.

    Raises
    ------
    EmagError
        If the recordings do not fit the bundle, or the file cannot be written.
    """
    return _write(lambda: from_recordings(bundle, recordings), path, curves, tell)


def _write(
    make: Callable[[], Evidence], path: str | Path, curves: CurveChoice, tell: Tell | None
) -> Verdict:
    say = tell or (lambda _share, _what: None)
    started = time.perf_counter()
    with threadpool_limits(1, user_api="blas"):  # as in calibration: small problems
        say(0.0, "report: truth and renderings")
        evidence = make()
        took = time.perf_counter() - started
        say(0.3, "report: scores")
        scores, quality = score(evidence), look_at(evidence.session)
        say(0.4, "report: curves of length and look-ahead")
        found = _curves(evidence, curves, took)
        say(0.8, "report: figures")
        verdict = judge(_facts(evidence, scores, quality, found, took))
        sections = _sections(evidence, scores, quality, verdict)
        curious = _curious(evidence, scores, found)
    made = datetime.datetime.now(datetime.UTC)
    provenance = page.provenance_html(evidence, made, time.perf_counter() - started)
    save_page(
        evidence.bundle.manifest,
        made,
        _about(evidence),
        sections,
        [*curious, ("Provenance", provenance)],
        path,
    )
    say(1.0, "report: done")
    return verdict


def _about(evidence: Evidence) -> str:
    names = ", ".join(shown_name(r.path) for r in evidence.session.recordings)
    if evidence.held_out:
        return f"Scored on {names}, which the calibration has not seen."
    return f"Scored on its own recordings, cross-validated: {names}."


def _sections(
    evidence: Evidence, scores: Scores, quality: Quality, verdict: Verdict
) -> list[Section]:
    events = events_html(evidence, scores)
    return [
        ("Verdict", page.verdict_html(verdict)),
        ("What to do", page.advice_html(verdict)),
        ("The head", _head(evidence)),
        ("Channels", page.channels_html(quality, scores)),
        ("Bands", page.bands_html(evidence, scores)),
        *([("Events", events)] if events else []),
        ("Recordings", page.quality_html(quality)),
    ]


def _head(evidence: Evidence) -> str:
    if "field" in evidence.methods:
        return player_html(evidence)
    return paragraph(
        "Not shown: the training of this field is not repeated here. Give a recording that it has "
        "not seen to emag-rt report."
    )


def _curious(evidence: Evidence, scores: Scores, curves: Curves) -> list[Section]:
    return [
        ("Methods compared", page.methods_html(evidence, scores)),
        ("Longer recording, longer wait", page.curves_html(curves)),
        ("Electrodes", electrodes_figure(evidence)),
        ("Traces and spectra", page.signals_html(evidence, scores)),
        ("Gaussians of the field", _gaussians(evidence)),
    ]


def _gaussians(evidence: Evidence) -> str:
    if evidence.bundle.model.forward is not None:
        return (
            "<p>This field has a forward matrix in the place of Gaussians in space: there is "
            "nothing to draw.</p>"
        )
    try:
        return page.gaussians_html(evidence, make_clip(evidence.bundle, evidence.session))
    except EmagError as error:
        log.warning("the Gaussians are not shown: %s", error)
        return paragraph(f"Not shown: {error}")


def _curves(evidence: Evidence, choice: CurveChoice, made_s: float) -> Curves:
    if choice == "no" or evidence.bundle.manifest.anchor != "stream":
        reason = "not asked for" if choice == "no" else "they are for fields of the stream alone"
        return Curves(note=f"Curves of length and look-ahead were left out: {reason}.")
    cost = _fit_s(evidence, made_s) * n_fits(evidence)
    if choice == "auto" and cost > CURVES_S:
        return Curves(
            note=f"Curves of length and look-ahead were left out: they would take about "
            f"{cost:.0f} s. For them: emag-rt report BUNDLE RECORDING --curves yes"
        )
    return measure_curves(evidence)


def _facts(
    evidence: Evidence, scores: Scores, quality: Quality, curves: Curves, took_s: float
) -> Facts:
    channels = scores.channels.get("field", {})
    # By what they are: a recording may say T3 where the bundle says T7.
    distances = {canonical(c.label): c.nearest_ld_mm for c in quality.channels}
    places = {label: distances.get(canonical(label)) for label in channels}
    nmse = scores.methods.get("field", float("nan"))
    return Facts(
        nmse=nmse,
        spline=scores.methods.get("spherical_spline"),
        lagged_ridge=scores.methods.get("lagged_ridge"),
        channels=channels,
        bands=scores.bands.get("field", {}),
        held_out=evidence.held_out,
        noisy=[c.label for c in quality.channels if c.line_share > NOISY_SHARE],
        nearest_ld_mm={label: mm for label, mm in places.items() if mm is not None},
        hd_measured=evidence.bundle.manifest.hd_measured,
        misfits=evidence.misfits,
        missing_people=evidence.missing_people,
        interpolated=any("too few in rank" in note for note in evidence.session.warnings),
        **_other_set(evidence, nmse, took_s),
        longer_gain=_longer_gain(evidence, curves),
        waiting_gain=_waiting_gain(evidence, curves),
        **_of_calibration(evidence, quality),
    )


class _OtherSet(TypedDict, total=False):
    """Facts of electrodes that would do better."""

    other_set: tuple[str, ...]
    other_nmse: float
    other_cost_s: float


def _other_set(evidence: Evidence, nmse: float, took_s: float) -> _OtherSet:
    """Sought where the rendering is not good, on the recordings that the headline is of."""
    is_stream = evidence.bundle.manifest.anchor == "stream"
    if evidence.held_out or not is_stream or grade_of(nmse) == "good":
        return {}
    try:
        found = find_better_set(evidence, _fit_s(evidence, took_s))
    except EmagError as error:
        log.warning("no other electrodes were sought: %s", error)
        return {}
    if not found.labels:
        return {"other_cost_s": found.cost_s}
    return {"other_set": found.labels, "other_nmse": found.nmse * evidence.left_by_networks}


def _fit_s(evidence: Evidence, made_s: float) -> float:
    """Seconds that a closed form takes."""
    seconds = evidence.bundle.manifest.calibration.get("seconds")
    return float(seconds.get("closed_form", made_s)) if isinstance(seconds, dict) else made_s


class _OfCalibration(TypedDict):
    """Facts of how it was calibrated."""

    seconds: float | None
    n_channels: int
    bad: list[str]
    bad_here: list[str]


def _of_calibration(evidence: Evidence, quality: Quality) -> _OfCalibration:
    """How it was calibrated: recordings that it has not seen say nothing of that."""
    bad = [c.label for c in quality.channels if c.role == "bad"]
    if not evidence.held_out:
        return {
            "seconds": quality.used_s,
            "n_channels": len(quality.channels),
            "bad": bad,
            "bad_here": [],
        }
    manifest = evidence.bundle.manifest
    known = {canonical(e.label) for e in manifest.hd if e.bad}
    return {
        "seconds": manifest.calibrated_s,
        "n_channels": len(manifest.hd),
        "bad": [e.label for e in manifest.hd if e.bad],
        "bad_here": [label for label in bad if canonical(label) not in known],
    }


def _longer_gain(evidence: Evidence, curves: Curves) -> float | None:
    """Share of the error that twice the length took away; None where it is not known."""
    # The curve ends before the calibration does where the session is longer than it looks at.
    whole_session = evidence.session.duration_s <= MAX_S and not evidence.held_out
    if len(curves.lengths) < 2 or not whole_session:
        return None
    half, whole = curves.lengths[-2:]
    return _gain(half, whole)


def _waiting_gain(evidence: Evidence, curves: Curves) -> float | None:
    """Share of the error that waiting would take away; None where it is not known."""
    points, waits = curves.look_aheads, evidence.bundle.manifest.look_ahead_samples > 0
    if len(points) < 2 or points[0].look_ahead_s != 0 or waits:
        return None
    return _gain(points[0], points[-1])


def _gain(before: Point, after: Point) -> float | None:
    gain = 1 - float(after.field / before.field)
    return gain if np.isfinite(gain) else None
