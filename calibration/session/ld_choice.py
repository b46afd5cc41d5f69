"""Which channels to wear: a count, names, or a file of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from emag_rt.core.labels import canonical
from emag_rt.core.montage import Montage, spread_choice
from emag_rt.errors import CalibrationError

_COUNT = re.compile(r"[+-]?[0-9]{1,9}")
_LISTS = (".txt", ".csv", ".tsv")
_NO_HD = "An HD recording has more channels than are worn; without one: emag-rt calibrate --no-hd."


def read_ld_choice(text: str) -> int | list[str]:
    """Understand ``--ld``: a count, comma-separated names, or ``@FILE`` of names.

    A file is understood without its ``@`` where it is called ``.txt``, ``.csv`` or ``.tsv``.

    Parameters
    ----------
    text : str
        The option.

    Returns
    -------
    int or list of str
        Number of channels to spread evenly, or their labels.

    Raises
    ------
    CalibrationError
        If the file cannot be read or nothing is named.
    """
    if Path(text).suffix.lower() in _LISTS and "," not in text:
        text = f"@{text.removeprefix('@')}"
    if text.startswith("@"):
        try:
            lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise CalibrationError(
                f"--ld {text}: must be a text file of names ({reason})."
            ) from error
        # Names stand on lines of their own, or between commas; # begins a comment.
        text = ",".join(line.partition("#")[0] for line in lines)
    elif _COUNT.fullmatch(text.strip()):
        return int(text)
    names = [name.strip() for name in re.split("[,;]", text) if name.strip()]
    if not names:
        raise CalibrationError("--ld must be a number, names, or @FILE of names; got nothing.")
    return names


def choose_ld(ld: int | Sequence[str], montage: Montage, bad: Sequence[int]) -> list[int]:
    """Rows of the LD channels.

    Parameters
    ----------
    ld : int or sequence of str
        How many, spread evenly over the good channels, or their labels.
    montage : Montage
        All channels.
    bad : sequence of int
        Rows that must not be LD.

    Returns
    -------
    list of int
        Rows, in the order named, or ascending.

    Raises
    ------
    CalibrationError
        If the choice is impossible.
    """
    good = [i for i in range(len(montage)) if i not in bad]
    if isinstance(ld, int):
        if not 2 <= ld < len(good):
            raise CalibrationError(
                f"--ld must be from 2 to {len(good) - 1} (one fewer than the good channels), "
                f"got {ld}. {_NO_HD}"
            )
        return [good[i] for i in spread_choice(montage.positions_mm[good], ld)]
    rows = _named(ld, montage)
    lost = [montage.labels[i] for i in rows if i in bad]
    if lost:
        raise CalibrationError(
            f"--ld: LD channels must be good, {', '.join(lost)} are bad in this session (marked, "
            "flat or wild). Choose others, or mend the electrode and record again."
        )
    if not 2 <= len(rows) < len(good):
        raise CalibrationError(
            f"--ld must leave at least one good channel to render, and name at least 2; got "
            f"{len(rows)} of {len(good)}. {_NO_HD}"
        )
    return rows


def _named(ld: Sequence[str], montage: Montage) -> list[int]:
    known = {canonical(label): i for i, label in enumerate(montage.labels)}
    unknown = [label for label in ld if canonical(label) not in known]
    if unknown:
        near = [
            f"{label} (did you mean {', '.join(montage.labels[known[k]] for k in found)}?)"
            if (found := get_close_matches(canonical(label), known, n=2))
            else label
            for label in unknown
        ]
        raise CalibrationError(
            f"--ld must name channels of the recordings, got {'; '.join(near)}. They are: "
            f"{', '.join(montage.labels)}."
        )
    rows = [known[canonical(label)] for label in ld]
    if len(set(rows)) != len(rows):
        raise CalibrationError(f"--ld must name each channel once, got {', '.join(ld)}.")
    return rows
