"""A head seen from above: where electrodes lie, and its outline with the nose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

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


def draw_outline(axes: Axes, edge: float) -> None:
    """Draw a circle of radius ``edge`` and a nose, and leave out the frame."""
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    axes.plot(edge * np.cos(angle), edge * np.sin(angle), color="0.6", lw=1.5, zorder=0)
    axes.plot([-0.1, 0.0, 0.1], [edge * 0.995, edge + 0.12, edge * 0.995], color="0.6", lw=1.5)
    axes.set(aspect="equal")
    axes.axis("off")


def map_positions(montage: Montage) -> FloatArray:
    """Where :func:`head_map` draws electrodes on its axes, shape (n_electrodes, 2), in m."""
    radii = np.linalg.norm(montage.positions_mm, axis=1, keepdims=True)
    return np.asarray(flat_positions(montage.positions_mm) * radii / 1000.0)


def head_map(
    axes: Axes, montage: Montage, values: FloatArray, limits: tuple[float, float], **options: object
) -> AxesImage:
    """Draw values of electrodes as a coloured head seen from above.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    montage : Montage
        The electrodes.
    values : ndarray, shape (n_electrodes,)
        A value each, in the unit of ``limits``.
    limits : tuple of float
        Values at the ends of the colours.
    **options
        Of :func:`mne.viz.plot_topomap`: ``cmap``, ``contours``, ``mask``, ...

    Returns
    -------
    AxesImage
        For a colour bar.
    """
    import mne

    info = mne.create_info(list(montage.labels), 1.0, "eeg", verbose="ERROR")
    with info._unlock():
        for channel, place in zip(info["chs"], montage.positions_mm / 1000.0, strict=True):
            channel["loc"][:3] = place
    radius = float(np.linalg.norm(montage.positions_mm, axis=1).mean()) / 1000.0
    image, _ = mne.viz.plot_topomap(
        values,
        info,
        axes=axes,
        vlim=limits,
        sphere=(0.0, 0.0, 0.0, radius),
        show=False,
        **options,
    )
    return image
