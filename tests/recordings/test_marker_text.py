"""Markers as annotations: none cuts EEG out, splits it, or stops a file from being written."""

from __future__ import annotations

import pytest

from emag_rt.recordings.marker_text import marker_text
from emag_rt.recordings.usable import breaks


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("stimulus/left", "stimulus/left"),
        (" two\n lines ", "two lines"),
        ("", "(empty)"),
        ("Bad answer", "marker Bad answer"),
        ("edge found", "marker edge found"),
        ("badly, at the Boundary", "marker badly, at the Bound_ary"),
        ("Comment/New  Segment", "Comment/New_Segment"),
        ("a{COLON}b", "a:b"),
        ("{COL{COLON}ON}", "{COL:ON}"),
        ("{COLON}bad", ":bad"),
        ("x\ud800\x00y", "x??y"),
        ("Käse 10 µV", "Käse 10 µV"),
    ],
)
def test_markers_mean_nothing_but_themselves(text, shown):
    assert marker_text(text) == shown
    assert breaks([1.0], [0.5], [shown], 100.0) == ([], [])
    assert marker_text(shown) == shown
    shown.encode()
