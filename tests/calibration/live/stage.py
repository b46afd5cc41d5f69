"""A live session on a scripted source: no LSL, no time."""

from __future__ import annotations

import numpy as np

from calibration.live.channels import live_channels
from calibration.live.display import PlainDisplay
from calibration.live.quality import QualityWatch
from calibration.live.recorder import Recorder
from calibration.live.session import LiveSession, Plan
from calibration.live.session_file import open_journal
from calibration.live.stopping import StopRequest
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import ManualClock, MemorySource

SFREQ = 100.0
LABELS = ("Fp1", "Fz", "C3", "Cz", "C4", "Pz", "O1", "O2")
START_S = 1000.0
JOURNALS = []
"""Those that were opened, to be closed after the test."""


def stream(**changes):
    values = {
        "name": "HD",
        "type": "EEG",
        "source_id": "amp",
        "sfreq": SFREQ,
        "labels": LABELS,
        "units": ("microvolts",) * len(LABELS),
    } | changes
    return StreamFormat(**values)


def eeg(seconds, sfreq=SFREQ, seed=0):
    """Coloured noise of EEG's size, float32, µV."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(round(seconds * sfreq), len(LABELS))).cumsum(axis=0)
    return (20.0 * (noise - noise.mean(axis=0)) / noise.std(axis=0)).astype(np.float32)


class Said(PlainDisplay):
    """Keeps what is said, and the last state."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.state = None

    def say(self, text):
        self.lines.append(text)

    def update(self, state):
        super().update(state)
        self.state = state

    def __contains__(self, text):
        return any(text in line for line in self.lines)


class Markers:
    """Events that come with the clock, or so much later."""

    def __init__(self, clock, markers, late_s=0.0):
        self.clock, self.waiting, self.late_s = clock, list(markers), late_s
        self.streams = ["task"]

    def look(self):
        return []

    def pull(self):
        due = [m for m in self.waiting if m.stamp <= self.clock() - self.late_s]
        self.waiting = [m for m in self.waiting if m not in due]
        return due


def stage(
    tmp_path,
    events,
    *,
    form=None,
    plan=None,
    markers=(),
    late_s=0.0,
    patience_s=5.0,
    **channel_options,
):
    """A session that records ``events``, and what it says."""
    form = form or stream()
    clock, said = ManualClock(START_S), Said()
    source = MemorySource(form, events, clock)
    channels = live_channels(form, **channel_options)
    labels = [channels.labels[i] for i in channels.eeg]
    journal, _ = open_journal(tmp_path / "s01.emag", form, channels)
    JOURNALS.append(journal)
    session = LiveSession(
        recorder=Recorder(source, channels, clock, said.say, patience_s),
        quality=QualityWatch(labels, form.sfreq, (0.5, 40.0)),
        plan=plan or Plan(1e6),
        journal=journal,
        display=said,
        stop=StopRequest(),
        clock=clock,
        markers=Markers(clock, markers, late_s),
        pause=clock.advance,
    )
    return session, said
