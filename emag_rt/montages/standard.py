"""Positions of standard montages, from a file in the package: serving imports no MNE."""

from __future__ import annotations

import functools
import json
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import MontageError

DATA = Path(__file__).with_name("standard.json")
"""Written by ``tools/make_standard_montages.py`` from MNE's positions (BSD-3-Clause)."""
TEN_FIVE = "standard_1005"
"""The 10-05 system: where the labels ``Fz``, ``C3`` and so on belong."""
_SHORT = {"10-05": TEN_FIVE, "10-10": TEN_FIVE, "10-20": "standard_1020"}


@functools.cache
def _montages() -> dict[str, dict[str, list[float]]]:
    content: dict[str, dict[str, list[float]]] = json.loads(DATA.read_text("utf-8"))["montages"]
    return content


def standard_names() -> tuple[str, ...]:
    """Names of the montages in the package."""
    return tuple(_montages())


def is_standard(name: str) -> bool:
    """Whether a montage of this name is in the package; case makes no difference."""
    return _find(name) is not None


def standard_positions(name: str) -> dict[str, FloatArray]:
    """Positions of a standard montage.

    Parameters
    ----------
    name : str
        A name that ``mne.channels.make_standard_montage`` knows, or ``10-05``, ``10-20``.

    Returns
    -------
    dict of str to ndarray, shape (3,), float64
        Position of each electrode in MNE's head frame, in mm.

    Raises
    ------
    MontageError
        If it is not in the package; names the nearest.
    """
    found = _find(name)
    if found is None:
        near = get_close_matches(name, standard_names(), n=3, cutoff=0.4) or standard_names()[:3]
        raise MontageError(
            f"montage must be one of the {len(standard_names())} standard montages in the package "
            f"(nearest: {', '.join(near)}), got {name!r}."
        )
    return {label: np.array(place) for label, place in _montages()[found].items()}


def _find(name: str) -> str | None:
    wanted = _SHORT.get(name, name).lower().replace("colin27_", "standard_")  # MNE 1.13's names
    return next((known for known in standard_names() if known.lower() == wanted), None)
