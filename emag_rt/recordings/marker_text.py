"""Texts of markers as annotations: whatever a program sends must not cut EEG out."""

from __future__ import annotations

import re

# Control characters and halves of surrogate pairs: no file takes them.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Where one of these stands in an annotation, readers split the recording (see usable.breaks).
_SPLITTING = re.compile(r"(bound)(ary)|(new)[ ](segment)", re.IGNORECASE)
# Annotations that begin so are left out (bad), or split filters of MNE (edge).
_LEADING = ("bad", "edge")


def marker_text(text: str) -> str:
    """Text of a marker as an annotation that means nothing but itself.

    Parameters
    ----------
    text : str
        What the marker says.

    Returns
    -------
    str
        On one line, ``(empty)`` where nothing is left. ``bad...`` and ``edge...`` become ``marker
        bad...``; ``boundary`` becomes ``bound_ary`` and ``new segment`` ``new_segment``, which
        readers would take for places where time jumps. MNE's own escape ``{COLON}`` becomes a
        colon, and what cannot be written a question mark.
    """
    plain = " ".join(text.replace("{COLON}", ":").split())
    plain = _UNWRITABLE.sub("?", plain) or "(empty)"
    plain = _SPLITTING.sub(lambda m: "_".join(g for g in m.groups() if g), plain)
    return f"marker {plain}" if plain.lower().startswith(_LEADING) else plain
