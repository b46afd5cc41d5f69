"""The README's moving picture: what is worn, what was measured, and what emag_rt renders.

Usage: python -m tools.readme_picture BUNDLE HELD_OUT_RECORDING --out docs/figures/rendered.webp

Nothing is chosen by eye: the stretch shown is the one of median error, and the three channels
are the unseen ones at a quarter, a half and three quarters of the order by error.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click
import numpy as np

from calibration.electrodes.head_view import draw_outline, flat_positions, head_map
from calibration.scores.held_out import Estimates, estimate_recording
from emag_rt.array_types import FloatArray
from emag_rt.bundle import load_bundle
from emag_rt.core.montage import Montage
from emag_rt.recordings.read import read_recording

SECONDS = 2.4
SLOWER = 2.0
FRAMES_PER_S = 12.5
TRUTH, RENDERED = "0.6", "#c0392b"


def median_stretch(found: Estimates, n_times: int) -> slice:
    """The stretch of ``n_times`` samples whose error on unseen channels is the median one."""
    unseen = list(found.unseen)
    truth, rendered = found.truth[:, unseen], found.methods["field"][:, unseen]
    starts = np.arange(0, len(truth) - n_times, n_times)
    errors = [
        ((truth - rendered)[start : start + n_times] ** 2).sum()
        / (truth[start : start + n_times] ** 2).sum()
        for start in starts
    ]
    start = int(starts[np.argsort(errors)[len(errors) // 2]])
    return slice(start, start + n_times)


def three_channels(found: Estimates) -> list[int]:
    """Unseen columns at the quartiles of the error."""
    unseen = np.array(found.unseen)
    error = ((found.truth - found.methods["field"])[:, unseen] ** 2).sum(axis=0)
    order = unseen[np.argsort(error / (found.truth[:, unseen] ** 2).sum(axis=0))]
    return [int(order[round(share * (len(order) - 1))]) for share in (0.25, 0.5, 0.75)]


def draw(
    moment: int, montage: Montage, worn: list[int], found: Estimates, sfreq: float, shown: slice
) -> Any:
    """One frame; ``moment`` counts from the start of ``shown``."""
    import matplotlib.pyplot as plt

    truth, rendered = found.truth[shown], found.methods["field"][shown]
    limit = float(np.percentile(np.abs(truth), 98))
    figure, axes = plt.subplot_mosaic(
        [["worn", "truth", "rendered"], ["a"] * 3, ["b"] * 3, ["c"] * 3],
        figsize=(7.2, 5.4),
        height_ratios=(6, 1.3, 1.3, 1.3),
        layout="constrained",
    )
    places = flat_positions(montage.positions_mm)
    edge = float(np.hypot(*places.T).max()) * 1.08
    draw_outline(axes["worn"], edge)
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    axes["worn"].scatter(
        *places[worn].T, c=truth[moment, worn], s=130, edgecolor="0.3", lw=0.8, **colours
    )
    axes["worn"].set_title(f"{len(worn)} electrodes worn")
    for key, values, title in (
        ("truth", truth, f"{len(montage)} measured"),
        ("rendered", rendered, f"{len(montage)} rendered from the {len(worn)}"),
    ):
        head_map(axes[key], montage, values[moment], (-limit, limit), cmap="RdBu_r", contours=4)
        axes[key].set_title(title)
    seconds = np.arange(len(truth)) / sfreq
    for key, column in zip("abc", three_channels(found), strict=True):
        one = axes[key]
        one.plot(seconds, truth[:, column], color=TRUTH, lw=2.2)
        one.plot(seconds[: moment + 1], rendered[: moment + 1, column], color=RENDERED, lw=1.2)
        one.axvline(seconds[moment], color="0.8", lw=1, zorder=0)
        one.set(xlim=(0, seconds[-1]), xticks=[], yticks=[])
        one.set_ylabel(found.labels[column], rotation=0, ha="right", va="center")
        one.spines[:].set_visible(False)
    axes["c"].set_xlabel("not worn: measured (grey) and rendered (red)")
    return figure


def frames(montage: Montage, worn: list[int], found: Estimates, sfreq: float) -> list[Any]:
    """Pictures of all moments."""
    import matplotlib as mpl
    from PIL import Image

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = median_stretch(found, round(SECONDS * sfreq))
    moments: FloatArray = np.arange(0, SECONDS, 1 / (SLOWER * FRAMES_PER_S)) * sfreq
    pictures = []
    for moment in moments.astype(int):
        figure = draw(int(moment), montage, worn, found, sfreq, shown)
        content = io.BytesIO()
        figure.savefig(content, dpi=100)
        plt.close(figure)
        pictures.append(Image.open(content).convert("RGB"))
    return pictures


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("recording", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="WebP to write.")
def main(bundle: Path, recording: Path, out: Path) -> None:
    """Draw what is worn, measured and rendered of a RECORDING that was held out."""
    loaded, read = load_bundle(bundle), read_recording(recording)
    found = estimate_recording(loaded, read)
    manifest = loaded.manifest
    montage = manifest.hd_montage
    montage = montage.select([montage.labels.index(label) for label in found.labels])
    worn = [found.labels.index(e.label) for e in manifest.ld if e.label in found.labels]
    first, *rest = frames(montage, worn, found, manifest.sfreq)
    first.save(
        out,
        save_all=True,
        append_images=rest,
        duration=round(1000 / FRAMES_PER_S),
        loop=0,
        quality=70,
        method=6,
    )
    click.echo(f"{out}: {len(rest) + 1} pictures, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
