"""Electrode labels: one spelling for matching, whatever the amplifier calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from emag_rt.errors import MontageError

# Old 10-20 names on the left, 10-10 names on the right (ACNS guideline 2).
_ALIASES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
_PREFIX = re.compile(r"^eeg[\s_]+")
_SUFFIX = re.compile(r"-(ref|le|ar|avg|m1|m2|a1|a2)$")


def canonical(label: str) -> str:
    """Spelling used to compare labels.

    Case, padding dots (EDF writes ``Fc5.``), an ``EEG`` prefix, a reference suffix and
    the old temporal names (T3, T4, T5, T6) make no difference.

    Parameters
    ----------
    label : str
        A channel label.

    Returns
    -------
    str
        Lower-case canonical label.
    """
    text = _PREFIX.sub("", label.strip().lower())
    text = _SUFFIX.sub("", text).rstrip(".").strip()
    return _ALIASES.get(text, text)


def require_unique(labels: Sequence[str], what: str) -> None:
    """Raise when two labels mean the same electrode.

    Parameters
    ----------
    labels : sequence of str
        Channel labels.
    what : str
        What the labels belong to, for the message.

    Raises
    ------
    MontageError
        If two labels are equal after :func:`canonical`.
    """
    seen: dict[str, str] = {}
    for label in labels:
        key = canonical(label)
        if key in seen:
            raise MontageError(
                f"{what}: channel labels must be unique (case and T3/T7-style aliases do not "
                f"count), got {seen[key]!r} and {label!r}. Rename or drop one of them."
            )
        seen[key] = label


def match_labels(wanted: Iterable[str], available: Sequence[str], what: str) -> list[int]:
    """Index in ``available`` of every wanted label.

    Parameters
    ----------
    wanted : iterable of str
        Labels to find.
    available : sequence of str
        Labels to search; order and extra channels do not matter.
    what : str
        What ``available`` belongs to, for the message.

    Returns
    -------
    list of int
        One index for each wanted label, in the order wanted.

    Raises
    ------
    MontageError
        If a wanted label is missing, or matches two channels.
    """
    index: dict[str, list[int]] = {}
    for i, label in enumerate(available):
        index.setdefault(canonical(label), []).append(i)
    found: list[int] = []
    missing: list[str] = []
    for label in wanted:
        hits = index.get(canonical(label), [])
        if len(hits) > 1:
            names = ", ".join(repr(available[i]) for i in hits)
            raise MontageError(
                f"{what}: label {label!r} must match one channel, got {names}. "
                "Rename or drop the duplicates."
            )
        if hits:
            found.append(hits[0])
        else:
            missing.append(label)
    if missing:
        raise MontageError(
            f"{what}: every needed channel must be present, missing {', '.join(missing)}; "
            f"it has {', '.join(available[:40])}{', …' if len(available) > 40 else ''}. "
            "Rename the channels or calibrate with the ones that are there."
        )
    return found
