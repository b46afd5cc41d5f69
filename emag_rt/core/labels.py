"""Electrode labels: one spelling for matching, whatever the amplifier calls them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterable, Sequence

from emag_rt.errors import MontageError

# Old 10-20 names on the left, 10-10 names on the right (ACNS guideline 2).
_ALIASES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
_PREFIX = re.compile(r"^eeg[\s_]+")
_NAMED_REFERENCE = re.compile(r"^(.+?)\s*[-/]\s*([A-Za-z]\w*)$")
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


def cut_common(labels: Sequence[str], known: Container[str]) -> tuple[list[str], str]:
    """Cut what all labels begin or end with, where electrodes are left.

    ``EEG-Fz`` and ``Fz-Pz`` of an amplifier that says so of every channel are Fz.

    Parameters
    ----------
    labels : sequence of str
        Channel labels.
    known : container of str
        Electrodes in :func:`canonical` spelling, such as those of the 10-05 system.

    Returns
    -------
    labels : list of str
        As they were unless more than half are electrodes only once they are cut.
    cut : str
        What was cut, in words; empty where nothing was.
    """

    def electrodes(names: Sequence[str]) -> int:
        return sum(canonical(name) in known for name in names)

    plain = [label.strip() for label in labels]
    if len(plain) < 2 or 2 * electrodes(plain) > len(plain):
        return list(labels), ""
    n_begin, n_end = _n_common(plain), _n_common([label[::-1] for label in plain])
    best, most, cut = list(labels), len(plain) // 2 + 1, ""
    for first, last in itertools.product(range(n_begin + 1), range(n_end + 1)):
        trial = [label[first : len(label) - last].strip() for label in plain]
        count = electrodes(trial) if first + last else 0
        if count >= most and all(trial) and len(set(trial)) == len(trial):
            best, most = trial, count  # of equals the last, which cuts most
            parts = ("begin with", plain[0][:first]), ("end with", plain[0][len(plain[0]) - last :])
            cut = " and ".join(f"{verb} {part!r}" for verb, part in parts if part)
    return best, cut


def _n_common(texts: Sequence[str]) -> int:
    """Letters that all texts begin with."""
    return sum(
        1 for _ in itertools.takewhile(lambda c: len(set(c)) == 1, zip(*texts, strict=False))
    )


def require_one_reference(labels: Sequence[str], known: Container[str], what: str) -> None:
    """Raise when labels name more than one reference, as ``C3-M2`` and ``C4-M1`` do.

    Parameters
    ----------
    labels : sequence of str
        Labels of EEG channels.
    known : container of str
        Electrodes in :func:`canonical` spelling.
    what : str
        What the labels belong to, for the message.

    Raises
    ------
    MontageError
        If two channels stand against different references: their signals differ by more than
        one common signal, and a field takes out one alone.
    """
    seen: dict[str, str] = {}
    for label in labels:
        found = _NAMED_REFERENCE.match(label.strip().rstrip("."))
        if found and canonical(found[1]) in known:
            seen.setdefault(found[2].upper(), label)
    if len(seen) > 1:
        shown = ", ".join(repr(label) for label in list(seen.values())[:4])
        raise MontageError(
            f"{what}: all channels must have one reference, their labels name {len(seen)} "
            f"({', '.join(list(seen)[:4])}: {shown}). Record against one reference, or compute it "
            "before (MNE: raw.set_eeg_reference) and name the channels by their electrode alone."
        )


def unfit_labels(labels: Sequence[str]) -> list[str]:
    """Labels that no bundle holds: empty, of more than 64 characters, or not printable."""
    return [label for label in labels if not (0 < len(label) <= 64 and label.isprintable())]


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
