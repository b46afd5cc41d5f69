"""What exchanging two channels does to how well a covariance fits."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import FloatArray


def exchange(inverse: FloatArray, s: FloatArray) -> FloatArray:
    """``tr(K P S P) - tr(K S)`` for the exchange P of every pair, shape (n, n)."""
    k, d = np.diag(inverse), np.diag(s)
    product = inverse @ s
    own = np.diag(product)
    everyone = 2.0 * (product + product.T - own[:, None] - own[None, :])
    # The sum over the other channels is that over all less the pair itself, whose own two
    # variances change places and whose covariance stays.
    first = 2.0 * (k[:, None] - inverse) * (s - d[:, None])
    second = 2.0 * (inverse - k[None, :]) * (d[None, :] - s)
    pair = (k[:, None] - k[None, :]) * (d[None, :] - d[:, None])
    return np.asarray(everyone - first - second + pair)
