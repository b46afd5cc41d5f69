"""Hours of serving: does latency or memory grow?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emag_rt.bench.accounting import Losses, trend
from emag_rt.bench.case_files import CaseFiles
from emag_rt.bench.measure import START_S, amplifier, daemon, receiver
from emag_rt.bench.processes import Child, all_of, new_session

Tell = Callable[[str], None]
_SPARE_S = 30.0
TRENDS = ("latency_p50_ms", "latency_p99_ms", "rss_mb", "cpu_percent")


@dataclass(frozen=True)
class SoakSettings:
    """How long, and how often it is looked at.

    Attributes
    ----------
    seconds : float
        Length of the run.
    interval_s : float
        Each interval gives one point of every trend.
    engine : str
        The daemon's.
    """

    seconds: float
    interval_s: float = 60.0
    engine: str = "auto"


def run_soak(
    files: CaseFiles, settings: SoakSettings, tell: Tell = lambda _line: None
) -> dict[str, Any]:
    """Serve for hours, and fit lines through what an interval showed.

    Parameters
    ----------
    files : CaseFiles
        Bundle and signal.
    settings : SoakSettings
        How long.
    tell : callable
        Called with a line for each interval.

    Returns
    -------
    dict
        ``points`` (one an interval), ``trends`` (slope an hour and its standard error, of
        :data:`TRENDS`), ``losses`` (all intervals together).
    """
    session, name = new_session(), "bench-soak"
    n_points = max(1, int(settings.seconds / settings.interval_s))
    play_s = settings.seconds + settings.interval_s + _SPARE_S
    played = amplifier(files, session, "bench-amplifier", play_s, None)
    points: list[dict[str, Any]] = []
    with all_of(played):
        played.wait_for("playing", START_S)
        middle = daemon(files, session, "bench-amplifier", name, settings.engine)
        with all_of(middle):
            middle.wait_for("ready", START_S)
            consumer = receiver(session, name, 0, "--interval", f"{settings.interval_s:g}")
            with all_of(consumer):
                begun, _ = consumer.wait_for("first", START_S)
                before = middle.cpu_s()
                last = begun
                while len(points) < n_points:
                    when, line = consumer.wait_for(
                        "{", settings.interval_s + START_S, after=_place(consumer, len(points))
                    )
                    now, cpu = time.monotonic(), middle.cpu_s()
                    point = _point(json.loads(line), (when - begun) / 3600.0)
                    point["rss_mb"] = middle.rss_mb()
                    point["cpu_percent"] = 100 * (cpu - before) / (now - last)
                    before, last = cpu, now
                    points.append(point)
                    tell(_line(point))
    return {"case": str(files.case), "title": files.case.title, **fit(points)}


def _place(consumer: Child, n_seen: int) -> int:
    """Lines of the consumer up to the last interval that was seen."""
    lines = [i for i, (_, line) in enumerate(list(consumer.lines)) if line.startswith("{")]
    return lines[n_seen - 1] + 1 if n_seen else 0


def _point(said: dict[str, Any], hours: float) -> dict[str, Any]:
    latency = said["latency_ms"]
    counted = {key: said[key] for key in Losses().as_dict()}
    return {
        "hours": round(hours, 6),
        "latency_p50_ms": latency["p50"],
        "latency_p99_ms": latency["p99"],
        "latency_max_ms": latency["max"],
        **counted,
    }


def _line(point: dict[str, Any]) -> str:
    return (
        f"{point['hours']:.3f} h: p50 {point['latency_p50_ms']} ms, p99 "
        f"{point['latency_p99_ms']} ms, {point['rss_mb']:.1f} MB, {point['cpu_percent']:.1f} % CPU"
    )


def fit(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Lines through the points, without the first (it holds the warm-up) when there are enough.

    Parameters
    ----------
    points : sequence of dict
        ``hours``, everything in :data:`TRENDS`, and losses.

    Returns
    -------
    dict
        ``points``, ``trends`` with ``slope`` (an hour), ``error`` and ``mean``, ``losses``.
    """
    used = points[1:] if len(points) > 4 else points
    hours = [point["hours"] for point in used]
    trends = {}
    for key in TRENDS:
        values = [float("nan") if point[key] is None else point[key] for point in used]
        trends[key] = trend(values, hours).as_dict()
    losses = Losses()
    for point in points:
        losses += Losses(**{key: point[key] for key in losses.as_dict()})
    return {"points": list(points), "trends": trends, "losses": losses.as_dict()}
