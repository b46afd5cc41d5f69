"""What a daemon says over HTTP: Prometheus metrics, a heartbeat, readiness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, get_args
from wsgiref.types import WSGIApplication

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
)

from emag_rt.daemon.status.counters import Counters, ServerStatus, State
from emag_rt.daemon.status.http import text_page
from emag_rt.streams.base import Clock

if TYPE_CHECKING:
    from prometheus_client import Metric

# The loop turns five times a second at least; looking a source up after its return blocks it for
# seconds.
_STUCK_S = 10.0
_GAUGES = {
    "latency_p50": "Median of receipt minus capture stamp at publishing.",
    "latency_p99": "99th centile of receipt minus capture stamp at publishing.",
    "latency_max": "Maximum of receipt minus capture stamp at publishing.",
    "input_age": "Age of the newest sample's stamp.",
    "render": "Front end and rendering of the last chunk.",
    "uptime": "Since serving began.",
}
"""Times in seconds; a status has them in ``_s`` or ``_ms``."""


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
        self._state: Callable[[], State] = lambda: "waiting"

    def beat(self) -> None:
        """Say that waiting for the source goes on."""
        self._waited = self._clock()

    def follow(self, heartbeat: Callable[[], float], state: Callable[[], State]) -> None:
        """Ask a server from now on for the time of its last turn, and for its state."""
        self._heartbeat, self._state = heartbeat, state

    def __call__(self, status: ServerStatus) -> None:
        """Keep a status; its counters go on counting, so they are copied."""
        self._status = replace(status, counters=replace(status.counters))

    def finish(self, status: ServerStatus) -> None:
        """Keep the last status."""
        self(status)

    def pages(self) -> dict[str, WSGIApplication]:
        """Pages by path, for :class:`~emag_rt.daemon.status.http.PageServer`."""
        # A registry of our own: nothing else in this process shows up in it.
        registry = CollectorRegistry(auto_describe=True)
        registry.register(self)
        ProcessCollector(registry=registry)
        return {
            "/metrics": make_wsgi_app(registry),
            "/healthz": text_page(self._health),
            "/readyz": text_page(self._ready),
        }

    def _age_s(self) -> float:
        return max(0.0, self._clock() - self._heartbeat())

    def _health(self) -> tuple[str, str]:
        age_s = self._age_s()
        good = age_s < _STUCK_S
        text = f"{'ok' if good else 'stuck'}: the loop turned {age_s:.1f} s ago\n"
        return _http(good), text

    def _ready(self) -> tuple[str, str]:
        state = self._state()
        return _http(state == "running"), f"{state}\n"

    def collect(self) -> Iterator[Metric]:
        """Metric families of the newest status; those not known yet have no number."""
        yield InfoMetricFamily("emag_rt_build", "What runs.", value=self._build)
        state = self._state()
        yield StateSetMetricFamily(
            "emag_rt_state",
            "State of the daemon.",
            {name: name == state for name in get_args(State)},
        )
        text = "Since the loop last turned."
        yield GaugeMetricFamily("emag_rt_heartbeat_age_seconds", text, self._age_s())
        status = self._status
        for name, count in asdict(status.counters if status else Counters()).items():
            text = f"Counter {name} of the status, since the start."
            yield CounterMetricFamily(f"emag_rt_{name}", text, count)
        numbers = status.numbers() if status else {}
        for name, text in _GAUGES.items():
            value = numbers.get(f"{name}_s")
            if value is None and (ms := numbers.get(f"{name}_ms")) is not None:
                value = ms / 1e3
            yield GaugeMetricFamily(f"emag_rt_{name}_seconds", text, value)
        text = "How badly LD fits the bundle, 1 being the limit."
        yield GaugeMetricFamily("emag_rt_ld_misfit", text, numbers.get("ld_misfit"))
        text = "1: LD does not fit the bundle."
        yield GaugeMetricFamily("emag_rt_unfit", text, float(status is not None and status.unfit))
        text = "By how much of themselves rendered channels differ from the bundle's (--adapt)."
        yield GaugeMetricFamily("emag_rt_adapted", text, numbers.get("adapted"))
        bad = GaugeMetricFamily(
            "emag_rt_bad_channel", "1: the LD channel is filled from the others.", labels=["label"]
        )
        for label in self._channels:
            bad.add_metric([label], float(status is not None and label in status.bad_channels))
        yield bad


def _http(good: bool) -> str:
    return "200 OK" if good else "503 Service Unavailable"
