"""Values of markers as text, the same whether they come live or from a file."""

from __future__ import annotations

import numpy as np


def value_text(value: str | float | np.integer | np.floating) -> str:
    """A marker's value as text: strings as they are, whole numbers without a point.

    Parameters
    ----------
    value : str, int, float or numpy scalar
        As sent.

    Returns
    -------
    str
        All digits that the value has: 1234567.0 is ``1234567``, and float32 0.1 is ``0.1``.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(int(value))
    number = float(value)
    return str(int(number)) if number.is_integer() else str(value)
