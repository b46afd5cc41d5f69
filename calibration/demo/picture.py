"""The demonstration's picture: LD map, HD truth, HD rendered, and one unseen channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibration.electrodes.head_view import head_map
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calibration.demo.play_and_serve import DemoResult


def save_picture(result: DemoResult, path: Path) -> None:
    """Draw the moment of the largest field, and five seconds of one channel.

    Parameters
    ----------
    result : DemoResult
        What was measured.
    path : Path
        PNG to write.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    manifest = result.bundle.manifest
    settled = len(result.truth) // 4
    moment = settled + int(np.argmax(result.truth[settled:].std(axis=1)))
    limit = float(np.abs(result.truth[moment]).max())
    figure, axes = plt.subplot_mosaic(
        [["ld", "truth", "rendered"], ["trace"] * 3], figsize=(10, 6.4), height_ratios=(3, 2)
    )
    rows = manifest.hd_montage.index(manifest.ld_montage.labels)
    maps: dict[str, tuple[str, Montage, FloatArray]] = {
        "ld": (f"LD, {len(rows)} channels", manifest.ld_montage, result.ld[moment]),
        "truth": ("HD, truth", manifest.hd_montage, result.truth[moment]),
        "rendered": ("HD, rendered live", manifest.hd_montage, result.rendered[moment]),
    }
    for key, (title, montage, values) in maps.items():
        image = head_map(axes[key], montage, values, (-limit, limit), cmap="RdBu_r", contours=6)
        axes[key].set_title(title)
    figure.colorbar(image, ax=[axes[key] for key in maps], label="µV, relative to the LD mean")
    _trace(axes["trace"], result)
    try:
        with replacing(path, "picture") as beside:
            figure.savefig(beside, dpi=130)
    finally:
        plt.close(figure)


def _trace(axes: Axes, result: DemoResult) -> None:
    """The unseen channel with the median error: neither the best nor the worst."""
    sfreq = result.bundle.manifest.sfreq
    errors = ((result.truth - result.rendered)[:, result.unseen] ** 2).sum(axis=0)
    errors /= (result.truth[:, result.unseen] ** 2).sum(axis=0)
    column = int(result.unseen[np.argsort(errors)[len(errors) // 2]])
    stop = len(result.truth)
    start = max(0, stop - round(5 * sfreq))
    seconds = np.arange(start, stop) / sfreq
    axes.plot(seconds, result.truth[start:stop, column], color="0.6", lw=2, label="truth")
    axes.plot(seconds, result.rendered[start:stop, column], color="C3", lw=1, label="rendered")
    axes.set(
        xlabel="s",
        ylabel="µV",
        title=f"{result.bundle.manifest.hd[column].label}, unseen, median error",
    )
    axes.legend(loc="upper right")
    axes.margins(x=0)
