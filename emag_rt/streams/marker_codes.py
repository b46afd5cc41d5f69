"""Markers as whole numbers, for programs that read no text (OpenViBE: stimulations)."""

from __future__ import annotations

import json

LABEL_00 = 33_024
"""OpenViBE's ``OVTK_StimulationId_Label_00``: names of its own begin here."""

EVENTS = (
    "stopped",
    "gap",
    "bridged",
    "silent",
    "recovered",
    "remapped",
    "skipped",
    "overdue",
    "disorder",
    "clock_jump",
    "step",
    "bad_channel",
    "good_channel",
    "too_many_bad",
    "enough_good",
    "amplifier_dead",
    "amplifier_back",
    "wrong_scale",
    "wrong_rate",
    "unverified",
    "ambiguous",
    "refused",
    "uneven_stamps",
    "namesake",
    "other_reference",
    "ld_misfit",
    "ld_fits",
    "adapted",
    "unadapted",
    "adapting",
)
"""What ``serve`` tells, from :data:`LABEL_00` on; only ever added to at the end."""

_OTHER = LABEL_00 + 0x1F
_INT32 = 1 << 31


def event_code(marker: str) -> int:
    """Code of an event of ``serve``, from its JSON; the last label for one that has none."""
    name = json.loads(marker)["event"]
    return LABEL_00 + EVENTS.index(name) if name in EVENTS else _OTHER


class TextCodes:
    """Codes of texts: whole numbers are their own, others are counted from :data:`LABEL_00` on.

    Parameters
    ----------
    texts : iterable of str
        All texts that will be asked for, in order.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        words = sorted({text for text in texts if _own(text) is None})
        self.table = {word: LABEL_00 + i for i, word in enumerate(words)}

    def __call__(self, text: str) -> int:
        """Code of one of the texts."""
        own = _own(text)
        return self.table[text] if own is None else own


def _own(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -_INT32 <= number < _INT32 else None
