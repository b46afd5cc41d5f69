"""What happens around events: averages and band power, measured beside rendered."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from calibration.report.drawing import COLOURS, embed, new_figure
from calibration.report.elements import escape
from calibration.report.evidence import Evidence
from calibration.report.scores import Scores
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.scores import BANDS_HZ

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE_S = 0.5
AFTER_S = 2.0
LEAST_EVENTS = 5
"""Fewer tell nothing on average."""
MOST_KINDS = 2
_BANDS = ("alpha", "beta")
_NO_EVENT = ("bad", "edge", "boundary", "new segment")


def event_rows(evidence: Evidence) -> dict[str, IndexArray]:
    """Rows of the truth at which events begin, by name, the most frequent ones.

    Parameters
    ----------
    evidence : Evidence
        Recordings with annotations, and where their samples are.

    Returns
    -------
    dict of str to ndarray of int
        Events with unbroken signal around them, at least five of each name.
    """
    before, after = (round(s * evidence.sfreq) for s in (BEFORE_S, AFTER_S))
    found: dict[str, list[int]] = {}
    for which, recording in enumerate(evidence.session.recordings):
        rows = np.flatnonzero(evidence.samples[:, 0] == which)
        samples = evidence.samples[rows, 1]
        for onset, _, name in recording.events:
            sample = round(onset * evidence.sfreq)
            at = int(np.searchsorted(samples, sample))
            first, last = at - before, at + after
            if first < 0 or last >= len(samples) or name.lower().startswith(_NO_EVENT):
                continue
            if samples[first] == sample - before and samples[last] == sample + after:
                found.setdefault(name, []).append(int(rows[at]))
    common = Counter({name: len(rows) for name, rows in found.items()}).most_common(MOST_KINDS)
    return {name: np.array(found[name]) for name, n in common if n >= LEAST_EVENTS}


def events_html(evidence: Evidence, scores: Scores) -> str:
    """A figure for each kind of event; nothing where there are none, or nothing is rendered."""
    kinds = event_rows(evidence) if "field" in evidence.methods else {}
    if not kinds:
        return ""
    errors = scores.channels["field"]
    order = sorted(errors, key=lambda label: errors[label])
    picks = dict.fromkeys(order[round(q * (len(order) - 1))] for q in (0.1, 0.5, 0.9))
    figures = [_figure(evidence, name, rows, list(picks)) for name, rows in kinds.items()]
    return (
        "<p>Means over the events of these recordings at channels that are not worn: one rendered "
        "well, one middling, one badly. r is the correlation of the two lines. Power is in dB, "
        "each relative to its own half second before the event: a rendering has less power "
        "than the truth, but should rise and fall with it.</p>" + "".join(figures)
    )


def _figure(evidence: Evidence, name: str, rows: IndexArray, labels: list[str]) -> str:
    before, after = (round(s * evidence.sfreq) for s in (BEFORE_S, AFTER_S))
    window = np.arange(-before, after)
    seconds = window / evidence.sfreq
    figure = new_figure(1.7 * len(labels) + 0.7)
    places = figure.subplots(len(labels), 1 + len(_BANDS), sharex=True, squeeze=False)
    for line, label in zip(places, labels, strict=True):
        column = evidence.labels.index(label)
        for kind, values in (("truth", evidence.truth), ("field", evidence.methods["field"])):
            signal = values[:, column].astype(float)
            trials = signal[rows[:, None] + window]
            mean = (trials - trials[:, :before].mean(axis=1, keepdims=True)).mean(axis=0)
            _draw(line[0], seconds, mean, kind)
            for axes, band in zip(line[1:], _BANDS, strict=True):
                power = _power(signal, evidence.sfreq, band)[rows[:, None] + window].mean(axis=0)
                _draw(axes, seconds, 10 * np.log10(power / power[:before].mean()), kind)
        line[0].set_ylabel(f"{label}\nµV")
        line[1].set_ylabel("dB")
        for axes in line:
            truth, rendered = (drawn.get_ydata() for drawn in axes.lines)
            axes.set_title(f"r = {np.corrcoef(truth, rendered)[0, 1]:.2f}", fontsize=9, loc="right")
            axes.axvline(0, color="0.8", lw=0.8, zorder=0)
            axes.margins(x=0)
    for axes, text in zip(places[0], ("average", *(f"{b} power" for b in _BANDS)), strict=True):
        axes.set_title(text, fontsize=10, loc="left")
    for axes in places[-1]:
        axes.set_xlabel("seconds from the event")
    figure.legend(
        places[0, 0].lines[:2],
        ("measured", "rendered"),
        loc="outside upper right",
        ncols=2,
        fontsize=9,
    )
    return f"<h3>{escape(name)}: {len(rows)} events</h3>" + embed(
        figure,
        f"Averages and band power around {name} at {', '.join(labels)}: measured and rendered",
    )


def _draw(axes: Axes, seconds: FloatArray, values: FloatArray, kind: str) -> None:
    axes.plot(seconds, values, color=COLOURS[kind], lw=2.4 if kind == "truth" else 1.3)


def _power(signal: FloatArray, sfreq: float, band: str) -> FloatArray:
    """Power in a band over time, smoothed over a quarter of a second."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfiltfilt

    low, high = BANDS_HZ[band]
    sos = butter(3, (low, min(high, 0.45 * sfreq)), "bandpass", fs=sfreq, output="sos")
    return np.asarray(uniform_filter1d(sosfiltfilt(sos, signal) ** 2, max(1, round(0.25 * sfreq))))
