"""A live session: when it starts and ends, what is watched meanwhile, and that it is kept."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from calibration.live.display import Display, LiveState
from calibration.live.keys import START_KEYS, STOP_KEYS, ReadKeys
from calibration.live.parts import Part
from calibration.live.quality import Finding, QualityWatch
from calibration.live.recorder import AHEAD_S, Recorder
from calibration.live.session_file import free_name, save_session
from calibration.live.stopping import StopRequest
from emag_rt.errors import EmagError, OutputError, RecordingError, StreamError
from emag_rt.recordings.read import PLAUSIBLE_UV
from emag_rt.streams.lsl import Marker

_PULL_S = 0.1
_SHOW_EVERY_S = 0.5
_LOOK_EVERY_S = 0.5
_JUDGE_EVERY_S = 1.0
_SAVE_EVERY_S = 60.0
_UNIT_AFTER_S = 3.0


class MarkerSource(Protocol):
    """Where events come from."""

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
    path : Path
        Where the recording is kept.
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

    Attributes
    ----------
    saved : bool
        Whether the recording is on disk, in ``path``.
    """

    recorder: Recorder
    quality: QualityWatch
    plan: Plan
    path: Path
    display: Display
    stop: StopRequest
    clock: Callable[[], float]
    markers: MarkerSource | None = None
    keys: ReadKeys = field(default=lambda: "")
    description: str = ""
    saved: bool = False

    def __post_init__(self) -> None:
        self._events: list[Marker] = []
        self._findings: list[Finding] = []
        self._began: datetime | None = None
        self._shown = self._looked = self._judge_at = float("-inf")
        self._saved_s = 0.0
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
            If it can be saved neither there nor in the folder for temporary files.
        """
        if not (self.plan.wait_for_key or self.plan.start_marker):
            self._start(None)
        try:
            while not self._over():
                self._turn()
            if self._stop_at is not None:
                self.recorder.stop_at(self._stop_at)
        finally:
            self._save(last=True)
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
        self._type()
        if self.recorder.seconds - self._saved_s >= _SAVE_EVERY_S:
            self._save()
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

    def _hear(self) -> None:
        if self.markers is None:
            return
        now = self.clock()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            for name in self.markers.look():
                self.display.say(f"recording the markers of {name!r}")
        for marker in self.markers.pull():
            text = marker.text.strip()
            if not self.recorder.started and text == self.plan.start_marker:
                self._start(marker.stamp)
            if not self.recorder.started:
                continue
            self._events.append(marker)
            if text == self.plan.stop_marker and self._stop_at is None:
                self.display.say(f"marker {text!r}: stop")
                self._stop_at = marker.stamp

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
            self._judge_unit()
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
        """Electrodes may still be in the air, so a wrong unit is no error yet."""
        if self._unit_judged or self.recorder.seconds < _UNIT_AFTER_S:
            return
        self._unit_judged = True
        amplitude, (low, high) = self.quality.amplitude_uv(), PLAUSIBLE_UV
        if not low <= amplitude <= high:
            self.display.say(
                f"warning: the median EEG amplitude is {amplitude:.3g} µV, where {low:g} to "
                f"{high:g} µV would be EEG: is the unit right? Say it with --unit"
            )

    def _save(self, last: bool = False) -> None:
        """Keep what came so far; at the end elsewhere, rather than not at all."""
        self._saved_s = self.recorder.seconds
        if not any(len(part.stamps) for part in self.recorder.recorded.parts):
            return
        try:
            n_outside = self._write(self.path, self._events)
        except EmagError as error:
            self.display.say(f"warning: {error}")
            if not last:
                return
            n_outside = self._rescue(error)
        self.saved = True
        if last and n_outside:
            self.display.say(
                f"warning: {n_outside} of {len(self._events)} markers fell outside the recording: "
                "left out"
            )

    def _rescue(self, error: EmagError) -> int:
        """Without the markers where they may be what cannot be written; then elsewhere."""
        if not isinstance(error, OutputError) and self._events:
            try:
                self._write(self.path, [])
            except EmagError as again:
                self.display.say(f"warning: {again}")
            else:
                self._say_without_markers()
                return 0
        spare = free_name(Path(tempfile.gettempdir()) / self.path.name)
        n_outside = 0
        try:
            n_outside = self._write(spare, self._events)
        except RecordingError:
            self._write(spare, [])
            self._say_without_markers()
        self.path = spare
        self.display.say(f"warning: the recording is kept in {self.path} instead")
        return n_outside

    def _say_without_markers(self) -> None:
        listed = "; ".join(f"{m.text!r} at {m.stamp:.3f}" for m in self._events)
        self.display.say(
            f"warning: the recording is kept without its {len(self._events)} markers, which could "
            f"not be written (text, and time on this host's LSL clock in s): {listed}"
        )

    def _write(self, path: Path, markers: list[Marker]) -> int:
        recorded = self.recorder.recorded
        return save_session(path, recorded, markers, self._began, self.description)


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
