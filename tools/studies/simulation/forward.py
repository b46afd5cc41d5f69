"""Lead fields of dipoles anywhere in the brain, by MNE's four-layer sphere, offline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError
from emag_rt.synthetic.head import SyntheticHead

BRAIN = 0.9
"""Radius of the brain over that of the scalp in MNE's sphere."""


def forward_solution(head: SyntheticHead, places_mm: ArrayLike) -> Any:
    """Compute MNE's forward solution with free orientation.

    Parameters
    ----------
    head : SyntheticHead
        Electrodes and sphere.
    places_mm : array_like, shape (n_places, 3)
        Dipoles about the centre of the sphere, inside the brain.

    Returns
    -------
    mne.Forward
        In the order of ``places_mm``, moments along x, y, z of the head frame.

    Raises
    ------
    SettingsError
        If a dipole lies outside the brain.
    """
    import mne

    places = np.atleast_2d(np.asarray(places_mm, dtype=np.float64))
    radius = float(np.linalg.norm(head.montage.positions_mm, axis=1).mean())
    deepest = float(np.linalg.norm(places, axis=1).max())
    if not deepest < BRAIN * radius:
        raise SettingsError(
            f"places_mm must lie in the brain, within {BRAIN * radius:.1f} mm of the centre, "
            f"got {deepest:.1f} mm."
        )
    sphere = mne.make_sphere_model(
        r0=head.origin_mm / 1000.0, head_radius=radius / 1000.0, verbose="ERROR"
    )
    normals = np.tile([0.0, 0.0, 1.0], (len(places), 1))
    points = {"rr": (places + head.origin_mm) / 1000.0, "nn": normals}
    sources = mne.setup_volume_source_space(pos=points, sphere_units="m", verbose="ERROR")
    forward = mne.make_forward_solution(
        head.info, None, sources, sphere, meg=False, eeg=True, mindist=0.0, verbose="ERROR"
    )
    if forward["nsource"] != len(places):
        raise SettingsError("places_mm must all lie in the brain; MNE left some out.")
    return forward


def gains(head: SyntheticHead, places_mm: ArrayLike) -> FloatArray:
    """Lead field of dipoles of any orientation.

    Parameters
    ----------
    head : SyntheticHead
        Electrodes and sphere.
    places_mm : array_like, shape (n_places, 3)
        Dipoles about the centre of the sphere.

    Returns
    -------
    ndarray, shape (n_channels, n_places, 3), float64
        µV for 1 nA m along x, y, z (reference at infinity).

    Raises
    ------
    SettingsError
        If a dipole lies outside the brain.
    """
    solution = forward_solution(head, places_mm)["sol"]["data"]
    return np.asarray(solution, dtype=np.float64).reshape(len(solution), -1, 3) * 1e-3


def brain_grid(head: SyntheticHead, spacing_mm: float, outer: float = 0.88) -> FloatArray:
    """Cubic grid of places in the upper brain.

    Parameters
    ----------
    head : SyntheticHead
        For its size.
    spacing_mm : float
        Step of the grid.
    outer : float
        Outermost radius over that of the scalp, below ``BRAIN``.

    Returns
    -------
    ndarray, shape (n_places, 3), float64
        In mm, at least 10 mm from the centre and no lower than 40 % of the radius below it.
    """
    radius = float(np.linalg.norm(head.montage.positions_mm, axis=1).mean())
    axis = np.arange(-radius, radius + spacing_mm, spacing_mm)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(points, axis=1)
    inside = (distance < outer * radius) & (distance > 10.0) & (points[:, 2] > -0.4 * radius)
    return np.ascontiguousarray(points[inside])
