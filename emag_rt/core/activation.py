"""Element-wise non-linearities."""

from __future__ import annotations

from typing import Literal

import numpy as np

from emag_rt.array_types import Samples

Activation = Literal["gelu", "relu"]


def activate(name: Activation, values: Samples) -> Samples:
    """Element-wise GELU (exact, Hendrycks & Gimpel 2016) or ReLU."""
    if name == "relu":
        return np.maximum(values, 0)
    from scipy.special import erf  # a slow import that linear fields never need

    half = values.dtype.type(0.5)
    root = values.dtype.type(np.sqrt(0.5))
    return np.asarray(half * values * (1 + erf(values * root)))
