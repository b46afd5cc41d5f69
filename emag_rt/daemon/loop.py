"""The serving loop: source → timeline → upsampler → sink, with nothing lost in silence."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable

import numpy as np

from emag_rt.array_types import Float32Array, Samples, Stamps
from emag_rt.daemon.lateness import Lateness
from emag_rt.daemon.settings import ServeSettings
from emag_rt.daemon.source_check import SourceWatch
from emag_rt.daemon.status.counters import Counters, LatencyWindow, ServerStatus
from emag_rt.daemon.timeline import Piece, Timeline, TimelineRules
from emag_rt.daemon.trace import Trace
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import StreamAmbiguous, StreamMismatch
from emag_rt.streams.base import Clock, MarkerSink, Sink, Source

log = logging.getLogger(__name__)
POLL_S = 0.2
_yield_core: Callable[[], None] = getattr(os, "sched_yield", lambda: None)
# A source that was restarted leaves a gap and is silent for about a second before liblsl has
# it back, which may be too short to count as stale.
_RESTART_S = 0.5


class Server:
    """Serves one upsampler.

    Parameters
    ----------
    upsampler : Upsampler
        The signal path, made for the source's channels and units.
    source : Source
        Live LD samples.
    sink : Sink
        Where HD samples go; stays up whatever the source does.
    clock : callable
        Seconds on the clock of the stamps.
    settings : ServeSettings
        Policies.
    markers : MarkerSink, optional
        Where events go.
    on_status : callable, optional
        Called with a :class:`ServerStatus` every ``settings.status.interval_s``.
    trace : Trace, optional
        Gets the times of every chunk.

    Attributes
    ----------
    counters : Counters
        What happened to samples.
    state : {"waiting", "running", "stale", "stopped"}
        Nothing yet; samples flow; the source is silent; told to end.
    """

    def __init__(
        self,
        upsampler: Upsampler,
        source: Source,
        sink: Sink,
        clock: Clock,
        settings: ServeSettings | None = None,
        markers: MarkerSink | None = None,
        on_status: Callable[[ServerStatus], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.settings = settings or ServeSettings()
        self.upsampler = upsampler
        self._source, self._sink, self._markers = source, sink, markers
        self._clock = clock
        self._on_status = on_status
        self._trace = trace
        if trace is not None:
            upsampler.on_filtered = trace.filtered
        gaps = self.settings.gaps
        # What the stream says of its rate (511.9 where the bundle says 512) tells what is missing.
        self._sfreq = source.format.sfreq or upsampler.sfreq
        self._timeline = Timeline(self._sfreq, TimelineRules(bridge_s=gaps.bridge_s))
        self._lateness = Lateness(self.settings.latency)
        self._latency = LatencyWindow()
        self._n_hd = len(upsampler.labels)
        self._hold = np.full((1, self._n_hd), np.nan, dtype=np.float32)
        self._bad: tuple[str, ...] = ()
        self._catches_up = self.settings.latency.policy == "catch_up"
        self._waited_s = 0.0
        self._watch = SourceWatch(source, upsampler.bundle, self.settings.source.unit, self._mark)
        self._late_untold = 0
        self._late_told = -math.inf
        self._disorder = (0, 0, 0)
        self._lacking = False
        self.counters = Counters()
        self.state = "waiting"
        self._started = clock()
        self._last_arrival = self._last_idle = self._started
        self._newest_stamp: float | None = None
        self._render_s: float | None = None
        self._next_status = self._started + self.settings.status.interval_s

    def run(self, stop: Callable[[], bool], duration_s: float | None = None) -> ServerStatus:
        """Serve until told to stop.

        Parameters
        ----------
        stop : callable
            Asked between chunks; True ends the loop.
        duration_s : float, optional
            End after this many seconds.

        Returns
        -------
        ServerStatus
            The last one, after everything owed has been published.

        Raises
        ------
        StreamError
            If the source is lost for good, or came back as something else.
        """
        end = None if duration_s is None else self._clock() + duration_s
        try:
            while not stop() and (end is None or self._clock() < end):
                wait = POLL_S if end is None else min(POLL_S, max(0.0, end - self._clock()))
                self.step(wait)
            self.step(0.0)
        except (StreamAmbiguous, StreamMismatch) as error:
            self._mark("refused", reason=str(error))
            raise
        finally:
            self._publish(*self.upsampler.flush())
            self._mark_disorder()
            self._mark("stopped")
            self.state = "stopped"
        return self.status()

    def step(self, timeout_s: float) -> None:
        """Wait for samples and answer them; what can wait is done once they are answered."""
        samples, stamps = self._source.pull(timeout_s)
        now = self._clock()
        if len(stamps):
            if self._trace is not None:
                self._trace.begin(stamps.item(-1), now)
            self._answer(samples, stamps, now)
            self._render_s = self._clock() - now
            if self._trace is not None:
                self._trace.end()
            # LSL's own thread may be waiting for this core to send the rows on.
            _yield_core()
            self.upsampler.prepare()
            self._watch_channels()
        else:
            self._last_idle = now
            self._nothing_came(now, timeout_s)
        if now >= self._next_status:
            self._next_status = max(self._next_status, now - 1.0)
            self._next_status += self.settings.status.interval_s
            self._mark_disorder()
            if self._watch.unverified and self.state == "running":
                self._check_source(0)
            if self._on_status is not None:
                self._on_status(self.status())

    @property
    def heartbeat(self) -> float:
        """When the loop last turned, in s on its clock; other threads may ask."""
        return max(self._last_arrival, self._last_idle)

    def _answer(self, samples: Samples, stamps: Stamps, now: float) -> None:
        n = len(stamps)
        maybe_restarted = now - self._last_arrival > _RESTART_S
        self.counters.samples_in += n
        if self.state != "running":
            maybe_restarted = False
            self._arrived(now, n)
        self._last_arrival = now
        if self._waited_s:
            self._waited_s = 0.0
        self._newest_stamp = stamps.item(-1)
        if self._source.drained:
            self._lateness.observe(now, now - self._newest_stamp)
        if self._timeline.follows(samples, stamps):
            self._render(samples, stamps, now)
            return
        if maybe_restarted:
            self._check_source(n)
        for piece in self._timeline.split(samples, stamps):
            self._handle(piece)

    def _nothing_came(self, now: float, timeout_s: float) -> None:
        # Time spent waiting, not time gone by: a daemon that was stopped or starved itself
        # would else call its source silent.
        self._waited_s += timeout_s
        silent_s, stale_s = now - self._last_arrival, self.settings.gaps.stale_s
        if self.state == "stale":
            self._watch.look()
        elif self.state == "running" and silent_s > stale_s and self._waited_s > 0.5 * stale_s:
            self.state = "stale"
            log.warning("no samples for %.1f s: the source is silent", silent_s)
            self._mark("silent", last_stamp=self._newest())

    def status(self) -> ServerStatus:
        """What there is to say now."""
        self.counters.duplicates = self._timeline.duplicates
        self.counters.out_of_order = self._timeline.out_of_order
        self.counters.restamped = self._timeline.restamped
        self.counters.unrenderable = self.upsampler.unrenderable
        self.counters.steps = self.upsampler.n_steps
        now = self._clock()
        newest = self._newest()
        age = None if newest is None else round(now - newest, 4)
        return ServerStatus(
            state=self.state,
            engine=self.upsampler.engine,
            bad_channels=self.upsampler.bad,
            counters=self.counters,
            uptime_s=now - self._started,
            input_age_s=age,
            render_ms=None if self._render_s is None else round(self._render_s * 1e3, 4),
            latency=self._latency.summary_ms(),
            bad_reasons=self.upsampler.bad_reasons,
            too_many_bad=self.upsampler.lacking,
        )

    def _arrived(self, now: float, n: int) -> None:
        """The first ``n`` samples, or the first after a silence."""
        if self.state == "stale":
            self._check_source(n)
            self.counters.recovered += 1
            silent_s = now - self._last_arrival
            log.warning("the source is back after %.1f s", silent_s)
            self._mark("recovered", silent_s=round(silent_s, 3))
        self.state = "running"

    def _check_source(self, n: int) -> None:
        """Make sure of the source, of which ``n`` samples are here already."""
        try:
            match = self._watch.check()
        except (StreamAmbiguous, StreamMismatch):
            self.counters.refused += n
            raise
        if match is not None:
            self._publish(*self.upsampler.flush())
            self.upsampler.attach(match.channels, match.units)
            self._timeline.forget_values()

    def _newest(self) -> float | None:
        """The newest stamp, if it is a number."""
        stamp = self._newest_stamp
        return stamp if stamp is not None and math.isfinite(stamp) else None

    def _handle(self, piece: Piece) -> None:
        if piece.kind == "data":
            self._render(piece.samples, piece.stamps, self._clock())
        elif piece.kind == "bridge":
            hd, stamps = self.upsampler.push(piece.samples, piece.stamps)
            self.counters.bridged += len(piece.stamps)
            self._publish(hd, stamps)
            self._mark("bridged", stamp=float(piece.stamps[0]), samples=len(piece.stamps))
        elif piece.kind == "gap":
            self._fill_gap(piece)
        else:
            self._publish(*self.upsampler.flush())
            self.upsampler.reset()
            self._lateness.reset()  # ages on the old clock say nothing about those on the new
            if self._newest_stamp is not None:
                now = self._clock()
                self._lateness.observe(now, now - self._newest_stamp)
            self.counters.jumps += 1
            log.warning("the source's clock jumped by %.3f s: anchored anew", piece.step_s)
            self._mark("clock_jump", step_s=round(piece.step_s, 3))

    def _render(self, samples: Samples, stamps: Stamps, now: float) -> None:
        n_late = self._lateness.count(now, stamps)
        if n_late:
            samples, stamps = self._late(samples, stamps, n_late, now)
        hd, ready = self.upsampler.push(samples, stamps)
        self.counters.samples_out += len(stamps)
        self._publish(hd, ready)

    def _late(
        self, samples: Samples, stamps: Stamps, n_late: int, now: float
    ) -> tuple[Samples, Stamps]:
        """Deal with late samples; returns those that are left to render."""
        self._late_untold += n_late
        if now - self._late_told >= 1.0:  # a log on a slow disk must not make it later yet
            what = "rendered" if self._catches_up else "skipped"
            log.warning("%d samples came beyond the latency budget: %s", self._late_untold, what)
            self._late_untold, self._late_told = 0, now
        if self._catches_up:
            self.counters.overdue += n_late
            self._mark("overdue", stamp=stamps.item(0), samples=n_late)
            return samples, stamps
        hd, late = self.upsampler.push(samples[:n_late], stamps[:n_late], skip=True)
        self.counters.skipped += n_late
        self._publish(self._replace(hd), late, timed=False)
        self._mark("skipped", stamp=stamps.item(0), samples=n_late)
        return samples[n_late:], stamps[n_late:]

    def _fill_gap(self, piece: Piece) -> None:
        self._publish(*self.upsampler.flush())
        self.upsampler.reset()
        self.counters.gaps += 1
        missing = len(piece.stamps)
        rules = self.settings.gaps
        n_fill = 0 if rules.policy == "skip" else missing
        n_fill = min(n_fill, round(rules.max_fill_s * self._sfreq))
        if n_fill:
            rows = np.full((n_fill, self._n_hd), np.nan, dtype=np.float32)
            self._publish(self._replace(rows), piece.stamps[:n_fill], timed=False)
        self.counters.filled += n_fill
        self.counters.unfilled += missing - n_fill
        log.warning(
            "gap of %.3f s: %d of %d missing samples filled with %s",
            piece.step_s,
            n_fill,
            missing,
            rules.policy,
        )
        self._mark("gap", stamp=float(piece.stamps[0]), samples=missing, filled=n_fill)

    def _replace(self, rows: Float32Array) -> Float32Array:
        """Rows without a rendering: NaN, or the last rendered one held."""
        if self.settings.gaps.policy == "hold":
            lost = np.isnan(rows[:, 0])
            rows[lost] = self._hold
        return rows

    def _publish(self, hd: Float32Array, stamps: Stamps, timed: bool = True) -> None:
        if not len(stamps):
            return
        if self._trace is not None:
            self._trace.rendered()
        self._sink.push(hd, stamps)
        if timed:
            self._hold = hd[-1:]
            self._latency.add(self._clock() - stamps)

    def _watch_channels(self) -> None:
        if self.upsampler.steps:
            self._tell_steps()
        bad = self.upsampler.bad
        if bad == self._bad:
            return
        reasons = self.upsampler.bad_reasons
        for label in bad:
            if label not in self._bad:
                reason = reasons[label]
                log.warning("channel %s is bad (%s): filled from the others", label, reason)
                self._mark("bad_channel", channel=label, reason=reason)
        for label in self._bad:
            if label not in bad:
                log.warning("channel %s is good again", label)
                self._mark("good_channel", channel=label)
        self._bad = bad
        if self.upsampler.lacking != self._lacking:
            self._lacking = self.upsampler.lacking
            n_bad, policy = len(bad), self.upsampler.too_many_bad
            if self._lacking:
                log.error("%d LD channels are bad, too many to render: %s", n_bad, policy)
                self._mark("too_many_bad", channels=list(bad), policy=policy)
            else:
                log.warning("enough LD channels are good again")
                self._mark("enough_good", channels=list(bad))

    def _tell_steps(self) -> None:
        for step in self.upsampler.steps:
            what = "the reference" if step.common else f"channel {', '.join(step.channels)}"
            log.warning("%s jumped by %.1f mV: taken out", what, step.size_uv / 1e3)
            self._mark(
                "step",
                channels=list(step.channels),
                size_uv=round(step.size_uv, 1),
                common=step.common,
            )
        self.upsampler.steps.clear()

    def _mark_disorder(self) -> None:
        """One event a status for what may come with every sample."""
        line = self._timeline
        now = (line.duplicates, line.out_of_order, line.restamped)
        if now == self._disorder:
            return
        new = [a - b for a, b in zip(now, self._disorder, strict=True)]
        self._disorder = now
        log.warning("%d samples repeated, %d out of order, %d without a time of their own", *new)
        self._mark("disorder", duplicates=new[0], out_of_order=new[1], restamped=new[2])

    def _mark(self, event: str, **details: object) -> None:
        text = json.dumps({"event": event, **details})
        log.info("event %s", text)
        if self._markers is not None:
            self._markers.push(text, self._clock())
