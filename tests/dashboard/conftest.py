"""A board as if a daemon fed it."""

from __future__ import annotations

import numpy as np
import pytest

from emag_rt.core.grid import scalp_points
from emag_rt.dashboard.board import Board
from emag_rt.dashboard.outlet import read_hd_outlet
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import ManualClock
from emag_rt.streams.metadata import OutletSpec, description
from tests.factories import LD

HD = (*LD, "Fz", "Pz", "C3", "C4")
SFREQ = 200.0
PLACES = scalp_points(len(HD), 90.0)


def hd_outlet(**vendor):
    """The HD outlet of a daemon, through the description that it publishes."""
    spec = OutletSpec(
        "s01-HD",
        "emag-rt:1",
        HD,
        SFREQ,
        positions_mm=PLACES,
        channel_origin=("measured",) * len(LD) + ("rendered",) * 4,
        expected_nmse=(None,) * len(LD) + (0.1, 0.2, 0.3, 0.4),
        virtual=(False,) * (len(HD) - 1) + (True,),
        highpass=0.5,
        lowpass=40.0,
        vendor={"ld_labels": ",".join(LD), "input_source_id": "AMP-1", "hop": "0", **vendor},
    )
    head = StreamFormat(spec.name, "EEG", spec.source_id, SFREQ, HD, ("microvolts",) * len(HD))
    return read_hd_outlet(head, description(spec))


class Daemon:
    """What the reading threads would tell a board, on a clock set by hand."""

    def __init__(self, **options):
        self.clock = ManualClock(100.0)
        self.board = Board("s01-HD", clock=self.clock, **options)
        self.hd = hd_outlet()

    def open(self):
        self.board.hd_opened(self.hd, LD, self.hd.positions_mm[: len(LD)])
        return self

    def rows(self, n=4, value=None):
        t = self.clock()
        stamps = t + np.arange(n) / SFREQ
        values = np.arange(len(HD)) if value is None else np.full(len(HD), value)
        self.board.hd_rows(np.tile(values, (n, 1)).astype(np.float32), stamps, t + 0.02)
        ld = np.tile(values[: len(LD)], (n, 1))
        self.board.ld_rows(ld, stamps, ld)
        return self

    @property
    def state(self):
        return self.board.state()["state"]

    @property
    def text(self):
        return self.board.state()["text"]


@pytest.fixture
def daemon():
    return Daemon()
