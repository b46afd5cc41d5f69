"""Three heads that play: measured, rendered and the error, over a few seconds."""

from __future__ import annotations

import numpy as np

from calibration.electrodes.head_view import flat_positions
from calibration.report.evidence import Evidence
from calibration.report.signals import typical_start
from calibration.report.viewer import as_json, filled, limit_of, package_text, packed
from emag_rt.array_types import FloatArray
from emag_rt.core.spline import spherical_spline

PLAYED_S = 4.0
_CELLS = 32
"""Cells of the map along each side."""
_MAX_RATE_HZ = 125.0
_MAX_NUMBERS = 60_000
"""Of a signal: more channels play for a shorter time, so that the file stays small."""


def player_html(evidence: Evidence) -> str:
    """The heads, with their numbers and controls.

    Parameters
    ----------
    evidence : Evidence
        Truth and rendering, with the method ``field``.

    Returns
    -------
    str
        HTML that asks for nothing else.
    """
    every = max(1, round(evidence.sfreq / _MAX_RATE_HZ))
    labels = [*evidence.worn, *evidence.labels]
    n_frames = min(round(PLAYED_S * evidence.sfreq) // every, _MAX_NUMBERS // len(labels))
    n = min(n_frames * every, len(evidence.truth))
    start = typical_start(evidence.truth[:, list(evidence.unseen)], n)
    rows = slice(start, start + n, every)
    worn = np.column_stack([values[rows] for values in evidence.worn.values()])
    truth = np.hstack([worn, evidence.truth[rows]]).astype(float)
    rendered = np.hstack([worn, evidence.methods["field"][rows]]).astype(float)
    scale = limit_of(truth)
    montage = evidence.bundle.manifest.hd_montage
    positions = montage.positions_mm[[montage.labels.index(label) for label in labels]]
    places = flat_positions(positions)
    edge = 1.05 * float(np.hypot(*places.T).max())
    cells, weights = _map_weights(positions, edge)
    heaviest = float(np.abs(weights).max())
    how = "" if evidence.held_out else ", each moment rendered by a fit that had not seen it"
    if not evidence.held_out and evidence.left_by_networks < 1:
        how += " (the closed form, without networks)"
    data: dict[str, object] = {
        "places": (places / edge).round(3).tolist(),
        "labels": labels,
        "worn": [label in evidence.worn for label in labels],
        "times_ms": (1e3 * np.arange(len(truth)) * every / evidence.sfreq).round(1).tolist(),
        "scale_uv": float(f"{scale:.2g}"),
        "truth": packed(truth, scale),
        "rendered": packed(rendered, scale),
        "size": _CELLS,
        "cells": cells,
        "weight": heaviest,
        "weights": packed(weights, heaviest),
    }
    seconds = f"{n / evidence.sfreq:.1f}".removesuffix(".0")
    script = package_text("player.js")
    return filled("player.html", SECONDS=seconds, HOW=how, DATA=as_json(data), SCRIPT=script)


def _map_weights(positions_mm: FloatArray, edge: float) -> tuple[list[int], FloatArray]:
    """Cells of a square that lie in the head or touch it, and what they are interpolated by."""
    middle = (np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1
    x, y = np.meshgrid(middle, -middle)
    reach = np.hypot(x, y)
    inside = reach.ravel() < 1 + 2 / _CELLS
    angle = np.minimum(reach * edge * np.pi / 2, np.pi).ravel()[inside]
    around = np.arctan2(y, x).ravel()[inside]
    points = np.column_stack(
        [np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.cos(angle)]
    )
    return np.flatnonzero(inside).tolist(), spherical_spline(positions_mm, points)
