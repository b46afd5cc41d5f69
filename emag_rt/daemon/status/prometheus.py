"""What a daemon says over HTTP: Prometheus metrics, a heartbeat, readiness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from emag_rt.daemon.status.counters import Counters, ServerStatus
from emag_rt.daemon.status.http import TEXT, Page
from emag_rt.streams.base import Clock

STATES = ("waiting", "running", "stale", "stopped")
# The loop turns five times a second at least; looking a source up after its return blocks it for
# seconds.
_STUCK_S = 10.0


class Vitals:
    """The newest status, and how long ago the loop turned.

    Reporting a status only stores it; everything else happens in the thread that asks.

    Parameters
    ----------
    clock : callable
        Seconds; the clock of ``follow``'s heartbeat.
    channels : sequence of str
        LD labels.
    build : dict of str to str
        Labels of ``emag_rt_build_info``.
    """

    def __init__(self, clock: Clock, channels: Sequence[str], build: dict[str, str]) -> None:
        self._clock = clock
        self._channels = tuple(channels)
        self._build = build
        self._status: ServerStatus | None = None
        self._waited = clock()
        self._heartbeat: Callable[[], float] = lambda: self._waited
        self._state: Callable[[], str] = lambda: "waiting"

    def beat(self) -> None:
        """Say that waiting for the source goes on."""
        self._waited = self._clock()

    def follow(self, heartbeat: Callable[[], float], state: Callable[[], str]) -> None:
        """Ask a server from now on for the time of its last turn, and for its state."""
        self._heartbeat, self._state = heartbeat, state

    def __call__(self, status: ServerStatus) -> None:
        """Keep a status; its counters go on counting, so they are copied."""
        self._status = replace(status, counters=replace(status.counters))

    def finish(self, status: ServerStatus) -> None:
        """Keep the last status."""
        self(status)

    def pages(self) -> dict[str, Page]:
        """Pages by path, for :class:`~emag_rt.daemon.status.http.PageServer`."""
        return {"/metrics": self._metrics(), "/healthz": self._health, "/readyz": self._ready}

    def _age_s(self) -> float:
        return max(0.0, self._clock() - self._heartbeat())

    def _health(self) -> tuple[int, str, bytes]:
        age_s = self._age_s()
        text = f"{'ok' if age_s < _STUCK_S else 'stuck'}: the loop turned {age_s:.1f} s ago\n"
        return 200 if age_s < _STUCK_S else 503, TEXT, text.encode()

    def _ready(self) -> tuple[int, str, bytes]:
        state = self._state()
        return 200 if state == "running" else 503, TEXT, f"{state}\n".encode()

    def _metrics(self) -> Page:
        # A registry of our own: nothing else in this process shows up in it.
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry))

    def describe(self) -> list[Any]:
        """No names are promised beforehand (prometheus_client asks)."""
        return []

    def collect(self) -> Iterator[Any]:
        """Metric families of the newest status; numbers that are not known yet are left out."""
        from prometheus_client import core

        yield core.InfoMetricFamily("emag_rt_build", "What runs.", value=self._build)
        state = self._state()
        yield core.StateSetMetricFamily(
            "emag_rt_state", "State of the daemon.", {name: name == state for name in STATES}
        )
        status = self._status
        for name, count in asdict(status.counters if status else Counters()).items():
            text = f"Counter {name} of the status, since the start."
            yield core.CounterMetricFamily(f"emag_rt_{name}", text, value=count)
        for name, (text, value) in self._numbers(status).items():
            if value is not None:
                yield core.GaugeMetricFamily(f"emag_rt_{name}", text, value=value)
        bad = core.GaugeMetricFamily(
            "emag_rt_bad_channel", "1: the LD channel is filled from the others.", labels=["label"]
        )
        for label in self._channels:
            bad.add_metric([label], float(status is not None and label in status.bad_channels))
        yield bad

    def _numbers(self, status: ServerStatus | None) -> dict[str, tuple[str, float | None]]:
        found: dict[str, tuple[str, float | None]] = {
            "heartbeat_age_seconds": ("Since the loop last turned.", self._age_s())
        }
        if status is None:
            return found
        for key, text in (("p50", "Median"), ("p99", "99th centile"), ("max", "Maximum")):
            value = status.latency.get(f"latency_{key}_ms")
            title = f"{text} of receipt minus capture stamp at publishing."
            found[f"latency_{key}_seconds"] = title, _seconds(value)
        found["input_age_seconds"] = "Age of the newest sample's stamp.", status.input_age_s
        found["render_seconds"] = "Time to answer the last chunk.", _seconds(status.render_ms)
        found["uptime_seconds"] = "Since serving began.", status.uptime_s
        return found


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3
