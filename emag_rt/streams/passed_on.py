"""What an outlet passes on of its source's description: the amplifier, the cap, the sensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.alignment import similarity
from emag_rt.core.labels import canonical
from emag_rt.core.montage import Montage
from emag_rt.errors import visible
from emag_rt.streams.description import children, text_at
from emag_rt.streams.metadata import Node, Tree

_ACQUISITION = ("manufacturer", "model", "serial_number", "settings", "precision")
_REFERENCE = ("label", "subtracted", "common_average")
_CAP = ("name", "size", "manufacturer", "labelscheme")
_HARDWARE = ("model", "manufacturer", "coupling", "material", "surface")
_NOTCH = ("type", "design", "center", "bandwidth", "order")
_MAX_TEXT = 200
_FEWEST, _FIT_MM = 4, 10.0


def acquisition(desc: Tree) -> tuple[tuple[str, str], ...]:
    """The amplifier, in XDF's words; its lag apart."""
    return _chosen(children(desc, "acquisition"), _ACQUISITION)


def cap(desc: Tree) -> tuple[tuple[str, str], ...]:
    """The cap."""
    return _chosen(children(desc, "cap"), _CAP)


def reference(desc: Tree) -> tuple[tuple[str, str], ...]:
    """What the channels stand against."""
    return _chosen(children(desc, "reference"), _REFERENCE)


def sensors(desc: Tree, labels: Sequence[str]) -> dict[str, Tree]:
    """Hardware, impedance and notch of each channel that has any, by canonical label.

    Parameters
    ----------
    desc : tuple
        Children of the source's ``desc``.
    labels : sequence of str
        Its channels, in order, as they were understood.
    """
    channels = [part for name, part in children(desc, "channels") if name == "channel"]
    if len(channels) != len(labels):
        return {}
    found = {}
    for label, channel in zip(labels, channels, strict=True):
        channel = channel if isinstance(channel, tuple) else ()
        hardware = _chosen(children(channel, "hardware"), _HARDWARE)
        notch = _chosen(children(children(channel, "filtering"), "notch"), _NOTCH)
        nodes: list[Node] = [("hardware", hardware)] if hardware else []
        nodes += _chosen(channel, ("impedance",))
        nodes += [("filtering", (("notch", notch),))] if notch else []
        if nodes:
            found[canonical(label)] = tuple(nodes)
    return found


def fiducials(
    desc: Tree, labels: Sequence[str], cap_mm: Montage
) -> tuple[tuple[str, FloatArray], ...]:
    """Landmarks of the head with their places, brought into the frame of a montage.

    The source's frame is its own: it is laid on the montage by the channels that both have.

    Returns
    -------
    tuple of (str, ndarray)
        Label and place, shape (3,), mm. Empty where fewer than four channels have places, or do
        not fit to a centimetre.
    """
    channels = [part for name, part in children(desc, "channels") if name == "channel"]
    marks = [part for _, part in children(desc, "fiducials") if isinstance(part, tuple)]
    rows = {canonical(label): row for row, label in enumerate(cap_mm.labels)}
    pairs = [
        (place, cap_mm.positions_mm[rows[canonical(label)]])
        for label, channel in zip(labels, channels, strict=False)
        if canonical(label) in rows and (place := _place(channel)) is not None
    ]
    if not marks or len(pairs) < _FEWEST or len(channels) != len(labels):
        return ()
    theirs, ours = (np.array(side) for side in zip(*pairs, strict=True))
    if np.linalg.matrix_rank(theirs - theirs.mean(axis=0), tol=1.0) < 2:
        return ()
    scale, rotation, shift, residual = similarity(theirs, ours)
    if not residual.max() <= _FIT_MM:
        return ()
    return tuple(
        (visible(text_at(mark, "label"))[:_MAX_TEXT], scale * rotation @ place + shift)
        for mark in marks
        if text_at(mark, "label") and (place := _place(mark)) is not None
    )


def _chosen(tree: Tree, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = ((name, visible(text_at(tree, name).strip())[:_MAX_TEXT]) for name in names)
    return tuple((name, text) for name, text in found if text)


def _place(node: str | Tree) -> FloatArray | None:
    location = children(node, "location") if isinstance(node, tuple) else ()
    try:
        place = np.array([float(text_at(location, axis)) for axis in "XYZ"])
    except ValueError:
        return None
    return place if np.isfinite(place).all() and np.abs(place).max() < 1e4 else None
