"""Reading a lead field that the user gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError


def read_lead_field(source: str | Path | FloatArray, n_hd: int, n_points: int) -> FloatArray:
    """Read and check a lead field.

    Parameters
    ----------
    source : path-like or ndarray
        ``.npy`` file or array.
    n_hd, n_points : int
        Rows and columns it must have.

    Returns
    -------
    ndarray, shape (n_hd, n_points), float64
        Scaled to unit root mean square: the amplitudes learn the unit.

    Raises
    ------
    CalibrationError
        If it cannot be read, has another shape, or is not finite or zero.
    """
    name = "lead_field" if isinstance(source, np.ndarray) else f"lead_field {source}"
    if isinstance(source, np.ndarray):
        matrix = source
    else:
        try:
            matrix = np.load(source, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CalibrationError(
                f"{name}: must be a NumPy .npy file of numbers ({error}). Save it with numpy.save."
            ) from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in "fiu":
        raise CalibrationError(f"{name}: must be one array of real numbers. Save it as float64.")
    if matrix.shape != (n_hd, n_points):
        raise CalibrationError(
            f"{name}: must have shape ({n_hd}, {n_points}), a row for each HD channel in the order "
            f"of the montage and a column for each grid point, got {matrix.shape}. Is it made "
            "for this montage and this grid?"
        )
    matrix = matrix.astype(np.float64)
    size = float(np.sqrt((matrix**2).mean())) if np.isfinite(matrix).all() else 0.0
    if not size > 0:
        raise CalibrationError(f"{name}: must be finite and not all zero.")
    return matrix / size
