"""Figures of signals: traces, spectra, curves, channel quality, what was cut out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from calibration.report.curves import Curves, Point
from calibration.report.drawing import COLOURS, LD_COLOUR, NAMES, embed, new_figure
from calibration.report.evidence import Evidence
from calibration.report.quality import Quality
from calibration.report.scores import Scores, spectra
from emag_rt.array_types import Float32Array
from emag_rt.core.scores import BANDS_HZ

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRACE_S = 4.0
_METHODS = ("truth", "lagged_ridge", "field")


def traces_figure(evidence: Evidence, scores: Scores) -> str:
    """A channel rendered well, a middling one and a bad one, over a stretch of median power."""
    # A bundle without baselines has no lagged ridge; fields of windows, no field of their own.
    errors = scores.channels["field" if "field" in scores.channels else "lagged_ridge"]
    order = sorted(errors, key=lambda label: errors[label])
    picks = [order[round(q * (len(order) - 1))] for q in (0.1, 0.5, 0.9)]
    picks = list(dict.fromkeys(picks))
    n = min(len(evidence.truth), round(TRACE_S * evidence.sfreq))
    start = typical_start(evidence.truth[:, list(evidence.unseen)], n)
    seconds = np.arange(n) / evidence.sfreq
    figure = new_figure(2.0 * len(picks) + 0.6)
    axes = np.atleast_1d(figure.subplots(len(picks), 1, sharex=True))
    for place, label in zip(axes, picks, strict=True):
        column = evidence.labels.index(label)
        for name in _METHODS:
            values = evidence.truth if name == "truth" else evidence.methods.get(name)
            if values is not None:
                place.plot(
                    seconds,
                    values[start : start + n, column],
                    color=COLOURS[name],
                    lw=2.6 if name == "truth" else 1.1,
                    ls="--" if name == "lagged_ridge" else "-",
                    label=NAMES[name],
                )
        place.set(ylabel="µV")
        place.set_title(f"{label}, NMSE {errors[label]:.3f}", fontsize=10, loc="left")
        place.margins(x=0)
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9)
    axes[-1].set(xlabel="time (s)")
    shown = " and ".join(NAMES[n] for n in _METHODS if n == "truth" or n in evidence.methods)
    return embed(figure, f"Traces of {', '.join(picks)}: {shown}")


def typical_start(truth: Float32Array, n: int) -> int:
    """Where a stretch of ``n`` samples of median power begins."""
    starts = range(0, max(1, len(truth) - n + 1), max(1, n // 2))
    power = [(float((truth[a : a + n] ** 2).mean()), a) for a in starts]
    return sorted(power)[len(power) // 2][1]


def spectra_figure(evidence: Evidence) -> str:
    """Mean spectra over unseen channels, in the pass band."""
    freqs, power = spectra(evidence)
    low, high = evidence.bundle.manifest.frontend.band_hz
    rows = (freqs >= max(low, 1.0)) & (freqs <= min(high, evidence.sfreq / 2))
    figure = new_figure(3.8)
    axes = figure.subplots()
    for name in ("truth", "ridge", "lagged_ridge", "field", "matched", "simulated"):
        if name in power:
            axes.semilogy(
                freqs[rows],
                power[name][rows],
                color=COLOURS[name],
                lw=3 if name == "truth" else 1.4,
                ls={"lagged_ridge": "--", "matched": "-.", "simulated": ":"}.get(name, "-"),
                label=NAMES[name],
            )
    for band, (a, b) in BANDS_HZ.items():
        if a < freqs[rows][-1]:
            axes.axvline(a, color="0.85", lw=0.8, zorder=0)
            middle = 0.5 * (a + min(b, freqs[rows][-1]))
            axes.text(
                middle,
                0.98,
                band,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=8,
                color="0.35",
            )
    axes.set(xlabel="frequency (Hz)", ylabel="power (µV²/Hz)")
    axes.margins(x=0)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92), fontsize=9)
    return embed(figure, "Power spectra, mean over channels that are not worn: truth and rendered")


def curves_figure(curves: Curves) -> str:
    """Error against calibration length and look-ahead; nothing where neither was measured."""
    if not curves.lengths and not curves.look_aheads:
        return ""
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2)
    _curve(left, curves.lengths, lambda p: p.seconds)
    left.set(xlabel="seconds calibrated on", ylabel="NMSE, channels not worn")
    left.set_title("calibration length", fontsize=11)
    _curve(right, curves.look_aheads, lambda p: 1e3 * p.look_ahead_s)
    right.set(xlabel="look-ahead (ms)")
    right.set_title("look-ahead: what waiting buys", fontsize=11)
    left.legend(fontsize=9)
    return embed(figure, "Error against calibration length and against look-ahead")


def _curve(axes: Axes, points: tuple[Point, ...], place: Callable[[Point], float]) -> None:
    x = [place(p) for p in points]
    for name, marker in (("lagged_ridge", "s--"), ("field", "o-")):
        y = [getattr(p, name) for p in points]
        text = "field (closed form)" if name == "field" else NAMES[name]
        axes.plot(x, y, marker, color=COLOURS[name], label=text, mfc="white", ms=7)
        if name == "field":
            for a, b in zip(x, y, strict=True):
                axes.annotate(
                    f"{b:.3f}",
                    (a, b),
                    xytext=(0, -14),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                    color=COLOURS[name],
                )
    axes.set_xticks(x, [f"{value:.0f}" for value in x])
    axes.margins(x=0.12, y=0.25)
    low, high = axes.get_ylim()
    room = max(0.0, 0.3 * high - (high - low))  # small differences shall look small
    axes.set_ylim(max(0.0, low - 0.7 * room), high + 0.3 * room)
    axes.grid(alpha=0.3)


def quality_figure(quality: Quality) -> str:
    """Amplitude and line noise of every channel, the odd ones named by colour."""
    channels = quality.channels
    figure = new_figure(4.4 if quality.mains_hz else 2.6)
    rows = figure.subplots(2 if quality.mains_hz else 1, 1, sharex=True, squeeze=False)[:, 0]
    x = np.arange(len(channels))
    colours = [
        "#c1272d" if c.states else LD_COLOUR if c.role == "LD" else "#8fb3d9" for c in channels
    ]
    rows[0].bar(x, [c.amplitude_uv for c in channels], color=colours)
    loud = [c.amplitude_uv for c in channels]
    # Logarithmic only where it must be: bars should start at nothing.
    rows[0].set(ylabel="rms (µV)", yscale="log" if max(loud) > 20 * np.median(loud) else "linear")
    rows[0].set_title(
        "amplitude, 1 to 45 Hz, in the recording's reference", fontsize=10, loc="left"
    )
    if quality.mains_hz:
        rows[1].bar(x, [100 * c.line_share for c in channels], color=colours)
        top = float(np.nanmax([100 * c.line_share for c in channels]))
        rows[1].set(ylabel="% of power", ylim=(0, min(100, max(10, 1.2 * top))))
        rows[1].set_title(f"line noise at {quality.mains_hz:g} Hz", fontsize=10, loc="left")
    step = max(1, len(channels) // 64)
    rows[-1].set_xticks(x[::step], [c.label for c in channels][::step], rotation=90, fontsize=8)
    rows[-1].set_xlim(-0.7, len(channels) - 0.3)
    from matplotlib.patches import Patch

    kinds = {"worn (LD)": LD_COLOUR, "rendered": "#8fb3d9", "see the table": "#c1272d"}
    rows[0].legend(
        handles=[Patch(color=c, label=t) for t, c in kinds.items()],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    return embed(figure, "Amplitude and line noise of every channel")


def cuts_figure(quality: Quality) -> str:
    """What of each recording was used."""
    figure = new_figure(0.8 + 0.45 * len(quality.cuts))
    axes = figure.subplots()
    for row, cut in enumerate(quality.cuts):
        axes.broken_barh([(0, cut.total_s)], (row - 0.3, 0.6), color="#c1272d")
        axes.broken_barh([(a, b - a) for a, b in cut.used], (row - 0.3, 0.6), color="#8fb3d9")
    axes.set_yticks(range(len(quality.cuts)), [cut.name for cut in quality.cuts])
    axes.set(xlabel="time (s)", ylim=(len(quality.cuts) - 0.4, -0.6))
    axes.margins(x=0)
    return embed(
        figure,
        "Time lines of the recordings, used and cut out",
        "Blue: used. Red: cut out.",
    )
