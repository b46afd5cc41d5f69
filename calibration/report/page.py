"""What each section of the page says."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

import numpy as np

from calibration.report.curves import Curves
from calibration.report.drawing import NAMES
from calibration.report.elements import bullets, escape, facts_table, hashed, number, table
from calibration.report.evidence import Evidence
from calibration.report.facts import Verdict
from calibration.report.gaussians import Clip, contributions
from calibration.report.heads import (
    band_maps,
    gaussians_figure,
    method_maps,
)
from calibration.report.quality import Quality
from calibration.report.scores import Scores
from calibration.report.signals import (
    curves_figure,
    cuts_figure,
    quality_figure,
    spectra_figure,
    traces_figure,
)
from calibration.report.viewer import viewer_html
from calibration.scores.modes import SPREAD, ModeScores
from emag_rt import __version__
from emag_rt.bundle import Manifest
from emag_rt.core.grades import FAIR_NMSE, GOOD_NMSE, Grade
from emag_rt.core.labels import canonical
from emag_rt.files import shown_name
from emag_rt.recordings.read import Recording

_WORDS: dict[Grade, str] = {"good": "Good", "fair": "With care", "poor": "Do not trust"}


def verdict_html(verdict: Verdict) -> str:
    """What to trust."""
    rows = [
        [
            word,
            _some(verdict.channels[grade], verdict.channels),
            ", ".join(verdict.bands[grade]) or "–",
        ]
        for grade, word in _WORDS.items()
    ]
    known = any(verdict.bands.values())
    head = ["", "channels that are not worn", "frequency bands" if known else "bands: not known"]
    return (
        f'<p class="headline {verdict.grade}">{escape(verdict.headline)}</p>'
        + table(head, rows)
        + f"<p><small>Good: at most {100 * GOOD_NMSE:g} % of the power is wrong (correlation with "
        f"the truth about 0.9 or more). With care: at most {100 * FAIR_NMSE:g} % (about 0.7). NMSE "
        "is that share, as a number.</small></p>"
    )


def advice_html(verdict: Verdict) -> str:
    """What to do, and how far to believe the verdict."""
    return bullets(verdict.advice) + "<h3>How far to believe this</h3>" + bullets(verdict.caveats)


def quality_html(quality: Quality) -> str:
    """Channels, and what was cut out."""
    odd = [c for c in quality.channels if c.states]
    total = sum(cut.total_s for cut in quality.cuts)
    lines = [
        f"<p>{quality.used_s:.0f} s of {total:.0f} s were used, after the filter's first second "
        f"in each stretch. {len(odd)} of {len(quality.channels)} channels need a look"
        f"{': ' + ', '.join(escape(c.label) for c in odd) if odd else ''}.</p>",
        cuts_figure(quality),
    ]
    reasons = [f"{cut.name}: {reason}" for cut in quality.cuts for reason in cut.reasons]
    # What is said of single channels stands in the table.
    reasons += [text for text in quality.remarks if not text.startswith("channel ")]
    lines.append(bullets(reasons) if reasons else "")
    lines.append(quality_figure(quality))
    return "".join(lines)


def channels_html(quality: Quality, scores: Scores) -> str:
    """Every channel: what it is, how far wrong it is, what is the matter with it."""
    errors = {canonical(label): e for label, e in scores.channels.get("field", {}).items()}
    odd = [c for c in quality.channels if c.states]
    mains = "" if quality.mains_hz is None else f" {quality.mains_hz:g} Hz"
    columns = {
        "channel": "Name of the electrode",
        "is": "worn: passed through as measured. rendered: not worn, made from the worn ones. "
        "bad: not learned from, rendered from its place alone",
        "#error, %": "Share of the channel's power that is rendered wrongly (NMSE): 0 is perfect, "
        "100 is silence. Nothing for channels that are worn, bad or bridged to a worn one",
        "#to nearest worn, mm": "Straight distance to the nearest electrode that is worn",
        "#rms, µV": "Usual amplitude between 1 and 45 Hz, in the recording's own reference",
        f"#mains{mains}, µV": "Hum of the mains, as recorded",
        "#mains, % of power": "Share of the mains in the power from 1 Hz up",
        "what is the matter": "marked bad, flat, wild, bridged to another channel, mains",
    }
    rows = [
        [
            c.label,
            {"LD": "worn"}.get(c.role, c.role),
            number(100 * errors.get(canonical(c.label), np.nan), ".0f"),
            f"{c.nearest_ld_mm:.0f}",
            f"{c.amplitude_uv:.1f}",
            number(c.line_uv, ".2f"),
            number(100 * c.line_share, ".1f"),
            "; ".join(c.states) or "–",
        ]
        for c in sorted(quality.channels, key=lambda c: not c.states)
    ]
    return "<p>Click a heading to sort; rest on it to read what it means.</p>" + table(
        list(columns), rows, len(odd), list(columns.values())
    )


def _modes(modes: Mapping[str, ModeScores]) -> str:
    """How each mode of ``--statistics`` behaves."""
    bands = list(modes["truth"].power)
    rows = [
        [
            name,
            number(mode.nmse, ".4f"),
            f"{mode.rank}",
            mode.spread,
            *(number(mode.power[band], ".2f") for band in bands),
        ]
        for name, mode in modes.items()
    ]
    head = ["--statistics", "#NMSE", "#rank", f"#{SPREAD}"]
    return (
        "<p>How rendered channels behave in each mode of <code>--statistics</code>, beside the "
        "truth: rank and eigenvalues of their covariance, and their power over the true one.</p>"
        + table([*head, *(f"#{band}" for band in bands)], rows)
    )


def bands_html(evidence: Evidence, scores: Scores) -> str:
    """Errors of the field by frequency, beside the baselines, and where they are."""
    bands = list(next(iter(scores.bands.values()), {}))
    rows = [
        [
            NAMES[name],
            f"{100 * value:.1f}",
            *(number(100 * scores.bands.get(name, {}).get(band, np.nan), ".0f") for band in bands),
        ]
        for name, value in scores.methods.items()
    ]
    how = (
        "Recordings that the calibration has not seen, through the engine that serves."
        if evidence.held_out
        else "Cross-validated: every stretch by a fit that had not seen it."
    )
    return (
        f"<p>Per cent of the power that is wrong (NMSE), on the {len(evidence.unseen)} channels "
        f"that are neither worn nor bridged to a worn one. {how}</p>"
        + table(["method", "#all", *(f"#{band}" for band in bands)], rows)
        + _of_which_fit(evidence, scores)
        + band_maps(evidence, scores)
    )


def _of_which_fit(evidence: Evidence, scores: Scores) -> str:
    """Where bands are of another fit than the headline, say so."""
    if "field" not in scores.bands:
        return (
            "<p>Bands of this field are not known: its training is not repeated here. Give a "
            "recording that it has not seen to <code>emag-rt report</code>.</p>"
        )
    if not evidence.held_out and evidence.left_by_networks < 1:
        return (
            "<p>The headline, and the column of all frequencies, are of the whole field. Bands, "
            "heads, traces and spectra are of its closed form; its networks leave "
            f"{evidence.left_by_networks:.3f} of that error.</p>"
        )
    return ""


def methods_html(evidence: Evidence, scores: Scores) -> str:
    """Where each method errs, and how the modes of the output behave."""
    return method_maps(evidence, scores) + (_modes(scores.modes) if scores.modes else "")


def curves_html(curves: Curves) -> str:
    """What a longer recording and a longer wait would give."""
    lines = [curves_figure(curves)]
    if curves.lengths or curves.look_aheads:
        lines.append(
            "<p>These are other fits than the headline's: the closed form, fitted again on the end "
            f"of the session before its last {curves.test_s:.0f} s, and tested on those. Compare "
            "the points of a curve with each other, not with the headline.</p>"
        )
    lines.append(f"<p>{escape(curves.note)}</p>" if curves.note else "")
    return "".join(lines)


def signals_html(evidence: Evidence, scores: Scores) -> str:
    """Traces and spectra."""
    return (
        "<p>Channels that are not worn, one rendered well, one middling, one badly, in a stretch "
        "of usual power; none of it was seen by the fit that rendered it. Where the field and "
        "lagged ridge agree, one line hides the other.</p>"
        + traces_figure(evidence, scores)
        + "<p>Spectra are means over these channels. A rendering has less power than the truth "
        "where it is unsure; matched and simulated are other modes of <code>--statistics</code>."
        "</p>" + spectra_figure(evidence)
    )


def gaussians_html(evidence: Evidence, clip: Clip) -> str:
    """The mixture, drawn."""
    bundle = evidence.bundle
    field = bundle.model.field
    return (
        f"<p>{field.n_points * field.n_gaussians} Gaussians: {field.n_gaussians} in time at each "
        f"of {field.n_points} points of a grid in the head. They describe the potential at the "
        "scalp; they are <b>not</b> sources in the brain.</p>"
        + gaussians_figure(bundle, contributions(bundle, clip))
        + "<h3>In three dimensions and in time</h3>"
        + viewer_html(bundle, clip)
    )


def provenance_html(evidence: Evidence, made: datetime.datetime, took_s: float) -> str:
    """Where all this comes from; names of files, not where they lie."""
    recordings = evidence.session.recordings
    return provenance_table(evidence.bundle.manifest, evidence.sha256, recordings, made, took_s)


def provenance_table(
    manifest: Manifest,
    sha256: str,
    recordings: Sequence[Recording],
    made: datetime.datetime,
    took_s: float,
) -> str:
    """Where a bundle and a report of recordings come from; arguments as they are called."""
    facts = manifest.provenance
    versions = facts.get("versions")
    inputs = facts.get("inputs")
    rows = [
        ["bundle", escape(manifest.name)],
        ["SHA-256 of the bundle", hashed(sha256)],
        ["calibrated", escape(manifest.created)],
        ["this report", escape(f"{made.isoformat(timespec='seconds')}, made in {took_s:.0f} s")],
        ["emag_rt of this report", escape(__version__)],
    ]
    if isinstance(versions, dict):
        rows.append(["calibrated with", escape(", ".join(f"{k} {v}" for k, v in versions.items()))])
    prior = manifest.calibration.get("prior")
    if isinstance(prior, dict):
        told = (
            f"{prior.get('name')} ({prior.get('n_people')} people), counted as "
            f"{prior.get('counts_as_s')} s of signal"
        )
        rows.append(["other people", escape(told)])
    if facts.get("git_commit"):
        rows.append(["git commit", hashed(facts["git_commit"])])
    for entry in inputs if isinstance(inputs, list) else []:
        if isinstance(entry, dict):
            digest = hashed(entry.get("sha256", ""))
            rows.append(["calibrated on", f"{escape(entry.get('file', ''))}<br>{digest}"])
    for recording in recordings:
        digest = hashed(recording.sha256)
        rows.append(["this report is of", f"{escape(shown_name(recording.path))}<br>{digest}"])
    low, high = manifest.frontend.band_hz
    rows.append(
        [
            "signal path",
            f"{manifest.sfreq:g} Hz, {low:g} to {high:g} Hz, look-ahead "
            f"{1e3 * manifest.look_ahead_s:g} ms, {len(manifest.ld)} worn of {len(manifest.hd)} "
            f"channels, anchor {escape(manifest.anchor)}",
        ]
    )
    return facts_table(rows)


def _some(names: Sequence[str], everything: Mapping[Grade, tuple[str, ...]]) -> str:
    total = sum(len(each) for each in everything.values())
    return f"{len(names)} of {total}: {', '.join(names)}" if names else "–"
