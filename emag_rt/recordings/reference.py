"""The reference that a recording declares, kept where MNE has room for it: in its description."""

from __future__ import annotations

import re

_DECLARED = re.compile(r"(?:^|, )reference: ([\x20-\x7e]{1,64})$")


def with_reference(text: str, label: str) -> str:
    """A description that ends with the reference; as it was where there is none to write."""
    told = ", ".join(part for part in (text, f"reference: {label.strip()}") if part)
    return told if declared_reference(told) else text


def declared_reference(text: str | None) -> str:
    """The reference with which :func:`with_reference` ended a description; else empty."""
    found = _DECLARED.search(text or "")
    return found[1].strip() if found else ""
