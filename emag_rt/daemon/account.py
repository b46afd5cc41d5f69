"""The account of a serving loop: its counters, and a status of them once an interval."""

from __future__ import annotations

from emag_rt.daemon.adapting import Adapting
from emag_rt.daemon.channel_watch import ChannelWatch
from emag_rt.daemon.events import Event
from emag_rt.daemon.presence import Presence
from emag_rt.daemon.status.counters import Counters, LatencyWindow, ServerStatus, State
from emag_rt.daemon.timeline import Timeline
from emag_rt.engine.fit_watch import FitWatch


class Account:
    """Counts, and says how it goes.

    Parameters
    ----------
    now : float
        Time in s at the start.
    interval_s : float
        From one status to the next.
    counters : Counters
        What happened to samples.
    timeline, channels, fit, presence, latency, adapting
        What is counted and known elsewhere.

    Attributes
    ----------
    next_status : float
        When the next status is due.
    """

    def __init__(
        self,
        now: float,
        interval_s: float,
        counters: Counters,
        timeline: Timeline,
        channels: ChannelWatch,
        fit: FitWatch,
        presence: Presence,
        latency: LatencyWindow,
        adapting: Adapting | None = None,
    ) -> None:
        self._counters = counters
        self._started, self._interval_s = now, interval_s
        self.next_status = now + interval_s
        self._timeline, self._channels, self._fit = timeline, channels, fit
        self._presence, self._latency, self._adapting = presence, latency, adapting
        self._told = (0, 0, 0)
        self._uneven_told = False

    def schedule(self, now: float) -> None:
        """Set the time of the next status; those missed by over a second are left out."""
        self.next_status = max(self.next_status, now - 1.0) + self._interval_s

    def status(self, now: float, state: State, engine: str, render_s: float | None) -> ServerStatus:
        """What there is to say now, of a loop in a state that renders with ``engine``."""
        counters, line, channels = self._counters, self._timeline, self._channels
        adapting = self._adapting
        counters.duplicates = line.duplicates
        counters.out_of_order = line.out_of_order
        counters.restamped = line.restamped
        channels.count(counters)
        counters.adaptations = adapting.n_adapted if adapting is not None else 0
        newest = self._presence.told_stamp()
        return ServerStatus(
            state=state,
            engine=engine,
            bad_channels=channels.bad,
            counters=counters,
            uptime_s=now - self._started,
            input_age_s=None if newest is None else round(now - newest, 4),
            render_ms=None if render_s is None else round(render_s * 1e3, 4),
            latency=self._latency.summary_ms(),
            bad_reasons=channels.reasons,
            too_many_bad=channels.lacking,
            ld_misfit=self._fit.level,
            unfit=self._fit.unfit,
            adapting="off" if adapting is None else adapting.state,
            adapted=None if adapting is None else adapting.share,
        )

    def uneven(self) -> Event | None:
        """Once, that stamps are not even."""
        if self._uneven_told or not self._timeline.uneven:
            return None
        self._uneven_told = True
        text = (
            "the source's stamps are not even (of arrival, in bursts, or none): its samples are "
            "set on an even line, and what is missing is told by their count, within a second"
        )
        return Event("uneven_stamps", text=text)

    def disorder(self) -> Event | None:
        """One event a status for what may come with every sample."""
        line = self._timeline
        now = (line.duplicates, line.out_of_order, line.restamped)
        if now == self._told or line.out_of_order < self._told[1]:  # some were taken after all
            return None
        repeated, disordered, restamped = (
            new - told for new, told in zip(now, self._told, strict=True)
        )
        self._told = now
        return Event(
            "disorder",
            {"duplicates": repeated, "out_of_order": disordered, "restamped": restamped},
            f"{repeated} samples repeated, {disordered} out of order, {restamped} without a time "
            "of their own",
        )
