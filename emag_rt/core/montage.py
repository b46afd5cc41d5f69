"""Montages: named electrodes with positions, the sphere through them, spread choices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import match_labels, require_unique
from emag_rt.errors import MontageError


@dataclass(frozen=True, eq=False)
class Montage:
    """Named electrodes with positions.

    Attributes
    ----------
    labels : tuple of str
        Channel labels, unique after canonical spelling.
    positions_mm : ndarray, shape (n_electrodes, 3), float64
        Positions in mm (x right, y front, z up), origin at the centre of the fitted sphere.
    """

    labels: tuple[str, ...]
    positions_mm: FloatArray

    def __post_init__(self) -> None:
        positions = np.ascontiguousarray(self.positions_mm, dtype=np.float64)
        if positions.shape != (len(self.labels), 3):
            raise MontageError(
                f"positions_mm must have shape ({len(self.labels)}, 3), one row for each label, "
                f"got {positions.shape}."
            )
        if not np.isfinite(positions).all():
            bad = [
                lab
                for lab, p in zip(self.labels, positions, strict=True)
                if not np.isfinite(p).all()
            ]
            raise MontageError(
                f"positions_mm must be finite, got unknown positions for {', '.join(bad)}. "
                "Set a montage on the recording, or drop these channels."
            )
        require_unique(self.labels, "montage")
        object.__setattr__(self, "positions_mm", positions)

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, labels: Iterable[str]) -> list[int]:
        """Row of each label (see :func:`emag_rt.core.labels.match_labels`)."""
        return match_labels(labels, self.labels, "montage")

    def select(self, rows: Sequence[int]) -> Montage:
        """Montage of the given rows, in the order given."""
        return Montage(tuple(self.labels[i] for i in rows), self.positions_mm[list(rows)])


def fit_sphere(points_mm: ArrayLike) -> tuple[FloatArray, float]:
    """Least-squares sphere through points.

    Parameters
    ----------
    points_mm : array_like, shape (n_points, 3)
        At least four points that are not in one plane, in mm.

    Returns
    -------
    center_mm : ndarray, shape (3,)
        Centre of the sphere.
    radius_mm : float
        Radius of the sphere.

    Raises
    ------
    MontageError
        If the points do not determine a sphere of the size of a head (40 to 250 mm).
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if len(points) < 4:
        raise MontageError(
            f"points_mm must hold at least 4 electrodes to fit a sphere, got {len(points)}."
        )
    # |p|^2 = 2 c.p + (r^2 - |c|^2) is linear in the unknowns.
    design = np.column_stack([2.0 * points, np.ones(len(points))])
    solution, _, rank, _ = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=1e-10)
    center = solution[:3]
    radius_sq = float(solution[3] + center @ center)
    if rank < 4 or not 40.0**2 <= radius_sq <= 250.0**2:
        size = f"radius {np.sqrt(radius_sq):.0f} mm" if radius_sq > 0 else "no real radius"
        raise MontageError(
            f"electrode positions must lie on a head-sized sphere (40 to 250 mm), got {size} "
            f"from {len(points)} electrodes. Check the unit of the positions (MNE wants metres), "
            "or use a standard montage."
        )
    return center, float(np.sqrt(radius_sq))


def spread_choice(positions_mm: ArrayLike, count: int) -> list[int]:
    """Choose evenly spread electrodes by farthest-point sampling.

    Starts at the electrode nearest the vertex, adds the electrode farthest (in angle) from
    those chosen, then swaps single electrodes while that widens the smallest gap.

    Parameters
    ----------
    positions_mm : array_like, shape (n_electrodes, 3)
        Candidate positions, origin at the centre of the sphere.
    count : int
        Number to choose, 1 to n_electrodes.

    Returns
    -------
    list of int
        Chosen rows, ascending.

    Raises
    ------
    MontageError
        If ``count`` is out of range.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    n = len(positions)
    if not 1 <= count <= n:
        raise MontageError(f"count must be from 1 to the {n} usable electrodes, got {count}.")
    unit = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    distance = np.arccos(np.clip(unit @ unit.T, -1.0, 1.0))
    chosen = [int(np.argmax(unit[:, 2]))]
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance[:, chosen].min(axis=1))))
    return sorted(_widen(distance, chosen))


def _widen(distance: FloatArray, chosen: list[int]) -> list[int]:
    """Swap single electrodes while the mean distance to the nearest chosen one falls."""

    def cover(rows: list[int]) -> float:
        return float(distance[:, rows].min(axis=1).mean())

    best = cover(chosen)
    improved = True
    while improved:
        improved = False
        for slot in range(len(chosen)):
            for candidate in range(len(distance)):
                if candidate in chosen:
                    continue
                trial = [*chosen[:slot], candidate, *chosen[slot + 1 :]]
                value = cover(trial)
                if value < best - 1e-12:
                    chosen, best, improved = trial, value, True
    return chosen
