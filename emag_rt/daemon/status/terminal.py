"""What people see on a terminal: single lines, and one that keeps up to date."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.engine.upsampler import Upsampler
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.metadata import OutletSpec
from emag_rt.streams.query import StreamQuery, listing

_FIRST_LOOK_S = 2.0
_LOOK_AGAIN_S = 5.0


def tell(line: str) -> None:
    """Write a line to standard error."""
    with contextlib.suppress(OSError):  # a log on a full disk must not end the experiment
        print(line, file=sys.stderr, flush=True)


def ready_line(spec: OutletSpec, stream: StreamFormat, upsampler: Upsampler) -> str:
    """One line that says what is served, for logs and for those who wait for it."""
    return (
        f"ready: {stream.name!r} ({stream.n_channels} ch, {stream.sfreq:g} Hz) -> "
        f"{spec.name!r} ({len(spec.labels)} ch, source_id {spec.source_id}), "
        f"engine {upsampler.engine}, look-ahead {upsampler.look_ahead} samples"
    )


class Waiting:
    """Tells a person who waits for a source what is in sight meanwhile.

    Parameters
    ----------
    query : StreamQuery
        What is waited for.
    look : callable
        Gives the streams in sight; takes up to a second.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        query: StreamQuery,
        look: Callable[[], Sequence[StreamFormat]],
        clock: Callable[[], float],
    ) -> None:
        self._query, self._look, self._clock = query, look, clock
        self._next = clock() + _FIRST_LOOK_S
        self._told: str | None = None

    def __call__(self) -> None:
        """Look now and then, and tell what has changed."""
        if self._clock() < self._next:
            return
        seen = self._look()
        there = f"in sight:{listing(seen)}" if seen else "no stream at all is in sight"
        if there != self._told:
            tell(f"waiting for a numeric stream that has {self._query}; {there}")
        self._told, self._next = there, self._clock() + _LOOK_AGAIN_S


class LiveView:
    """A line on the terminal that keeps up to date while a person looks on."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._name = name
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def __call__(self, status: ServerStatus) -> None:
        """Refresh."""
        from rich.text import Text

        c = status.counters
        latency = status.latency
        style = {"running": "green", "stale": "bold red", "dead": "bold red"}.get(
            status.state, "yellow"
        )
        line = Text(f"{self._name} ", no_wrap=True, overflow="ellipsis")
        line.append(status.state, style=style)
        line.append(f"  in {c.samples_in}  out {c.samples_out}")
        if latency["latency_p50_ms"] is not None:
            line.append(
                f"  latency p50 {latency['latency_p50_ms']:.2f} ms"
                f"  p99 {latency['latency_p99_ms']:.2f} ms"
            )
        line.append(f"  gaps {c.gaps}  skipped {c.skipped}")
        if status.bad_channels:
            line.append(f"  bad {','.join(status.bad_channels)}", style="bold red")
        if status.too_many_bad:
            line.append("  too many", style="bold red")
        if status.unfit:
            line.append("  does not fit the bundle", style="bold red")
        if status.adapted:
            line.append(f"  adapted ({100 * status.adapted:.0f} %)")
        elif status.adapting in ("undone", "ended"):
            line.append(f"  adapting {status.adapting}", style="yellow")
        with contextlib.suppress(OSError):  # the terminal has gone
            self._live.update(line, refresh=True)

    def finish(self, status: ServerStatus) -> None:
        """Show the last status."""
        self(status)
