"""The serving loop: source → timeline → upsampler → sink, with nothing lost in silence."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from emag_rt.array_types import BoolArray, FloatArray, Samples, Stamps
from emag_rt.daemon.account import Account
from emag_rt.daemon.adapting import Adapting
from emag_rt.daemon.answers import Answers
from emag_rt.daemon.channel_watch import ChannelWatch
from emag_rt.daemon.events import Event, Teller, fit_event, namesake
from emag_rt.daemon.gaps import GapPolicy
from emag_rt.daemon.input_watch import InputWatch
from emag_rt.daemon.lateness import Lateness
from emag_rt.daemon.presence import Presence
from emag_rt.daemon.publisher import Publisher
from emag_rt.daemon.settings import ServeSettings
from emag_rt.daemon.source_check import SourceWatch, reference_event
from emag_rt.daemon.status.counters import Counters, ServerStatus, State
from emag_rt.daemon.timeline import Timeline, TimelineRules
from emag_rt.daemon.trace import Trace
from emag_rt.engine.fit_watch import FitWatch
from emag_rt.engine.matching import InputMatch, match_input
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import StreamAmbiguous, StreamMismatch
from emag_rt.streams.base import Clock, MarkerSink, Namesakes, Sink, Source
from emag_rt.system import yield_core

log = logging.getLogger(__name__)

_WAIT_S = 0.2


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
    namesakes : Namesakes, optional
        Asked with every status for other outlets of our name.
    match : InputMatch, optional
        How the source is read, where it has been matched already.
    adapting : Adapting, optional
        Follows the wearer's present state.

    Attributes
    ----------
    counters : Counters
        What happened to samples.
    last_state : State
        The state in which :meth:`serve` ended.
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
        namesakes: Namesakes | None = None,
        match: InputMatch | None = None,
        adapting: Adapting | None = None,
    ) -> None:
        settings = settings or ServeSettings()
        self.upsampler = upsampler
        upsampler.mismatch = "ignore"  # judged here, where it can be told
        self._source, self._clock = source, clock
        self._on_status, self._trace = on_status, trace
        self._namesakes = namesakes
        if trace is not None:
            upsampler.on_filtered = trace.filtered
        # What the stream says of its rate (511.9 where the bundle says 512) tells what is missing.
        sfreq = source.format.sfreq or upsampler.sfreq
        gaps, now = settings.gaps, clock()
        self._timeline = Timeline(sfreq, TimelineRules(bridge_s=gaps.bridge_s))
        self._presence = Presence(now, gaps.stale_s)
        self._source_watch = SourceWatch(source, upsampler.bundle, settings.source)
        self._settings = settings
        self._match = match or match_input(
            source.format,
            upsampler.bundle,
            settings.source.declared_unit,
            settings.source.names,
        )
        self._input = self._watch_input()
        self._lateness = Lateness(settings.latency)
        self.counters = Counters()
        self.last_state: State = "waiting"
        publisher = Publisher(sink, clock, len(upsampler.labels), trace)
        self._answers = Answers(
            upsampler, publisher, clock, self._lateness, GapPolicy(gaps, sfreq), self.counters
        )
        self._channels, self._adapting = ChannelWatch(upsampler), adapting
        on_block = None if adapting is None else self._learn
        self._fit = FitWatch(upsampler.bundle, on_block)
        upsampler.watch_blocks(self._fit.take)
        self._teller = Teller(clock, markers)
        self._account = Account(
            now,
            settings.status.interval_s,
            self.counters,
            self._timeline,
            self._channels,
            self._fit,
            self._presence,
            publisher.latency,
            adapting,
        )

    def serve(self, stop: Callable[[], bool], duration_s: float | None = None) -> ServerStatus:
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
        after_s = self._settings.gaps.go_on_after_s
        wait_s = _WAIT_S if after_s is None else min(_WAIT_S, max(0.1 * after_s, 0.02))
        self._tell(reference_event(self._source.format, self.upsampler.bundle))
        if (why_not := self._fit.why_not()) is not None:
            log.info("%s", why_not)
        try:
            while not stop() and (end is None or self._clock() < end):
                self.turn(wait_s if end is None else min(wait_s, max(0.0, end - self._clock())))
            self.turn(0.0)
        except (StreamAmbiguous, StreamMismatch) as error:
            self._tell(Event("refused", {"reason": str(error)}))
            raise
        finally:
            self._answers.flush()
            self._tell(self._answers.came_back())
            self._tell(self._account.disorder())
            if self._adapting is not None:
                for event in self._adapting.finish(self._settings.adapt.save_at_end):
                    self._tell(event)
            self._tell(Event("stopped"))
            self.last_state = self.state
            self._presence.state = "stopped"
        return self.status()

    def turn(self, timeout_s: float) -> None:
        """Wait for samples and answer them; what can wait is done once they are answered."""
        samples, stamps = self._source.pull(timeout_s)
        now = self._clock()
        if len(stamps):
            if self._trace is not None:
                self._trace.begin(stamps.item(-1), now)
            self._answer(samples, stamps, now)
            if self._trace is not None:
                self._trace.end()
            # LSL's own thread may be waiting for this core to send the rows on.
            yield_core()
            self.upsampler.prepare()
            self._input.take(samples, stamps)
            for event in self._input.judge():
                self._tell(event)
                self._answers.withheld = self._input.dead
            if self._input.settled:
                for event in self._channels.news():
                    self._tell(event)
                if (news := self._fit.judge()) is not None:
                    self._tell(fit_event(news))
        else:
            was_stale = self.state == "stale"
            self._tell(self._presence.nothing_came(now, timeout_s))
            self._go_on(now)
            if was_stale:
                self._tell(self._source_watch.look())
        if self._adapting is not None:
            for event in self._adapting.news(self._fit.unfit):
                self._tell(event)
        if now >= self._account.next_status:
            self._report(now)

    @property
    def state(self) -> State:
        """Whether samples flow, and carry anything; other threads may ask."""
        state = self._presence.state
        return "dead" if state == "running" and self._input.dead else state

    @property
    def settled(self) -> bool:
        """Whether the scale of the source's signal has been judged."""
        return self._input.settled

    @property
    def heartbeat(self) -> float:
        """When the loop last turned, in s on its clock; other threads may ask."""
        return self._presence.heartbeat

    def status(self) -> ServerStatus:
        """What there is to say now."""
        return self._account.status(
            self._clock(), self.state, self.upsampler.engine, self._answers.render_s
        )

    def _learn(self, block: FloatArray, usable: BoolArray) -> None:
        """Two seconds of LD, to adapt to where nothing is amiss."""
        assert self._adapting is not None
        if usable.all() and not (self.upsampler.bad or self._input.dead or self._fit.unfit):
            self._adapting.take(block)

    def _report(self, now: float) -> None:
        self._account.schedule(now)
        self._tell(self._account.uneven())
        self._tell(self._account.disorder())
        if self._source_watch.unverified and self._presence.state == "running":
            self._check_source(0)
        for other in self._namesakes.look() if self._namesakes is not None else ():
            self._tell(namesake(other))
        if self._on_status is not None:
            self._on_status(self.status())

    def _answer(self, samples: Samples, stamps: Stamps, now: float) -> None:
        presence = self._presence
        self.counters.samples_in += len(stamps)
        newest = stamps.item(-1)
        running = presence.state == "running"
        if not running:
            self._welcome(now, len(stamps))
        restarted = presence.arrived(now, newest) and running
        if self._timeline.follows(samples, stamps):
            if self._source.drained:
                self._lateness.observe(now, now - newest)
            event = self._answers.render(samples, stamps, now)
            if event is not None:
                self._teller.tell(event)
            return
        if restarted:
            self._check_source(len(stamps))
        latest = self._lateness.latest(now)
        if self._answers.goes_on:
            if math.isfinite(stamps[0]):
                self._go_on_until(min(stamps.item(0), latest))
            self._tell(self._answers.came_back())
        pieces = self._timeline.split(samples, stamps, latest)
        newest = self._timeline.newest
        if self._source.drained and pieces:
            self._lateness.observe(now, now - newest)
        for piece in pieces:
            self._tell(self._answers.piece(piece))
            if piece.kind == "jump":  # what is usual on the new clock
                self._lateness.observe(now, now - newest)

    def _go_on(self, now: float) -> None:
        """Rows at the rate through a silence, where that is wanted; they are as late as usual."""
        after_s = self._settings.gaps.go_on_after_s
        if after_s is None or not self._presence.waited(now, after_s):
            return
        self._go_on_until(min(self._lateness.latest(now), now))

    def _go_on_until(self, stamp: float) -> None:
        piece = self._timeline.go_on(stamp)
        if piece is not None:
            self._answers.go_on(piece)

    def _welcome(self, now: float, n: int) -> None:
        """The first ``n`` samples, or the first after a silence."""
        if self.state == "stale":
            self._check_source(n)
            if self._source_watch.made_anew:
                self._timeline.made_anew()
            self.counters.recovered += 1
            self._tell(self._presence.recovered(now))
            self._judge_anew()
        self._presence.state = "running"

    def _check_source(self, n: int) -> None:
        """Make sure of the source, of which ``n`` samples are here already."""
        try:
            match, event = self._source_watch.check()
        except (StreamAmbiguous, StreamMismatch):
            self.counters.refused += n
            raise
        self._tell(event)
        if match is not None:
            self._answers.flush()
            self.upsampler.attach(match.channels, match.units)
            self._match = match
            self._judge_anew()
            self._timeline.forget_values()

    def _judge_anew(self) -> None:
        """After a silence, or with other channels, what was found before says nothing."""
        was_dead = self._input.dead
        self._input = self._watch_input()
        self._fit.forget()
        if self._adapting is not None:
            self._adapting.forget()
        if was_dead:
            self._answers.withheld = False
            self._tell(Event("amplifier_back"))

    def _watch_input(self) -> InputWatch:
        refuses = self._settings.source.mismatch == "refuse"
        return InputWatch(self._source.format, self._match, self.upsampler.bundle, refuses)

    def _tell(self, event: Event | None) -> None:
        if event is not None:
            self._teller.tell(event)
