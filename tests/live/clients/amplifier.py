"""An amplifier whose every sample is known: the LD channels of the recording that is played."""

from __future__ import annotations

import time

import mne
import numpy as np
from numpy.typing import NDArray

from emag_rt.bundle import load_bundle
from emag_rt.streams.lsl import LslSink, OutletSpec, local_clock
from tests.live.conftest import SFREQ, Subject


class Amplifier:
    """An LSL outlet ``amp-ID`` with source id ``ID``; ``rows`` is what it can send, in µV."""

    def __init__(self, subject: Subject, source_id: str, n_samples: int) -> None:
        self.labels = tuple(e.label for e in load_bundle(subject.bundle).manifest.ld)
        raw = mne.io.read_raw_fif(subject.play, verbose="ERROR").crop(tmax=n_samples / SFREQ)
        volts = raw.get_data(picks=list(self.labels)).T[:n_samples]
        self.rows: NDArray[np.float32] = (volts * 1e6).astype(np.float32)
        self.name = f"amp-{source_id}"
        self.sink = LslSink(OutletSpec(self.name, source_id, self.labels, SFREQ))

    def play(self, lost: range = range(0)) -> NDArray[np.float64]:
        """Send all rows but ``lost`` in real time, eight at a time; returns the stamps of all."""
        stamps = local_clock() + 0.2 + np.arange(len(self.rows)) / SFREQ
        kept = np.setdiff1d(np.arange(len(stamps)), lost)
        for part in np.array_split(kept, len(kept) // 8):
            time.sleep(max(0.0, stamps[part[-1]] - local_clock()))
            self.sink.push(self.rows[part], stamps[part])
        return stamps
