"""Where a daemon says how it goes: JSON lines, a numeric outlet, the terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from emag_rt.engine.statistics import ServerStatus
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import SettingsError
from emag_rt.streams.base import Clock, Sink, StreamFormat
from emag_rt.streams.metadata import OutletSpec

STATUS_NUMBERS = (
    "samples_in",
    "samples_out",
    "gaps",
    "filled",
    "skipped",
    "latency_p50_ms",
    "latency_p99_ms",
    "latency_max_ms",
    "input_age_s",
    "render_ms",
    "n_bad_channels",
    "too_many_bad",
    "unrenderable",
    "steps",
)


def ready_line(spec: OutletSpec, stream: StreamFormat, upsampler: Upsampler) -> str:
    """One line that says what is served, for logs and for those who wait for it."""
    return (
        f"ready: {stream.name!r} ({stream.n_channels} ch, {stream.sfreq:g} Hz) -> "
        f"{spec.name!r} ({len(spec.labels)} ch, source_id {spec.source_id}), "
        f"engine {upsampler.engine}, look-ahead {upsampler.look_ahead} samples"
    )


class StatusFile:
    """One JSON line for each status, and a last one with ``"summary": true``.

    Parameters
    ----------
    path : str
        File to write, or ``-`` for standard output.

    Raises
    ------
    SettingsError
        If the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._own = path != "-"
        try:
            file = Path(path).open("w") if self._own else sys.stdout  # noqa: SIM115 - as long as we
            self._file: IO[str] = file
        except OSError as error:
            raise SettingsError(
                f"--status-json {path}: cannot be written: {error.strerror}."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own:
            with contextlib.suppress(OSError):
                self._file.close()

    def __call__(self, status: ServerStatus) -> None:
        """Write a line."""
        self._write({"summary": False, **status.as_dict()})

    def finish(self, status: ServerStatus) -> None:
        """Write the last line."""
        self._write({"summary": True, **status.as_dict()})

    def _write(self, content: dict[str, Any]) -> None:
        line = json.dumps({"time": round(time.time(), 3), **content})
        # A full disk or a reader that has gone must not end the experiment.
        with contextlib.suppress(OSError, ValueError):
            self._file.write(line + "\n")
            self._file.flush()


class StatusOutlet:
    """A numeric stream of labelled status values.

    Parameters
    ----------
    name, source_id : str
        Of the HD outlet it goes with.
    clock : callable
        Stamps, in s.
    make_sink : callable
        From an :class:`OutletSpec` to a sink.
    """

    def __init__(
        self, name: str, source_id: str, clock: Clock, make_sink: Callable[[OutletSpec], Sink]
    ) -> None:
        self._clock = clock
        self._sink = make_sink(
            OutletSpec(
                name=f"{name}-status",
                source_id=f"{source_id}:status",
                labels=STATUS_NUMBERS,
                sfreq=0.0,
                type="Quality",
                units="none",
            )
        )

    def __call__(self, status: ServerStatus) -> None:
        """Publish a status; numbers that are not known yet are NaN."""
        known = {**status.as_dict(), "n_bad_channels": len(status.bad_channels)}
        values = [np.nan if known[key] is None else float(known[key]) for key in STATUS_NUMBERS]
        self._sink.push(np.array([values], dtype=np.float32), np.array([self._clock()]))

    def finish(self, status: ServerStatus) -> None:
        """Publish the last status."""
        self(status)

    def close(self) -> None:
        """Take the stream off the network."""
        self._sink.close()


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
        self._live.stop()

    def __call__(self, status: ServerStatus) -> None:
        """Refresh."""
        from rich.text import Text

        c = status.counters
        latency = status.latency
        style = {"running": "green", "stale": "bold red"}.get(status.state, "yellow")
        line = Text(f"{self._name} ")
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
        self._live.update(line, refresh=True)

    def finish(self, status: ServerStatus) -> None:
        """Show the last status."""
        self(status)
