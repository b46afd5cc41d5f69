"""Recording a live stream: everything that came, and where something is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from calibration.live.channels import LiveChannels
from calibration.live.parts import Counts, Part, Recorded, cut, n_signal, n_to_jump
from calibration.live.rate import RateWatch
from emag_rt.array_types import Samples
from emag_rt.core.labels import match_labels
from emag_rt.daemon.lateness import UsualAge
from emag_rt.daemon.pieces import Piece
from emag_rt.daemon.timeline import Timeline
from emag_rt.engine.matching import check_return
from emag_rt.errors import StreamAmbiguous, StreamError, StreamMismatch
from emag_rt.streams.base import Clock, Source

STALE_S = 1.0
"""Nothing for so long: the source is silent."""

# An outlet that was made anew is never back sooner than this.
_CHECKED_GAP_S = 0.5
_ASK_EVERY_S = 1.0
_LOOKUP_S = 2.0
# Kept while waiting for the start, so that a marker's very sample is there when it is heard.
_BEFORE_S = 2.0
AHEAD_S = 10.0
"""A marker can be heard before the samples of its time come, but not by more than this."""


@dataclass(eq=False)
class Recorder:
    """Takes in a source until told to stop.

    Parameters
    ----------
    source : Source
        The stream.
    channels : LiveChannels
        Its channels.
    clock : Clock
        Time in s, for silences.
    say : callable
        Told in words what happens.
    patience_s : float
        A source that is silent for longer is lost.

    Attributes
    ----------
    counts : Counts
        What happened.
    started : bool
        Whether what comes is kept.
    silent_s : float
        How long nothing has come, in s; 0 while samples flow.
    doubtful : list of (float, float)
        As in :class:`calibration.live.parts.Recorded`, as far as it is known.
    """

    source: Source
    channels: LiveChannels
    clock: Clock
    say: Callable[[str], None]
    patience_s: float = 120.0
    counts: Counts = field(default_factory=Counts)
    started: bool = False
    silent_s: float = 0.0
    doubtful: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._format = self.source.format
        self.sfreq = self._format.sfreq
        self._timeline = Timeline(self.sfreq)
        self._uid = self._format.uid
        self._age = UsualAge()
        self._rate = RateWatch(self._format)
        self._parts: list[Part] = []
        self._columns: list[int] | None = None
        self._last_arrival = self.clock()
        self._asked = self._last_arrival
        self._ambiguous_told = False
        self._unverified_from: float | None = None
        self._before = (0, 0, 0)
        self._n_kept = 0
        self._from: float | None = None  # keep nothing before; not reached yet
        # Stands where nothing came.
        self._last_row: Samples = np.zeros(len(self.channels.labels))

    @property
    def seconds(self) -> float:
        """Signal recorded so far, gaps not counted, in s."""
        return self._n_kept / self.sfreq

    @property
    def recorded(self) -> Recorded:
        """What was kept so far."""
        parts = tuple(self._parts) if self.started else ()
        doubtful = list(self.doubtful)
        if self._unverified_from is not None:
            doubtful.append((self._unverified_from, np.inf))
        return Recorded(self.channels, self.sfreq, parts, tuple(doubtful))

    def kept(self, since: int) -> list[Part]:
        """Parts that were kept, but for the first so many; none while the source is doubted."""
        known = self.started and self._unverified_from is None
        return self._parts[since:] if known else []

    @property
    def rate_note(self) -> str | None:
        """What the user should know of the rate."""
        return self._rate.note()

    def start(self, stamp: float | None = None) -> None:
        """Keep what comes from now on, or from the first sample at or after a stamp."""
        self._from = None
        if stamp is None:
            self._parts.clear()
        else:
            newest = max((p.stamps[-1] for p in self._parts if len(p.stamps)), default=stamp)
            self._parts = [cut(part, part.stamps >= stamp) for part in self._parts]
            self._parts = [part for part in self._parts if len(part.stamps)]
            # Further ahead of the samples, it is of another clock: waiting could take for ever.
            if not self._parts and stamp - newest <= AHEAD_S:
                self._from = stamp
        self.counts = Counts()
        self._before = self._disorder()
        self._n_kept = n_signal(self._parts)
        self.started = True

    def stop_at(self, stamp: float) -> None:
        """Forget the samples after a stamp; those before a jump of the clock have another time."""
        n = n_to_jump(self._parts)
        last = [cut(part, part.stamps <= stamp) for part in self._parts[n:]]
        self._parts = [*self._parts[:n], *last]
        self._n_kept = n_signal(self._parts)

    def take(self, timeout_s: float) -> list[Part]:
        """Wait for samples, and take in what has come.

        Parameters
        ----------
        timeout_s : float
            Longest wait in s.

        Returns
        -------
        list of Part
            What has come.

        Raises
        ------
        StreamMismatch
            If the source came back as something else, or sends at another rate than it says.
        StreamError
            If it is lost.
        """
        samples, stamps = self.source.pull(timeout_s)
        now = self.clock()
        if not len(stamps):
            self._wait(now)
            return []
        away = self.silent_s
        self._last_arrival, self.silent_s = now, 0.0
        self._rate.add(stamps)
        before = self._columns
        if away:
            self.say(f"the source is back after {away:.1f} s")
            uid = self._uid
            self._check_again(now, float(stamps[0]))
            if self._uid != uid or self._unverified_from is not None:
                self._timeline.made_anew()
        pieces = self._timeline.split(samples, stamps, self._age.latest(now))
        if self.source.drained:
            self._age.observe(now, now - self._timeline.newest)
        cuts = [i for i, p in enumerate(pieces) if p.kind == "jump" or p.apart_s > _CHECKED_GAP_S]
        if cuts and not away:
            self._check_again(now, float(stamps[0]))
        elif self._unverified_from is not None and now - self._asked > _ASK_EVERY_S:
            self._verify(now, self._unverified_from)
        # What came before the silence is in the order of before.
        n_before = 0 if away or not cuts else cuts[-1]
        parts = [
            self._part(piece, before if i < n_before else self._columns)
            for i, piece in enumerate(pieces)
        ]
        self._keep(parts)
        return parts

    def _wait(self, now: float) -> None:
        waited = now - self._last_arrival
        if waited < STALE_S:
            return
        if not self.silent_s:
            self.counts.silences += 1
            self.say("the source is silent: waiting for it to come back")
        self.silent_s = waited
        if waited > self.patience_s:
            raise StreamError(
                f"stream {self._format.name!r}: must send samples, nothing came for "
                f"{waited:.0f} s (--patience). Check the amplifier, its battery and its LSL outlet."
            )
        if now - self._asked > _ASK_EVERY_S:
            self._asked = now
            self._look()

    def _look(self) -> None:
        """Is it there as something that LSL does not take up again?"""
        try:
            other = self.source.replaced_by()
        except StreamAmbiguous as error:
            if not self._ambiguous_told:
                self.say(f"the source cannot be taken up again: {error}")
            self._ambiguous_told = True
            return
        if other is not None:
            check_return(self._format, other)

    def _check_again(self, now: float, since: float) -> None:
        self._ambiguous_told = False
        self._verify(now, since)

    def _verify(self, now: float, since: float) -> None:
        self._asked = now
        try:
            present = self.source.current_format(_LOOKUP_S)
        except (StreamAmbiguous, StreamMismatch):
            raise
        except StreamError:
            if self._unverified_from is None:
                self.say("the source could not be checked after its return; it is asked again")
                self._unverified_from = since
            return
        # Asking takes time, in which the source was not silent.
        self._last_arrival = self.clock()
        self._uid = present.uid
        columns = None
        if check_return(self._format, present):
            columns = match_labels(self._format.labels, present.labels, "the source")
        if columns != self._columns:
            self.say("the source came back with its channels in another order: remapped")
            self.counts.remapped += 1
            self._timeline.forget_values()
            if self._unverified_from is not None:
                newest = max((p.stamps[-1] for p in self._parts if len(p.stamps)), default=-np.inf)
                self.doubtful.append((self._unverified_from, float(newest)))
        self._unverified_from = None
        self._columns = columns

    def _keep(self, parts: list[Part]) -> None:
        if self._from is not None:
            parts = self._reach(self._from, parts)
        self._parts += parts
        if not self.started:
            self._forget_old()
            return
        self._n_kept += n_signal(parts)
        counts = self.counts
        counts.duplicates, counts.out_of_order, counts.restamped = (
            now - before for now, before in zip(self._disorder(), self._before, strict=True)
        )

    def _reach(self, start: float, parts: list[Part]) -> list[Part]:
        """What is not before the start; once it is reached, all."""
        for i, part in enumerate(parts):
            if part.kind == "jump":  # the start was of the clock before
                self._from = None
                return parts[i + 1 :]
            if len(part.stamps) and part.stamps[-1] >= start:
                self._from = None
                return [cut(part, part.stamps >= start), *parts[i + 1 :]]
        return []

    def _disorder(self) -> tuple[int, int, int]:
        timeline = self._timeline
        return timeline.duplicates, timeline.out_of_order, timeline.restamped

    def _part(self, piece: Piece, columns: list[int] | None) -> Part:
        factors = self.channels.factors
        dtype = piece.samples.dtype
        ordered = piece.samples if columns is None else piece.samples[:, columns]
        samples = np.multiply(ordered, factors.astype(dtype), dtype=dtype)
        if piece.kind == "gap":
            samples = np.tile(self._last_row.astype(dtype), (len(piece.stamps), 1))
            self.counts.gaps += 1
            self.counts.missing += len(piece.stamps)
            self.say(f"gap of {piece.apart_s:.2f} s: {len(piece.stamps)} samples are missing")
        elif piece.kind == "bridge":
            self.counts.bridged += len(piece.stamps)
        elif piece.kind == "jump":
            self.counts.jumps += 1
            self.say(f"the source's clock jumped by {piece.apart_s:.1f} s")
        if len(samples):
            self._last_row = samples[-1]
        return Part(piece.kind, samples, np.array(piece.stamps))

    def _forget_old(self) -> None:
        del self._parts[: n_to_jump(self._parts)]
        newest = next((p.stamps[-1] for p in self._parts[::-1] if len(p.stamps)), 0.0)
        while self._parts and (
            not len(self._parts[0].stamps) or self._parts[0].stamps[-1] < newest - _BEFORE_S
        ):
            self._parts.pop(0)
