"""Figures of the report, from the rows of the experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emag_rt.files import replacing
from tools.studies.simulation.markdown import METHODS, Rows, unique

_WORST = 4.0
"""End of the axis of NMSE over the floor; what lies beyond is written out."""
_COLORS = ("#0b5fa5", "#c1440e", "#3a8f3a", "#7a4fa3", "#6b6b6b", "#b8860b", "#008b8b", "#222222")


def draw_all(rows: dict[str, Rows], folder: Path) -> list[Path]:
    """Draw every figure for which there are rows.

    Parameters
    ----------
    rows : dict of str to sequence of dict
        Results by experiment.
    folder : Path
        Where to.

    Returns
    -------
    list of Path
        ``simulation_*.png``.
    """
    makers: dict[str, tuple[str, Callable[[Any, dict[str, Rows]], None]]] = {
        "simulation_floor.png": ("floor", _floor),
        "simulation_localisation.png": ("localisation", _localisation),
        "simulation_space.png": ("space", _space),
        "simulation_time.png": ("time", _time),
    }
    # The object interface needs no display and leaves pyplot's state alone.
    from matplotlib.figure import Figure

    drawn = []
    for name, (needs, draw) in makers.items():
        if rows.get(needs):
            figure = Figure(layout="constrained")
            draw(figure, rows)
            with replacing(folder / name) as beside:
                figure.savefig(beside, dpi=110)
            drawn.append(folder / name)
    return drawn


def _mean_range(
    axes: Any, x: Sequence[float], groups: Sequence[Sequence[float]], **style: Any
) -> None:
    """A line through the means, a band over the range."""
    axes.plot(x, [np.mean(g) for g in groups], **style)
    low, high = [min(g) for g in groups], [max(g) for g in groups]
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _floor(figure: Any, rows: dict[str, Rows]) -> None:
    data = rows["floor"]
    conditions, n_lds = unique(data, "condition"), unique(data, "n_ld")
    figure.set_size_inches(9.0, 3.2 * len(n_lds))
    panels = figure.subplots(len(n_lds), len(conditions), squeeze=False, sharey="row")
    for i, n_ld in enumerate(n_lds):
        for j, condition in enumerate(conditions):
            axes = panels[i][j]
            part = [r for r in data if r["condition"] == condition and r["n_ld"] == n_ld]
            lengths = unique(part, "seconds")
            for (method, title), color in zip(METHODS.items(), _COLORS, strict=False):
                if method == "plain":
                    continue  # it would hide the field's own line
                groups = [
                    [
                        100 * (r["nmse"] / r["floor"] - 1)
                        for r in part
                        if r["method"] == method and r["seconds"] == s
                    ]
                    for s in lengths
                ]
                _mean_range(axes, lengths, groups, color=color, marker="o", ms=4, label=title)
            _refined(axes, rows.get("refined", ()), condition, n_ld)
            axes.set_xscale("log")
            axes.set_yscale("symlog", linthresh=1.0, linscale=0.4)
            axes.set_ylim(-15, 150)
            axes.axhline(0, color="black", lw=0.8)
            axes.set_xticks(lengths, [f"{s:g}" for s in lengths])
            axes.minorticks_off()
            axes.set_yticks(
                [-10, -1, 0, 1, 3, 10, 30, 100], ["-10", "-1", "0", "1", "3", "10", "30", "100"]
            )
            axes.set_title(f"{condition}, {n_ld} LD", fontsize=10)
            axes.grid(alpha=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("calibration, s")
    for row in panels:
        row[0].set_ylabel("above the linear floor, %")
    handles, labels = panels[-1][-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)


def _refined(axes: Any, data: Rows, condition: str, n_ld: int) -> None:
    part = [r for r in data if r["condition"] == condition and r["n_ld"] == n_ld]
    if part:
        excess = [100 * (r["refined"] / r["floor_sample"] - 1) for r in part]
        style = {"color": "black", "marker": "*", "ls": "", "ms": 10}
        axes.plot(
            [r["seconds"] for r in part], excess, label="field, refined (non-linear)", **style
        )


def _localisation(figure: Any, rows: dict[str, Rows]) -> None:
    data = rows["localisation"]
    snrs, maps = unique(data, "snr"), unique(data, "map")
    figure.set_size_inches(9.0, 1.2 + 0.42 * len(maps))
    panels = figure.subplots(1, len(snrs), squeeze=False, sharey=True)[0]
    for axes, snr in zip(panels, snrs, strict=True):
        for place, name in enumerate(maps):
            for kind, shift, color in (
                ("radial", -0.16, _COLORS[0]),
                ("tangential", 0.16, _COLORS[1]),
            ):
                part = [r for r in data if r["snr"] == snr and r["map"] == name]
                values = [r["distance"] for r in part if r["orientation"] == kind]
                if not values:
                    continue
                low, middle, high = np.percentile(values, [25, 50, 75])
                axes.plot([low, high], [place + shift] * 2, color=color, lw=3, alpha=0.5)
                label = f"{kind} dipoles" if place == 0 else None
                axes.plot(middle, place + shift, "o", color=color, label=label)
                axes.plot(values, [place + shift] * len(values), "|", color=color, ms=5)
        axes.set_title(f"SNR {snr:g}", fontsize=10)
        axes.set_xlabel("peak to source, mm")
        axes.set_xlim(0, None)
        axes.grid(alpha=0.3)
    panels[0].set_yticks(range(len(maps)), maps, fontsize=9)
    panels[0].invert_yaxis()
    panels[-1].legend(fontsize=8)


def _space(figure: Any, rows: dict[str, Rows]) -> None:
    data = rows["space"]
    cases = list(dict.fromkeys((r["group"], r["name"]) for r in data))
    figure.set_size_inches(9.5, 0.8 + 0.27 * len(cases))
    axes = figure.subplots()
    styles = (
        ("known", "(a) unseen electrodes of the calibration", "s"),
        ("virtual", "(b) electrodes left out of it", "o"),
    )
    for (key, title, marker), color in zip(styles, _COLORS, strict=False):
        for place, (group, name) in enumerate(cases):
            values = [r[key] for r in data if r["group"] == group and r["name"] == name]
            if np.mean(values) > _WORST:
                text = f"{np.mean(values):.0f} →"
                axes.text(_WORST, place, text, color=color, ha="right", va="center", fontsize=8)
                continue
            axes.plot([min(values), max(values)], [place] * 2, color=color, lw=2.5, alpha=0.4)
            label = title if place == 0 else None
            axes.plot(np.mean(values), place, marker, color=color, ms=5, label=label)
    axes.set_yticks(range(len(cases)), [f"{g}: {n}" for g, n in cases], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [1, 1.1, 1.25, 1.5, 2, 3, 4]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.97, _WORST)
    axes.axvline(1.0, color="black", lw=0.8)
    axes.set_xlabel("NMSE over the linear floor at the same electrodes (1 = optimal)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _time(figure: Any, rows: dict[str, Rows]) -> None:
    data = rows["time"]
    names, lengths = unique(data, "name"), unique(data, "seconds")
    panels_2 = rows.get("memory", ())
    figure.set_size_inches(9.5, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for seconds, color in zip(lengths, _COLORS, strict=False):
        for place, name in enumerate(names):
            values = [
                100 * (r["over_floor"] - 1)
                for r in data
                if r["name"] == name and r["seconds"] == seconds
            ]
            left.plot([min(values), max(values)], [place] * 2, color=color, lw=2.5, alpha=0.4)
            label = f"{seconds:g} s of calibration" if place == 0 else None
            left.plot(np.mean(values), place, "o", color=color, ms=5, label=label)
    left.set_yticks(range(len(names)), names, fontsize=8)
    left.invert_yaxis()
    left.set_xlim(0, None)
    left.set_xlabel("above the linear floor, %")
    left.grid(alpha=0.3)
    left.legend(fontsize=8)
    cases = list(dict.fromkeys((r["condition"], r["n_ld"]) for r in panels_2))
    for (condition, n_ld), color in zip(cases, _COLORS, strict=False):
        part = [r for r in panels_2 if r["condition"] == condition and r["n_ld"] == n_ld]
        last = part[-1]["floor"]
        excess = [100 * (r["floor"] / last - 1) for r in part]
        right.plot(
            [r["n_lags"] for r in part],
            excess,
            "o-",
            ms=4,
            color=color,
            label=f"{condition}, {n_ld} LD",
        )
    right.set_xscale("log", base=2)
    right.set_xlabel("lags of the optimal filter")
    right.set_ylabel("above its floor at 160 lags, %")
    right.grid(alpha=0.3)
    if cases:
        right.legend(fontsize=8)
