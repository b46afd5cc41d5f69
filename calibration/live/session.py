"""A live session: when it starts and ends, what is watched meanwhile, and that it is kept."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from calibration.live.display import Display, LiveState
from calibration.live.journal import Journal
from calibration.live.keys import START_KEYS, STOP_KEYS, ReadKeys
from calibration.live.parts import Part, Recorded, sure
from calibration.live.quality import Finding, QualityWatch
from calibration.live.recorder import AHEAD_S, Recorder
from calibration.live.session_file import fits_fif, recording_path, save_session
from calibration.live.stopping import StopRequest
from calibration.live.unit import UNIT_AFTER_S, check_unit
from emag_rt.errors import EmagError, OutputError, StreamError
from emag_rt.streams.lsl import Marker

_PULL_S = 0.1
_SHOW_EVERY_S = 0.5
_LOOK_EVERY_S = 0.5
_JUDGE_EVERY_S = 1.0
_MANY = 20_000
_ON_ITS_WAY_S = 5.0
_QUIET_S = 0.5


class MarkerSource(Protocol):
    """Where events come from.

    Attributes
    ----------
    streams : list of str
        Names of the streams found so far.
    """

    streams: list[str]

    def look(self) -> list[str]:
        """Names of streams that have come up."""

    def pull(self) -> list[Marker]:
        """Events that have arrived."""


@dataclass(frozen=True)
class Plan:
    """When to start and to end.

    Attributes
    ----------
    duration_s : float
        Signal to record, gaps not counted, in s.
    wait_for_key : bool
        Start with Enter or the space bar.
    start_marker, stop_marker : str or None
        Start and end with a marker of this text.
    """

    duration_s: float
    wait_for_key: bool = False
    start_marker: str | None = None
    stop_marker: str | None = None


@dataclass(eq=False)
class LiveSession:
    """Records until the plan, the user or the stream ends it.

    Parameters
    ----------
    recorder : Recorder
        Takes in the stream.
    quality : QualityWatch
        Judges its EEG channels.
    plan : Plan
        When to start and to end.
    journal : Journal
        Where it is kept as it comes.
    display : Display
        Where it is shown.
    stop : StopRequest
        What the user asked for by signals.
    clock : callable
        Time in s.
    markers : MarkerSource, optional
        Events to keep with the recording.
    keys : callable, optional
        What was typed.
    description : str
        Where the recording comes from.
    pause : callable
        Waits so many seconds of the clock.

    Attributes
    ----------
    saved : bool
        Whether the recording is on disk, whole.
    path : Path
        Where it is kept once it ended.
    """

    recorder: Recorder
    quality: QualityWatch
    plan: Plan
    journal: Journal
    display: Display
    stop: StopRequest
    clock: Callable[[], float]
    markers: MarkerSource | None = None
    keys: ReadKeys = field(default=lambda: "")
    description: str = ""
    pause: Callable[[float], object] = time.sleep
    saved: bool = False

    def __post_init__(self) -> None:
        self.path = recording_path(self.journal.path)
        self._events: list[Marker] = []
        self._findings: list[Finding] = []
        self._began: datetime | None = None
        self._shown = self._looked = self._judge_at = float("-inf")
        self._n_parts = self._n_events = 0  # of the journal
        self._journal_told = False
        self._newest = float("-inf")
        self._stop_at: float | None = None
        self._quit = self._unit_judged = False

    def run(self) -> None:
        """Record; whatever ends it, what came is saved.

        Raises
        ------
        StreamError, StreamMismatch
            If the stream fails; the recording so far is saved.
        OutputError
            If it can be saved neither beside the bundle nor in the folder for temporary files.
        """
        if not (self.plan.wait_for_key or self.plan.start_marker):
            self._start(None)
        try:
            while not self._over():
                self._turn()
            self._hear_out()
            if self._stop_at is not None:
                self.recorder.stop_at(self._stop_at)
        finally:
            self._save()
            self._show(force=True)

    @property
    def findings(self) -> list[Finding]:
        """Channels that are bad now."""
        return self._findings

    @property
    def n_markers(self) -> int:
        """Events since the start."""
        return len(self._events)

    def _over(self) -> bool:
        if self.stop.requested or self._quit:
            return True
        if self._stop_at is not None:
            ahead = self._stop_at - self._newest
            # Far ahead of the samples it is of another clock than they are, and never comes.
            if ahead <= 0 or AHEAD_S < ahead < math.inf or self.recorder.silent_s > 0:
                return True
        return self.recorder.seconds >= self.plan.duration_s

    def _turn(self) -> None:
        parts = self.recorder.take(_PULL_S)
        for part in parts:
            self._watch(part)
        self._hear()
        self._write_down()
        self._judge_unit()
        self._type()
        self._show()

    def _watch(self, part: Part) -> None:
        if part.kind in ("gap", "jump"):
            self.quality.reset()
        else:
            self.quality.add(part.samples[:, self.recorder.channels.eeg])
        if len(part.stamps):
            self._newest = float(part.stamps[-1])
            if self._began is None and self.recorder.started:
                self._began = datetime.now(UTC)

    def _hear_out(self) -> None:
        """Markers of samples that came, but are still on their way.

        A flood takes a while, and a busy computer may bring nothing for a moment in its midst.
        """
        if self.markers is None or not self.markers.streams:
            return
        now, n_heard = self.clock(), len(self._events)
        end, until = now + _ON_ITS_WAY_S, now + _QUIET_S
        while now < min(until, end):
            if self._hear() <= self._newest:
                until = self.clock() + _QUIET_S
            else:
                self.pause(_QUIET_S / 20)
            now = self.clock()
        last = self._newest + 1.0 / self.recorder.sfreq  # what is after it is nobody's loss
        self._events[n_heard:] = [m for m in self._events[n_heard:] if m.stamp <= last]

    def _hear(self) -> float:
        """Take in the markers that came; returns the time of the first, infinity without one."""
        first = math.inf
        if self.markers is None:
            return first
        now = self.clock()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            for name in self.markers.look():
                self.display.say(f"recording the markers of {name!r}")
        for marker in self.markers.pull():
            first, text = min(first, marker.stamp), marker.text.strip()
            if not self.recorder.started and text == self.plan.start_marker:
                self._start(marker.stamp)
            if not self.recorder.started:
                continue
            self._events.append(marker)
            if text == self.plan.stop_marker and self._stop_at is None:
                self.display.say(f"marker {text!r}: stop")
                self._stop_at = marker.stamp
        return first

    def _type(self) -> None:
        typed = set(self.keys())
        if typed & STOP_KEYS:
            self._quit = True
        elif typed & START_KEYS and self.plan.wait_for_key and not self.recorder.started:
            self._start(None)

    def _start(self, stamp: float | None) -> None:
        self.recorder.start(stamp)
        if stamp is not None or self.plan.wait_for_key:
            self.display.say("started")

    def _show(self, force: bool = False) -> None:
        now = self.clock()
        if not force and now - self._shown < _SHOW_EVERY_S:
            return
        self._shown = now
        if force or now >= self._judge_at:
            self._findings = self.quality.judge()
            # Many channels at a high rate take a while: a tenth of the time at most.
            done = self.clock()
            self._judge_at = done + max(_JUDGE_EVERY_S, 9.0 * (done - now))
        state = LiveState(
            phase=self._phase(),
            seconds=self.recorder.seconds,
            wanted_s=self.plan.duration_s,
            n_channels=len(self.quality.labels),
            findings=self._findings,
            counts=self.recorder.counts,
            n_markers=len(self._events),
            time_s=now,
        )
        self.display.update(state)

    def _phase(self) -> str:
        if self.recorder.silent_s:
            return f"silent for {self.recorder.silent_s:.0f} s"
        if self.recorder.started:
            return "recorded" if self._over() else "recording"
        if self.plan.start_marker:
            return f"waiting for marker {self.plan.start_marker!r}"
        return "press Enter to start"

    def _judge_unit(self) -> None:
        if self._unit_judged or self.recorder.seconds < UNIT_AFTER_S:
            return
        recorder = self.recorder
        told = check_unit(self.quality, recorder.channels, recorder.source.format)
        self._unit_judged = told is not None
        if told:
            self.display.say(f"warning: {told}")

    def _write_down(self) -> None:
        """Hand on what is new to the journal, which has no way to say that it is doubted."""
        parts, events = self.recorder.kept(self._n_parts), self._events[self._n_events :]
        self._n_parts += len(parts)
        self._n_events += len(events)
        self.journal.add(sure(parts, self.recorder.doubtful), events)
        if self.journal.error is not None and not self._journal_told:
            self._journal_told = True
            self.display.say(
                f"warning: {self.journal.error} The recording goes on in memory, and is saved at "
                "its end"
            )

    def _save(self) -> None:
        """One FIF file of all; where it cannot be, the journal stays, or is written elsewhere."""
        recorded = self.recorder.recorded
        self._write_down()
        self.journal.close()
        if not any(len(part.stamps) for part in recorded.parts):
            return
        if fits_fif(recorded.channels) and self._save_fif(recorded):
            self.journal.remove()
        elif self.journal.error is None:
            self.path = self.journal.path
        else:
            self._rescue(recorded)
        self.saved = True

    def _save_fif(self, recorded: Recorded) -> bool:
        events = self._events
        if len(events) > _MANY:
            self.display.say(f"saving {len(events)} markers takes MNE a while")
        try:
            n_outside = save_session(self.path, recorded, events, self._began, self.description)
        except Exception as error:  # whatever MNE raises: the journal is there
            said = str(error) if isinstance(error, EmagError) else repr(error)
            self.display.say(f"warning: {said} The recording is kept as XDF instead")
            return False
        if n_outside:
            self.display.say(
                f"warning: {n_outside} of {len(events)} markers fell outside the recording: "
                "left out"
            )
        return True

    def _rescue(self, recorded: Recorded) -> None:
        """Elsewhere, in a folder that nobody else can look into, or foresee."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="emag_rt-"))
        except OSError as error:
            raise OutputError(f"recording {self.path.name}: kept nowhere: {error}") from error
        spare = self.journal.again(folder)
        spare.add(sure(recorded.parts, recorded.doubtful), self._events)
        spare.close()
        if spare.error is not None:
            raise spare.error
        self.path = spare.path
        self.display.say(f"warning: the recording is kept in {self.path} instead")


def require_samples(session: LiveSession, name: str) -> None:
    """Refuse a session that ended before it began.

    Raises
    ------
    StreamError
        If not one sample was recorded.
    """
    if not session.saved:
        raise StreamError(
            f"stream {name!r}: the recording must hold samples, it was stopped before the first "
            "one came. Nothing is kept; start again."
        )
