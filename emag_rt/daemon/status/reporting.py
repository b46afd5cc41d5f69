"""Where a daemon says how it goes: JSON lines, a numeric outlet, the terminal."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import OutputError
from emag_rt.streams.base import Clock, Sink, StreamFormat
from emag_rt.streams.metadata import OutletSpec

log = logging.getLogger(__name__)
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
    "bridged",
    "unfilled",
    "jumps",
    "recovered",
    "overdue",
    "duplicates",
    "out_of_order",
    "restamped",
    "refused",
    "too_many_bad",
    "unrenderable",
    "steps",
)
BAD_REASONS = (
    "no number, or railed",
    "flat",
    "dead",
    "clipped",
    "line noise",
    "at odds with the others",
    "swapped",
    "jumped",
)
"""What the numbers 1, 2, ... mean in the channels ``bad:LABEL`` of the status outlet."""


class Reporter(Protocol):
    """Told how it goes, once per ``status.interval_s``, and once more at the end."""

    def __call__(self, status: ServerStatus) -> None:
        """Tell."""

    def finish(self, status: ServerStatus) -> None:
        """Tell the last status."""


def ready_line(spec: OutletSpec, stream: StreamFormat, upsampler: Upsampler) -> str:
    """One line that says what is served, for logs and for those who wait for it."""
    return (
        f"ready: {stream.name!r} ({stream.n_channels} ch, {stream.sfreq:g} Hz) -> "
        f"{spec.name!r} ({len(spec.labels)} ch, source_id {spec.source_id}), "
        f"engine {upsampler.engine}, look-ahead {upsampler.look_ahead} samples"
    )


class StatusFile:
    """One JSON line for each status, and a last one with ``"summary": true``.

    Whatever happens to the file, the experiment goes on: lines that a full disk or a reader that
    stalls does not take are counted, and the file never holds part of one.

    Parameters
    ----------
    path : str
        File to write, or ``-`` for standard output. What it held before is gone.

    Raises
    ------
    OutputError
        If the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._own = path != "-"
        self._path = path
        # A pipe without a reader would be waited for.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o666) if self._own else sys.stdout.fileno()
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        except (OSError, AttributeError) as error:  # AttributeError: started without a stdout
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"--status-json {path}: cannot be written: {reason}. Name another file."
            ) from error
        self._room = select.poll()
        self._room.register(self._file, select.POLLOUT)
        self._failing = False

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
                os.close(self._file)

    def __call__(self, status: ServerStatus) -> None:
        """Write a line."""
        self._write(status, summary=False)

    def finish(self, status: ServerStatus) -> None:
        """Write the last line."""
        self._write(status, summary=True)

    def _write(self, status: ServerStatus, summary: bool) -> None:
        now = round(time.time(), 3)
        line = json.dumps({"time": now, "summary": summary, **status.as_dict()}) + "\n"
        try:
            self._append(line.encode())
        except OSError as error:
            status.counters.status_lost += 1
            if not self._failing:
                log.warning(
                    "--status-json %s: cannot be written: %s; serving goes on, lines are lost",
                    self._path,
                    error.strerror or error,
                )
            self._failing = True
            return
        if self._failing:
            log.warning("--status-json %s: can be written again", self._path)
        self._failing = False

    def _append(self, line: bytes) -> None:
        if not self._regular and not self._room.poll(0):
            raise BlockingIOError(errno.EAGAIN, "its reader does not keep up")
        written = os.write(self._file, line)
        if written == len(line):
            return
        if self._regular:
            end = os.lseek(self._file, -written, os.SEEK_CUR)
            os.ftruncate(self._file, end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
    channels : sequence of str
        LD labels. Each has a channel ``bad:LABEL`` after the numbers: 0 good, else one more than
        the index of the reason in :data:`BAD_REASONS`. So a receiver that comes late, or a
        recording, knows of every channel without the events.
    """

    def __init__(
        self,
        name: str,
        source_id: str,
        clock: Clock,
        make_sink: Callable[[OutletSpec], Sink],
        channels: Sequence[str] = (),
    ) -> None:
        self._clock = clock
        self._channels = tuple(channels)
        self._sink = make_sink(
            OutletSpec(
                name=f"{name}-status",
                source_id=f"{source_id}:status",
                labels=(*STATUS_NUMBERS, *(f"bad:{label}" for label in self._channels)),
                sfreq=0.0,
                type="Quality",
                units="none",
            )
        )

    def __call__(self, status: ServerStatus) -> None:
        """Publish a status; numbers that are not known yet are NaN."""
        known = {**status.as_dict(), "n_bad_channels": len(status.bad_channels)}
        values = [np.nan if known[key] is None else float(known[key]) for key in STATUS_NUMBERS]
        values += [self._verdict(label, status) for label in self._channels]
        self._sink.push(np.array([values], dtype=np.float32), np.array([self._clock()]))

    @staticmethod
    def _verdict(label: str, status: ServerStatus) -> float:
        if label not in status.bad_channels:
            return 0.0
        reason = status.bad_reasons.get(label, "")
        known = reason in BAD_REASONS
        return 1.0 + (BAD_REASONS.index(reason) if known else len(BAD_REASONS))

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
        with contextlib.suppress(OSError):
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
        with contextlib.suppress(OSError):  # the terminal has gone
            self._live.update(line, refresh=True)

    def finish(self, status: ServerStatus) -> None:
        """Show the last status."""
        self(status)
