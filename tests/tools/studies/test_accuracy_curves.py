"""Cutting a calibration short must lose, double or join nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emag_rt.recordings.read import Recording
from tools.studies.accuracy_curves import stretches
from tools.studies.cases import cut

SFREQ = 100.0


def recording(name: str, n: int, segments: tuple[tuple[int, int], ...], first: int) -> Recording:
    numbers = np.arange(first, first + n, dtype=float)[:, None]
    return Recording(
        labels=("Cz",),
        data_uv=numbers,
        sfreq=SFREQ,
        segments=segments,
        positions_mm=None,
        origin_mm=np.zeros(3),
        radius_mm=float("nan"),
        unplaced=(),
        bads=(),
        path=Path(name),
        sha256=name,
        meas_date=None,
        events=(),
        info=None,
        warnings=(),
    )


@pytest.fixture
def runs() -> list[Recording]:
    """7 s usable in two stretches, then 5 s: 12 s in all."""
    return [
        recording("a", 1000, ((100, 500), (700, 1000)), 0),
        recording("b", 600, ((0, 500),), 1000),
    ]


def usable(recordings: list[Recording]) -> list[float]:
    return [float(x) for r in recordings for a, b in r.segments for x in r.data_uv[a:b, 0]]


def test_stretches_are_consecutive_usable_samples_from_end_to_end(runs: list[Recording]) -> None:
    everything = usable(runs)
    pieces = [usable(piece) for piece in stretches(runs, 3.0, 4)]
    assert [len(piece) for piece in pieces] == [300] * 4
    for piece, start in zip(pieces, (0, 300, 600, 900), strict=True):
        assert piece == everything[start : start + 300]


def test_nothing_is_cut_where_there_is_not_more(runs: list[Recording]) -> None:
    (piece,) = stretches(runs, 12.0, 4)
    assert usable(piece) == usable(runs)


def test_pieces_of_one_file_differ_in_hash_and_hold_nothing_else(runs: list[Recording]) -> None:
    head, tail = cut(runs[0], 0, 800), cut(runs[0], 800, 1000)
    assert head.sha256 != tail.sha256
    assert (len(head.data_uv), head.segments) == (800, ((100, 500), (700, 800)))
    assert (len(tail.data_uv), tail.segments) == (200, ((0, 200),))
    assert tail.data_uv[0, 0] == 800
