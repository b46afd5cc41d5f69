"""The chosen electrodes on the head, and the error to expect at every channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from calibration.electrodes.choice import MontageChoice
from emag_rt.array_types import FloatArray

_EQUATOR = np.pi / 2


def flat_positions(positions_mm: FloatArray) -> FloatArray:
    """Head seen from above, nose up: distance from the vertex along the scalp is kept.

    Parameters
    ----------
    positions_mm : ndarray, shape (n_electrodes, 3), float64
        Origin at the centre of the sphere.

    Returns
    -------
    ndarray, shape (n_electrodes, 2), float64
        The equator of the sphere is the unit circle.
    """
    unit = positions_mm / np.linalg.norm(positions_mm, axis=1, keepdims=True)
    angle = np.arccos(np.clip(unit[:, 2], -1.0, 1.0)) / _EQUATOR
    around = np.arctan2(unit[:, 1], unit[:, 0])
    return np.column_stack([angle * np.cos(around), angle * np.sin(around)])


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


def _head(figure: Any, axes: Any, choice: MontageChoice) -> None:
    score = choice.chosen[max(choice.chosen)]
    places = dict(
        zip(choice.montage.labels, flat_positions(choice.montage.positions_mm), strict=True)
    )
    worn = set(score.labels)
    rendered = [label for label in score.per_channel if label not in worn]
    edge = max(1.0, max(float(np.hypot(*place)) for place in places.values())) * 1.08
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    axes.plot(edge * np.cos(angle), edge * np.sin(angle), color="0.6", lw=1.5)
    axes.plot([-0.1, 0.0, 0.1], [edge * 0.995, edge + 0.12, edge * 0.995], color="0.6", lw=1.5)
    xy = np.array([places[label] for label in rendered])
    errors = np.array([score.per_channel[label] for label in rendered])
    image = axes.scatter(
        *xy.T, c=errors, s=330, cmap="YlOrRd", vmin=0.0, vmax=max(float(errors.max()), 1e-6)
    )
    xy = np.array([places[label] for label in score.labels])
    axes.scatter(*xy.T, s=380, facecolor="#1f4e79", edgecolor="black", lw=1.5)
    for label in choice.bad:
        axes.plot(*places[label], marker="x", color="0.5", ms=12, mew=2)
    dark = 0.6 * max(float(errors.max()), 1e-6)
    for label, place in places.items():
        white = label in worn or score.per_channel.get(label, 0.0) > dark
        axes.annotate(
            label, place, ha="center", va="center", fontsize=7, color="white" if white else "black"
        )
    axes.set(aspect="equal", title=f"{len(worn)} electrodes to wear (blue), of {len(places)}")
    axes.axis("off")
    figure.colorbar(
        image, ax=axes, shrink=0.6, label="expected NMSE of rendered channels, average reference"
    )


def _curve(axes: Any, choice: MontageChoice) -> None:
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
