"""Labels and electrode positions, where a recording does not bring its own."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from difflib import get_close_matches

import mne
import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import canonical
from emag_rt.errors import MontageError

logger = logging.getLogger("emag_rt.recordings")


_TEMPLATES = (
    "standard_1005",
    "biosemi16 (A1...)",
    "biosemi32 (A1...)",
    "biosemi64 (A1...)",
    "biosemi128",
    "biosemi160",
    "biosemi256",
    "GSN-HydroCel-32",
    "GSN-HydroCel-64_1.0",
    "GSN-HydroCel-128",
    "GSN-HydroCel-256",
)
_NUMBERED = " (A1...)"
"""BioSemi's small caps have 10-20 places in the order of their plugs: A1 to A32, B1 to B32."""


@functools.cache
def template(name: str = "standard_1005") -> dict[str, FloatArray]:
    """Template positions.

    Parameters
    ----------
    name : str
        A montage built into MNE.

    Returns
    -------
    dict of str to ndarray, shape (3,)
        Position of each electrode in MNE's head frame, in mm.

    Raises
    ------
    MontageError
        If MNE has no such montage.
    """
    if name.endswith(_NUMBERED):
        places = template(name.removesuffix(_NUMBERED))
        return {f"{'AB'[i // 32]}{i % 32 + 1}": p for i, p in enumerate(places.values())}
    try:
        montage = mne.channels.make_standard_montage(_name_in_mne(name))
    except ValueError as error:
        builtin = mne.channels.get_builtin_montages()
        near = get_close_matches(name, builtin, n=3, cutoff=0.4) or builtin[:3]
        raise MontageError(
            f"montage must be a file, or one of MNE's {len(builtin)} standard montages "
            f"(nearest: {', '.join(near)}), got {name!r}."
        ) from error
    info = mne.create_info(list(montage.ch_names), 1.0, "eeg", verbose="ERROR")
    info.set_montage(montage, verbose="ERROR")
    return {ch["ch_name"]: np.array(ch["loc"][:3]) * 1000.0 for ch in info["chs"]}


def _name_in_mne(name: str) -> str:
    """MNE 1.13 calls ``standard_1005`` and its like ``colin27_1005``: the same places."""
    if name in (builtin := mne.channels.get_builtin_montages()):
        return name
    old, new = "standard_", "colin27_"
    other = name.replace(old, new, 1) if name.startswith(old) else name.replace(new, old, 1)
    return other if other in builtin else name


def clean_labels(labels: Sequence[str]) -> list[str]:
    """Spell labels as the 10-05 system does, where they belong to it.

    EDF's ``Fc5.`` becomes ``FC5``, ``EEG FP1-REF`` becomes ``Fp1``; old names (``T3``) stay.
    Other labels only lose padding dots and blanks. Nothing changes where two labels would
    become one.

    Parameters
    ----------
    labels : sequence of str
        Labels of a recording.

    Returns
    -------
    list of str
        One label for each.
    """
    proper = {name.lower(): name for name in template()}
    cleaned = []
    for label in labels:
        plain = label.strip().rstrip(".")
        cleaned.append(proper.get(plain.lower()) or proper.get(canonical(label)) or plain)
    return cleaned if len(set(cleaned)) == len(set(labels)) else list(labels)


@functools.cache
def ten_five() -> frozenset[str]:
    """Electrodes of the 10-05 system in canonical spelling."""
    return frozenset(canonical(name) for name in template())


def known_positions(info: mne.Info) -> FloatArray:
    """Positions that MNE's info carries.

    Parameters
    ----------
    info : mne.Info
        Channel information.

    Returns
    -------
    ndarray, shape (n_channels, 3)
        Positions in MNE's head frame in mm, NaN where unknown.
    """
    positions = np.array([ch["loc"][:3] for ch in info["chs"]], dtype=np.float64) * 1000.0
    positions[~np.isfinite(positions).all(axis=1) | (positions == 0).all(axis=1)] = np.nan
    return positions


def fill_from_template(labels: Sequence[str], positions: FloatArray) -> tuple[FloatArray, str]:
    """Give channels without position that of the template channel with the same label.

    Parameters
    ----------
    labels : sequence of str
        Channel labels.
    positions : ndarray, shape (n_channels, 3)
        Known positions in mm, NaN where unknown.

    Returns
    -------
    positions : ndarray, shape (n_channels, 3)
        With the template's positions filled in; NaN where it does not know the label.
    name : str
        Name of the template that was used.
    """
    missing = [i for i in range(len(labels)) if not np.isfinite(positions[i]).all()]
    best: dict[int, FloatArray] = {}
    best_name, least = _TEMPLATES[0], 0
    for name in _TEMPLATES:
        places = {key.lower(): position for key, position in template(name).items()}
        by_alias = {canonical(key): position for key, position in template(name).items()}
        hits = {}
        for i in missing:
            place = places.get(labels[i].lower(), by_alias.get(canonical(labels[i])))
            if place is not None:
                hits[i] = place
        # Of nets that share their numbering, the smallest that has every label.
        if len(hits) > len(best) or (len(hits) == len(best) and len(places) < least):
            best, best_name, least = hits, name, len(places)
    filled = positions.copy()
    for i, place in best.items():
        filled[i] = place
    return filled, best_name


_NOT_EEG = re.compile(
    r"^(ecg|ekg|[hv]?eog|emg|exg\d|resp|gsr|temp|trig|status|sti\b|stim|marker|event|"
    r"acc[_ ]?[xyz]|annotations?|counter|time(stamp)?s?\b|interpolated|battery|"
    r"(sample|packet)[_ ]?(number|index|count))",
    re.IGNORECASE,
)


def looks_like_eeg(label: str) -> bool:
    """Whether a label may belong to an EEG electrode (readers call every EDF channel EEG)."""
    return _NOT_EEG.match(label.strip()) is None
