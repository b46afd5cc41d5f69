"""The report of a bundle that was made without HD: what to expect, and how sure that is."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import numpy as np

from calibration.population.no_hd import NoHdCalibration
from calibration.report.elements import escape, facts_table, number, paragraph, table
from calibration.report.facts import Verdict
from calibration.report.heads import error_maps
from calibration.report.one_file import save_page
from calibration.report.page import advice_html, provenance_table, verdict_html
from emag_rt.core.grades import NOT_BETTER, Grade, grade_of

_NAMES = {
    "field": "other people's field (rendered)",
    "spherical_spline": "spherical spline",
    "minimum_norm": "minimum norm",
    "field_interpolation": "MNE's field interpolation",
}
_HIGH = 90
"""Grades go by the person who is worse off than so many of a hundred."""


def report_without_hd(made: NoHdCalibration, sha256: str, path: str | Path) -> Verdict:
    """Write the report.

    Parameters
    ----------
    made : NoHdCalibration
        What was made.
    sha256 : str
        Of the bundle's file.
    path : path-like
        HTML file to write.

    Returns
    -------
    Verdict
        What stands at its top.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    started = time.perf_counter()
    verdict = judge_without_hd(made)
    sections = [
        ("Verdict", verdict_html(verdict)),
        ("What to do", advice_html(verdict)),
        ("What to expect", _expected_html(made)),
        ("Whose field it is", _population_html(made)),
    ]
    when = datetime.datetime.now(datetime.UTC)
    manifest = made.bundle.manifest
    provenance = provenance_table(manifest, sha256, (), when, time.perf_counter() - started)
    about = f"No HD session: the field is that of {made.population.n_people} other people."
    save_page(manifest, when, about, sections, [("Provenance", provenance)], path)
    return verdict


def judge_without_hd(made: NoHdCalibration) -> Verdict:
    """The verdict, by what the population's own people would have got.

    Parameters
    ----------
    made : NoHdCalibration
        What was made.

    Returns
    -------
    Verdict
        Never good as a whole: it is not this head that the numbers are about.
    """
    nmse = made.expected.nmse()
    low, middle, high = (float(v) for v in np.percentile(nmse, [100 - _HIGH, 50, _HIGH]))
    over = float(np.median(nmse / made.expected.nmse("spherical_spline")))
    grade: Grade = "poor" if over > NOT_BETTER or grade_of(high) == "poor" else "fair"
    word = {"poor": "Do not rely on it", "fair": "Usable with care"}[grade]
    headline = (
        f"{word}: nobody's HD was measured. With other people's field about {100 * middle:.0f} % "
        f"of the power of the channels that are not worn is rendered wrongly ({100 * low:.0f} to "
        f"{100 * high:.0f} % for eight of ten people)."
    )
    channels: dict[Grade, list[str]] = {"good": [], "fair": [], "poor": []}
    for label, error in _channel_errors(made, _HIGH).items():
        channels[grade_of(error)].append(label)
    return Verdict(
        grade,
        headline,
        {key: tuple(labels) for key, labels in channels.items()},
        {"good": (), "fair": (), "poor": ()},
        (
            "Whoever can borrow an HD cap for two to five minutes should: calibrated on the "
            "wearer, the same electrodes do better.",
            *(
                ()
                if made.wearer.seconds
                else ("Give a minute of the LD channels: scale and noise are then the wearer's.",)
            ),
        ),
        (
            f"These numbers are about {made.population.n_people} other people, each rendered by "
            "the field of the rest. The wearer may be outside their range: another age, another "
            "state, another cap.",
            "Channels are graded by the person who is worse off than nine of ten.",
            "Bands are not known; what is above 30 Hz is mostly muscle and should not be believed.",
            "Rendered channels hold nothing that the worn electrodes do not, and have less power "
            "than the truth where they are unsure: do not count them as independent measurements.",
        ),
    )


def _channel_errors(made: NoHdCalibration, percentile: float) -> dict[str, float]:
    errors = np.percentile(made.expected.error / made.expected.power, percentile, axis=0)
    labels = [made.hd.labels[row] for row in made.rendered]
    return dict(zip(labels, map(float, errors), strict=True))


def _expected_html(made: NoHdCalibration) -> str:
    expected = made.expected
    rows = []
    for name in ("field", *expected.spatial):
        nmse, over = expected.nmse(name), expected.nmse("spherical_spline")
        cells = np.percentile(nmse, [50, 10, 90, 100])
        rows.append(
            [
                _NAMES.get(name, name),
                *(number(float(v), ".3f") for v in cells),
                number(float(np.median(nmse / over)), ".2f"),
            ]
        )
    head = ["method", "#usual person", "#one in ten below", "#one in ten above", "#worst"]
    usual = _channel_errors(made, 50)
    columns = {"usual": usual, "high": _channel_errors(made, _HIGH)}
    titles = {"usual": "usual person", "high": "one in ten is above"}
    # A map of the head needs a few electrodes.
    heads = len(made.hd) >= 8 and bool(usual)
    return (
        f"<p>NMSE on the {len(made.rendered)} channels that are not worn: 0 is perfect, 1 is "
        f"silence. {escape(str(made.bundle.manifest.scores['protocol']))}.</p>"
        + table([*head, "#over the spline"], rows)
        + (error_maps(made.bundle.manifest, columns, titles, "as expected") if heads else "")
    )


def _network_text(made: NoHdCalibration) -> str:
    if made.network is None:
        return "none: the field alone"
    left = made.network.facts(len(made.ld))
    return (
        f"leaves {left['error_left']:.2f} of the field's error on the usual person that it never "
        f"saw, {left['error_left_worst']:.2f} on the worst; counted in the errors above"
    )


def _population_html(made: NoHdCalibration) -> str:
    people, wearer = made.population, made.wearer
    amplitude = f"{wearer.amplitude_uv:.2g} µV"
    source = f"from {wearer.seconds:.0f} s of LD" if wearer.seconds else "other people's"
    rows = [
        ["population", f"{people.name}, {people.n_people} people"],
        *([key, people.texts[key]] for key in ("dataset", "licence", "attribution", "people")),
        ["made by", people.texts["command"]],
        ["amplitude of this bundle", f"{amplitude}, {source}"],
        ["noise of an electrode", f"{100 * wearer.noise:.1f} % of the power"],
        ["network trained on these people", _network_text(made)],
    ]
    told = facts_table([[name, escape(value)] for name, value in rows])
    return told + "".join(map(paragraph, made.notes))
