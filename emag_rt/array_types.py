"""Array types of the whole project: what stands in signatures instead of NumPy's own spelling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]
IndexArray = NDArray[np.intp]
Samples = NDArray[np.floating]
"""Raw or filtered samples of either width, shape (n_times, n_channels)."""
Stamps = NDArray[np.float64]
"""Seconds on the LSL clock, shape (n_times,)."""
