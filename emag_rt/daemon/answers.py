"""What each piece of the stream is answered with: rows rendered, bridged or made up."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Samples, Stamps
from emag_rt.daemon.events import Event
from emag_rt.daemon.gaps import GapPolicy
from emag_rt.daemon.lateness import Lateness
from emag_rt.daemon.pieces import Piece
from emag_rt.daemon.publisher import Publisher
from emag_rt.daemon.status.counters import Counters
from emag_rt.engine.upsampler import Upsampler
from emag_rt.streams.base import Clock


class Answers:
    """Renders, publishes and counts; returns what to tell of it.

    Parameters
    ----------
    upsampler : Upsampler
        The signal path.
    publisher : Publisher
        Where rows go.
    clock : callable
        Seconds on the clock of the stamps.
    lateness : Lateness
        Which samples come too late, and whether they are rendered.
    gaps : GapPolicy
        What is published for time without a rendering.
    counters : Counters
        What happened to samples.

    Attributes
    ----------
    render_s : float or None
        Front end and rendering of the last chunk.
    withheld : bool
        Whether nothing is rendered, because no EEG comes: rows are made up as in gaps.
    """

    def __init__(
        self,
        upsampler: Upsampler,
        publisher: Publisher,
        clock: Clock,
        lateness: Lateness,
        gaps: GapPolicy,
        counters: Counters,
    ) -> None:
        self._upsampler, self._publisher, self._clock = upsampler, publisher, clock
        self._lateness, self._gaps, self._counters = lateness, gaps, counters
        self.render_s: float | None = None
        self.withheld = False
        self._n_gone_on = 0
        self._gone_on_from = 0.0

    def render(self, samples: Samples, stamps: Stamps, now: float) -> Event | None:
        """Answer samples that follow those before them."""
        event = None
        n_late = self._lateness.count(now, stamps)
        if n_late:
            event = self._lateness.event(now, stamps.item(0), n_late)
            if self._lateness.catches_up:
                self._counters.overdue += n_late
            else:
                self._skip(samples[:n_late], stamps[:n_late])
                samples, stamps = samples[n_late:], stamps[n_late:]
                now = self._clock()
        hd, ready = self._upsampler.push(samples, stamps)
        self.render_s = self._clock() - now
        self._counters.samples_out += len(stamps)
        if self.withheld:
            hd[...] = np.nan
            self._publisher.publish(self._gaps.replace(hd, self._publisher.held), ready, False)
        else:
            self._publisher.publish(hd, ready)
        return event

    def piece(self, piece: Piece) -> Event | None:
        """Answer a piece of any kind."""
        if piece.kind == "data":
            return self.render(piece.samples, piece.stamps, self._clock())
        if piece.kind == "bridge":
            return self._bridge(piece)
        self.flush()
        self._upsampler.reset()
        return self._fill(piece) if piece.kind == "gap" else self._follow_clock(piece)

    def go_on(self, piece: Piece) -> None:
        """Rows at the rate while the source is silent."""
        if not self._n_gone_on:
            self.flush()
            self._upsampler.reset()
            self._counters.gaps += 1
            self._gone_on_from = float(piece.stamps[0])
        n = len(piece.stamps)
        self._n_gone_on += n
        self._counters.filled += n
        rows = self._gaps.go_on(n, self._publisher.held)
        self._publisher.publish(rows, piece.stamps, rendered=False)

    @property
    def goes_on(self) -> bool:
        """Whether rows are made up because the source is silent."""
        return self._n_gone_on > 0

    def came_back(self) -> Event | None:
        """What to tell of the silence that is over, if rows went on through it."""
        n, self._n_gone_on = self._n_gone_on, 0
        if not n:
            return None
        text = f"rows went on through the silence: {n} made up"
        return Event("gap", {"stamp": self._gone_on_from, "samples": n, "filled": n}, text)

    def flush(self) -> None:
        """Publish what is owed."""
        self._publisher.publish(*self._upsampler.flush())

    def _skip(self, samples: Samples, stamps: Stamps) -> None:
        """Answer late samples without rendering them."""
        hd, ready = self._upsampler.push(samples, stamps, skip=True)
        self._counters.skipped += len(stamps)
        rows = self._gaps.replace(hd, self._publisher.held)
        self._publisher.publish(rows, ready, rendered=False)

    def _bridge(self, piece: Piece) -> Event:
        hd, ready = self._upsampler.push(piece.samples, piece.stamps)
        n_bridged = len(piece.stamps)
        self._counters.bridged += n_bridged
        self._publisher.publish(hd, ready)
        return Event("bridged", {"stamp": float(piece.stamps[0]), "samples": n_bridged})

    def _fill(self, piece: Piece) -> Event:
        rows, event = self._gaps.fill(piece, self._publisher.held)
        self._publisher.publish(rows, piece.stamps[: len(rows)], rendered=False)
        self._counters.gaps += 1
        self._counters.filled += len(rows)
        self._counters.unfilled += len(piece.stamps) - len(rows)
        return event

    def _follow_clock(self, piece: Piece) -> Event:
        """The source's clock was set: ages on the old one say nothing about those on the new."""
        self._lateness.reset()
        self._counters.jumps += 1
        text = f"the source's clock jumped by {piece.apart_s:.3f} s: followed"
        return Event("clock_jump", {"step_s": round(piece.apart_s, 3)}, text)
