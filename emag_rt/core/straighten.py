"""Positions of electrodes in frames of other tools, brought onto a template by their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import FloatArray
from emag_rt.core.alignment import similarity
from emag_rt.core.labels import canonical

_MIN_FITTED = 8
_OTHER_FRAME_MM = 20.0
_OFF_MM = 30.0
"""Caps on heads of other shapes put an electrode up to here from the template."""


def straighten(
    labels: Sequence[str], positions: FloatArray, places: Mapping[str, FloatArray], notes: list[str]
) -> FloatArray:
    """Bring a file's own positions into the frame of a template, by their labels.

    Positions of other tools stand in frames of their own (nose along x, another origin), and
    single ones are wrong. They are fitted to the template with what most of them agree on;
    electrodes without a position are placed through that fit.

    Parameters
    ----------
    labels : sequence of str
        Channel labels.
    positions : ndarray, shape (n_channels, 3)
        Positions in mm, NaN where unknown.
    places : mapping of str to ndarray, shape (3,)
        The template (the 10-05 system in MNE's head frame), in mm, x right, y front, z up.
    notes : list of str
        What was changed is added here.

    Returns
    -------
    ndarray, shape (n_channels, 3)
        Positions in mm; the same where nothing had to be done.
    """
    by_key = {canonical(key): place for key, place in places.items()}
    there = np.array([by_key.get(canonical(label), np.full(3, np.nan)) for label in labels])
    known = np.isfinite(positions).all(axis=1)
    both = known & np.isfinite(there).all(axis=1)
    if both.sum() < _MIN_FITTED or 2 * both.sum() < known.sum():
        return positions
    flip = 1.0
    scale, rotation, shift, left = robust_similarity(positions[both], there[both], _OFF_MM)
    if left.max() > _OFF_MM:  # a mirror image does not fit: left would lie on the right
        mirrored = robust_similarity(-positions[both], there[both], _OFF_MM)
        if np.median(mirrored[3]) < np.median(left):
            flip, (scale, rotation, shift, left) = -1.0, mirrored
    off = float(np.median(left))
    if off > _OFF_MM:
        notes.append(
            f"positions fit the 10-05 system badly by their labels ({off:.0f} mm off in the "
            "median), used as they are: are the labels right?"
        )
        return positions
    rotation = flip * rotation
    # As far as the template would have to move to lie on the file's positions.
    moved = np.linalg.norm(positions[both] - there[both], axis=1)
    straight = positions.copy()
    if np.median(moved) > max(_OTHER_FRAME_MM, 2 * off):
        straight = scale * positions @ rotation.T + shift
        turn = np.degrees(np.arccos(np.clip((flip * np.trace(rotation) - 1) / 2, -1, 1)))
        image = "mirrored, " if flip < 0 else ""
        notes.append(
            f"positions stand in another frame ({image}turned by {turn:.0f} degrees, scaled by "
            f"{scale:.2f}, {np.median(moved):.0f} mm from the 10-05 system): brought onto it by "
            f"their labels, {off:.0f} mm left"
        )
        onto = there
    else:
        onto = (there - shift) @ rotation / scale
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[both] = left > _OFF_MM
    if wrong.any():
        names = ", ".join(
            f"{labels[i]} ({distance:.0f} mm)"
            for i, distance in zip(np.flatnonzero(wrong).tolist(), left[wrong[both]], strict=True)
        )
        notes.append(f"positions far from where their label belongs: {names}: placed by label")
    fill = wrong | (~known & np.isfinite(there).all(axis=1))
    straight[fill] = onto[fill]
    return straight


def robust_similarity(
    from_mm: FloatArray, to_mm: FloatArray, near_mm: float, n_draws: int = 300
) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """:func:`similarity` that a few wrong points do not bend.

    Parameters
    ----------
    from_mm, to_mm : ndarray, shape (n_points, 3)
        The same points in two frames, at least four.
    near_mm : float
        A point that is left within this distance is right.
    n_draws : int
        Fits of four points each, of which the one that leaves the least median is taken.

    Returns
    -------
    scale, rotation, shift_mm, residual_mm
        As for :func:`similarity`, fitted to the points that are right.
    """

    def fit(
        rows: NDArray[np.integer | np.bool_],
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        scale, rotation, shift, _ = similarity(from_mm[rows], to_mm[rows])
        left = np.linalg.norm(scale * from_mm @ rotation.T + shift - to_mm, axis=1)
        return scale, rotation, shift, left

    found = fit(np.arange(len(from_mm)))
    if found[3].max() <= near_mm:  # the usual case: nothing is wrong
        return found
    rng = np.random.default_rng(0)
    draws = [fit(rng.choice(len(from_mm), 4, replace=False)) for _ in range(n_draws)]
    found = min([found, *draws], key=lambda one: float(np.median(one[3])))
    for _ in range(3):
        found = fit(found[3] <= max(near_mm, float(np.median(found[3]))))
    return found
