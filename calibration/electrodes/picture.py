"""The chosen electrodes on the head, and the error to expect at every channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibration.electrodes.choice import MontageChoice
from calibration.electrodes.head_view import draw_outline, flat_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_montage_picture(choice: MontageChoice, path: Path) -> None:
    """Draw the head and, where several sizes were scored, the curve of error against size.

    Parameters
    ----------
    choice : MontageChoice
        What was chosen.
    path : Path
        File to write; its ending says the format.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with_curve = len(choice.chosen) > 1
    figure, axes = plt.subplots(
        1,
        1 + with_curve,
        figsize=(7.5 + 5.5 * with_curve, 7),
        squeeze=False,
        width_ratios=(3, 2)[: 1 + with_curve],
        layout="constrained",
    )
    _head(figure, axes[0, 0], choice)
    if with_curve:
        _curve(axes[0, 1], choice)
    try:
        figure.savefig(path, dpi=130)
    finally:
        plt.close(figure)


def _head(figure: Figure, axes: Axes, choice: MontageChoice) -> None:
    score = choice.chosen[max(choice.chosen)]
    places = dict(
        zip(choice.montage.labels, flat_positions(choice.montage.positions_mm), strict=True)
    )
    worn = set(score.labels)
    rendered = [label for label in score.per_channel if label not in worn]
    edge = max(1.0, max(float(np.hypot(*place)) for place in places.values())) * 1.08
    draw_outline(axes, edge)
    xy = np.array([places[label] for label in rendered])
    errors = np.array([score.per_channel[label] for label in rendered])
    image = axes.scatter(
        xy[:, 0], xy[:, 1], 330, errors, cmap="YlOrRd", vmin=0.0, vmax=max(errors.max(), 1e-6)
    )
    xy = np.array([places[label] for label in score.labels])
    axes.scatter(xy[:, 0], xy[:, 1], 380, facecolor="#1f4e79", edgecolor="black", lw=1.5)
    for label in choice.bad:
        axes.plot(*places[label], marker="x", color="0.5", ms=12, mew=2)
    dark = 0.6 * max(float(errors.max()), 1e-6)
    for label, place in places.items():
        white = label in worn or score.per_channel.get(label, 0.0) > dark
        axes.annotate(
            label, place, ha="center", va="center", fontsize=7, color="white" if white else "black"
        )
    axes.set_title(f"{len(worn)} electrodes to wear (blue), of {len(places)}")
    figure.colorbar(
        image, ax=axes, shrink=0.6, label="expected NMSE of rendered channels, average reference"
    )


def _curve(axes: Axes, choice: MontageChoice) -> None:
    from matplotlib import ticker

    sizes = sorted(choice.chosen)
    for name, sets, style in (("chosen", choice.chosen, "o-"), ("spread", choice.spread, "s--")):
        for part, color in (("all", "C0"), ("unseen", "C3")):
            values = [sets[size].nmse["average"][part] for size in sizes]
            axes.plot(sizes, values, style, color=color, label=f"{name}, {part} channels")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="electrodes worn",
        ylabel="cross-validated NMSE, average reference",
        xticks=sizes,
        xticklabels=[str(size) for size in sizes],
    )
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend()
