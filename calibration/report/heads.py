"""Figures on a head: which electrodes, where errors are, where the Gaussians lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibration.electrodes.head_view import draw_outline, flat_positions, head_map, map_positions
from calibration.report.drawing import BAD_COLOUR, LD_COLOUR, NAMES, embed, new_figure
from calibration.report.evidence import Evidence
from calibration.report.gaussians import spatial_widths_mm, temporal_widths_s
from calibration.report.scores import Scores
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, Manifest

if TYPE_CHECKING:
    from matplotlib.axis import Axis


def electrodes_figure(evidence: Evidence) -> str:
    """Where the electrodes are: worn, rendered, bad, and those that only the bundle knows."""
    manifest = evidence.bundle.manifest
    montage = manifest.hd_montage
    places = flat_positions(montage.positions_mm)
    ld = {e.label for e in manifest.ld}
    figure = new_figure(5.6)
    axes, beside = figure.subplots(1, 2, width_ratios=(3, 2))
    edge = max(1.0, float(np.hypot(*places.T).max())) * 1.08
    draw_outline(axes, edge)
    scored = set(evidence.labels)
    kinds = {"LD": [], "rendered": [], "bad": [], "virtual": []}  # type: dict[str, list[int]]
    for row, electrode in enumerate(manifest.hd):
        if electrode.label in ld:
            kinds["LD"].append(row)
        elif electrode.bad:
            kinds["bad"].append(row)
        else:
            kinds["rendered" if electrode.label in scored else "virtual"].append(row)
    dense = len(montage) > 80
    size = 150 if dense else 430
    styles = {
        "LD": ("worn (LD): passed through", LD_COLOUR, "o", "black"),
        "rendered": ("rendered", "#f2d5a0", "o", "0.4"),
        "bad": ("bad: rendered from its place alone", "white", "X", BAD_COLOUR),
        "virtual": ("virtual: rendered, not measured here", "white", "D", "0.4"),
    }
    for kind, rows in kinds.items():
        if rows:
            text, face, marker, line = styles[kind]
            axes.scatter(
                *places[rows].T,
                s=size * (0.8 if kind == "virtual" else 1.0),
                facecolor=face,
                edgecolor=line,
                marker=marker,
                label=f"{text} ({len(rows)})",
            )
    for row, label in enumerate(montage.labels):
        axes.annotate(
            label,
            places[row],
            ha="center",
            va="center",
            fontsize=6 if dense else 8,
            color="white" if row in kinds["LD"] else "black",
        )
    beside.axis("off")
    beside.legend(
        *axes.get_legend_handles_labels(),
        loc="center left",
        frameon=False,
        fontsize=10,
        markerscale=0.6,
        labelspacing=1.4,
    )
    summary = ", ".join(f"{len(rows)} {kind}" for kind, rows in kinds.items() if rows)
    what = {row: styles[kind][0] for kind, rows in kinds.items() for row in rows}
    told = [f"{label}: {what[row]}" for row, label in enumerate(montage.labels)]
    return embed(
        figure,
        f"Head seen from above, nose up, with {summary} electrodes",
        spots=[(axes, places, told)],
    )


def error_maps(
    manifest: Manifest, columns: dict[str, dict[str, float]], titles: dict[str, str], what: str
) -> str:
    """One head a column of errors, LD channels at zero."""
    worn = {e.label for e in manifest.ld}
    first = next(iter(columns.values()))
    rows = [i for i, e in enumerate(manifest.hd) if e.label in worn or e.label in first]
    montage = manifest.hd_montage.select(rows)
    figure = new_figure(2.9)
    axes = np.atleast_1d(figure.subplots(1, len(columns)))
    everything = [v for errors in columns.values() for v in errors.values() if np.isfinite(v)]
    top = float(np.clip(np.percentile(everything, 90), 0.1, 1.0))
    points, spots = map_positions(montage), []
    for place, (name, errors) in zip(axes, columns.items(), strict=True):
        values = np.array([errors.get(label, 0.0) for label in montage.labels])
        image = head_map(
            place,
            montage,
            np.nan_to_num(values, nan=1.0),
            (0.0, top),
            cmap="YlOrRd",
            contours=0,
            mask=np.array([label in worn for label in montage.labels]),
            mask_params={"marker": "o", "markerfacecolor": LD_COLOUR, "markersize": 5},
        )
        place.set_title(titles[name], fontsize=11)
        kind = titles[name].split("\n")[0]
        told = [
            f"{label}: " + ("worn" if label in worn else f"error {errors[label]:.3f}, {kind}")
            for label in montage.labels
        ]
        spots.append((place, points, told))
    # All heads share one scale.
    figure.colorbar(image, ax=list(axes), shrink=0.75, extend="max", label="NMSE")
    return embed(
        figure, f"Heads seen from above with the error of each channel, {what}", spots=spots
    )


def method_maps(evidence: Evidence, scores: Scores) -> str:
    """Where each method errs."""
    titles = {
        name: f"{NAMES[name]}\n{scores.methods.get(name, float('nan')):.3f} overall"
        for name in scores.channels
    }
    return error_maps(evidence.bundle.manifest, scores.channels, titles, "by method")


def band_maps(evidence: Evidence, scores: Scores) -> str:
    """Where the field errs, band by band; nothing where that is not known."""
    if scores.channel_bands is None:
        return ""
    labels = [evidence.labels[i] for i in evidence.unseen]
    names = list(scores.bands["field"])
    columns = {
        band: dict(zip(labels, scores.channel_bands[:, i].tolist(), strict=True))
        for i, band in enumerate(names)
    }
    titles = {band: f"{band}\n{scores.bands['field'][band]:.3f} overall" for band in names}
    return error_maps(evidence.bundle.manifest, columns, titles, "by frequency band")


def gaussians_figure(bundle: Bundle, weight: FloatArray) -> str:
    """Centres from above and from the left, and the widths in space and time."""
    field = bundle.model.field
    montage = bundle.manifest.hd_montage.positions_mm
    widths = spatial_widths_mm(field)
    figure = new_figure(3.9)
    top, side, space, time = figure.subplots(1, 4, width_ratios=(4, 4, 3, 3.4))
    loudest = max(float(weight.max()), 1e-30)
    reach = 1.08 * float(np.abs([*montage.ravel(), *field.centers_mm.ravel()]).max())
    words = {"x": "left to right (mm)", "y": "back to front (mm)", "z": "up (mm)"}
    for axes, (i, j), (across, up) in ((top, (0, 1), "xy"), (side, (1, 2), "yz")):
        axes.scatter(montage[:, i], montage[:, j], s=18, facecolor="none", edgecolor="0.5", lw=0.8)
        image = axes.scatter(
            field.centers_mm[:, i],
            field.centers_mm[:, j],
            c=100 * weight / loudest,
            s=np.clip(widths, 4, 40) * 0.8,
            cmap="viridis_r",
            alpha=0.8,
            lw=0,
            vmin=0,
            vmax=100,
        )
        axes.set(aspect="equal", xlabel=words[across], ylabel=words[up])
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    top.set_title("centres, from above", fontsize=10)
    side.set_title("centres, from the right", fontsize=10)
    figure.colorbar(
        image,
        ax=[top, side],
        location="bottom",
        shrink=0.5,
        aspect=40,
        label="contribution to the electrodes, % of the largest",
    )
    space.hist(widths, bins=np.geomspace(max(widths.min() * 0.8, 1e-3), widths.max() * 1.25, 24))
    space.set(xscale="log", xlabel="width σ in space (mm)", ylabel="points of the grid")
    space.set_title("widths in space", fontsize=10)
    _plain_log(space.xaxis)
    mu, sigma = np.median(field.mu_s, axis=0), np.median(temporal_widths_s(field), axis=0)
    time.plot(1e3 * mu, 1e3 * sigma, "o", color="#0072b2", mfc="none")
    where = "delay" if bundle.manifest.anchor == "stream" else "place in the window"
    time.set(yscale="log", xlabel=f"centre: {where} (ms)", ylabel="width σ in time (ms)")
    time.set_title("Gaussians in time", fontsize=10)
    _plain_log(time.yaxis)
    time.grid(alpha=0.3)
    return embed(
        figure,
        "Centres of the Gaussians from above and from the right, and their widths in space and "
        "time",
        "Rings are electrodes. A width in time far below a sample is an exact delay.",
    )


def _plain_log(axis: Axis) -> None:
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_locator(ticker.NullLocator())
