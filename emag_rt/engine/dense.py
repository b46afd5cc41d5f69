"""A live map of the scalp: thousands of points, the newest sample only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import Float32Array
from emag_rt.bundle import Bundle
from emag_rt.core.alignment import Placement
from emag_rt.core.grid import scalp_points
from emag_rt.core.montage import Montage
from emag_rt.engine.upsampler import Upsampler


class DenseMap:
    """Renders the field at many points of the scalp, once a chunk.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    n_points : int
        Points, evenly spread over the upper half of the head sphere.
    positions_mm : array_like, shape (n_points, 3), optional
        Points of your own in the bundle's frame instead.
    **options
        ``channels``, ``units``, ``engine`` and ``require_gpu``, as for
        :class:`emag_rt.engine.upsampler.Upsampler`.

    Attributes
    ----------
    positions_mm : ndarray, shape (n_points, 3), float64
        Where the frames are rendered.
    engine : str
        What renders.

    Examples
    --------
    >>> dense = DenseMap(bundle, 10_000, engine="torch")  # doctest: +SKIP
    >>> frame, stamp = dense.push(ld_chunk, timestamps)    # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: Bundle,
        n_points: int = 10_000,
        *,
        positions_mm: ArrayLike | None = None,
        channels: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if positions_mm is None:
            points = scalp_points(n_points, bundle.manifest.head.radius_mm)
        else:
            points = np.asarray(positions_mm, dtype=np.float64)
        labels = tuple(f"point{i}" for i in range(len(points)))
        # Points are no electrodes, not even those that happen to lie under one.
        nobody = Placement(Montage(labels, points), (None,) * len(points), "points of a map")
        self._upsampler = Upsampler(
            bundle, channels=channels, montage=nobody, measured="render", **options
        )
        self.positions_mm = self._upsampler.montage.positions_mm
        self.engine = self._upsampler.engine

    def reset(self) -> None:
        """Forget everything, as after a long gap."""
        self._upsampler.reset()

    def push(
        self, ld_chunk: ArrayLike, timestamps: ArrayLike | None = None
    ) -> tuple[Float32Array, float] | None:
        """Take in a chunk and render its newest sample; the others only move the state on.

        Parameters
        ----------
        ld_chunk : array_like, shape (n_times, n_inputs)
            Raw samples in the input's units.
        timestamps : array_like, shape (n_times,), optional
            Capture stamps in s; by default seconds since the first sample.

        Returns
        -------
        frame : ndarray, shape (n_points,), float32
            µV in the input's reference.
        timestamp : float
            Stamp of the LD sample that the frame belongs to: the newest one, or the one
            ``look_ahead`` samples before it. None instead of both as long as there is none.

        Raises
        ------
        SettingsError
            If the shapes do not fit.
        """
        chunk = np.asarray(ld_chunk)
        stamps = None if timestamps is None else np.asarray(timestamps)
        if not len(chunk):
            return None
        early, late = slice(0, -1), slice(-1, None)
        if len(chunk) > 1:
            self._upsampler.push(chunk[early], None if stamps is None else stamps[early], skip=True)
        hd, found = self._upsampler.push(chunk[late], None if stamps is None else stamps[late])
        return (hd[-1], float(found[-1])) if len(found) else None
