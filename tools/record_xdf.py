"""Record live LSL streams into one XDF file, as LabRecorder does.

    python -m tools.record_xdf session.xdf --name s01-HD --name AMP --duration 60

For tests, servers without a screen, and scripts; LabRecorder does the same with a window. Every
sample keeps the stamp it was sent with; the clock of each stream is measured every five seconds.
The file grows as it goes: whatever ends this, what was written is readable.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import click

from emag_rt.cli.options import DURATION_S, lsl_options
from emag_rt.daemon.stopping import stop_signals
from emag_rt.errors import EmagError, SettingsError, StreamAmbiguous, StreamError, StreamNotFound
from emag_rt.recordings.xdf_write import XdfWriter
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import configure
from emag_rt.streams.lsl.library import Inlet, header, resolve

BUFFER_S = 360  # what a stalled disk may take
PULL_S = 0.1
CLOCK_S = 5.0
BOUNDARY_S = 10.0
PATIENCE_S = 2.0


def find(key: str, value: str, timeout_s: float, stop: threading.Event) -> tuple[Any, StreamFormat]:
    """Wait for the one stream with a name or a source id."""
    end = time.monotonic() + timeout_s
    while True:
        infos = [(info, header(info)) for info in resolve("", 0.5)]
        found = [(i, head) for i, head in infos if getattr(head, key) == value]
        if len({head.uid for _, head in found}) > 1:
            raise StreamAmbiguous(
                f"{key} {value!r} must match one stream, got "
                f"{', '.join(repr(h.source_id) for _, h in found)}. Use --source-id."
            )
        if found:
            return found[0]
        if time.monotonic() > end or stop.is_set():
            names = ", ".join(sorted(repr(h.name) for _, h in infos)) or "none"
            raise StreamNotFound(
                f"a stream with {key} {value!r} must be there, none appeared in {timeout_s:g} s. "
                f"Streams seen: {names}."
            )


class Track:
    """One stream on its way into the file; its thread ends when told, or when the stream fails."""

    def __init__(self, writer: XdfWriter, info: Any, head: StreamFormat) -> None:
        self.what = f"stream {head.name!r}"
        self.count = 0
        self.error: Exception | None = None
        self._writer = writer
        self._inlet = Inlet(info, self.what, BUFFER_S, recover=True)
        self._number = writer.add_stream(self._inlet.header_xml(PATIENCE_S))
        self._measure_clock()

    def open(self) -> None:
        """Let samples come in; for all streams one after the other, so that they begin together."""
        self._inlet.open_stream(PATIENCE_S)

    def run(self, stop: threading.Event) -> None:
        """Write samples and clock offsets until told to stop; then what has arrived."""
        try:
            due = time.monotonic() + CLOCK_S
            ended = False
            while not ended:
                ended = stop.wait(PULL_S)
                while self._take():
                    pass
                if ended or time.monotonic() > due:
                    self._measure_clock()
                    due = time.monotonic() + CLOCK_S
        except Exception as error:  # whatever it is: a thread that ends unheard loses a stream
            self.error = error
            stop.set()

    def _take(self) -> int:
        values, stamps = self._inlet.take_all()
        self._writer.samples(self._number, values, stamps)
        self.count += len(stamps)
        return len(stamps)

    def _measure_clock(self) -> None:
        try:
            offset, _, remote = self._inlet.clock_correction(PATIENCE_S)
        except StreamError:  # silent just now: the next one will do, as in LabRecorder
            return
        self._writer.clock_offset(self._number, remote, offset)


def record(
    tracks: list[Track], writer: XdfWriter, stop: threading.Event, duration_s: float
) -> None:
    """Let all streams run until told to stop, or for a while."""
    threads = [threading.Thread(target=track.run, args=(stop,)) for track in tracks]
    for thread in threads:
        thread.start()
    end = time.monotonic() + duration_s
    due = time.monotonic() + BOUNDARY_S
    try:
        while time.monotonic() < end and not stop.wait(min(0.2, max(0.0, end - time.monotonic()))):
            if time.monotonic() > due:
                writer.boundary()
                due += BOUNDARY_S
    finally:  # also when the disk is full: threads that nobody stops would hold the process
        stop.set()
        for thread in threads:
            thread.join()


@click.command()
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--name", "names", multiple=True, help="Name of a stream; may be repeated.")
@click.option("--source-id", "ids", multiple=True, help="Source id of a stream; may be repeated.")
@click.option("--duration", type=DURATION_S, help="Seconds (default: until Ctrl-C).")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for a stream.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@lsl_options("How far streams are looked for.")
def main(
    out: str,
    names: tuple[str, ...],
    ids: tuple[str, ...],
    duration: float | None,
    timeout: float,
    overwrite: bool,
    scope: Any,
    session_id: str | None,
) -> None:
    """Record live LSL streams into the XDF file OUT."""
    try:
        wanted = [("name", name) for name in names] + [("source_id", i) for i in ids]
        if not wanted or len(set(wanted)) < len(wanted):
            raise SettingsError(
                f"--name or --source-id must name at least one stream, each once, got {wanted}."
            )
        with stop_signals() as stop:
            configure(scope, session_id)
            found = [find(key, value, timeout, stop) for key, value in wanted]
            with XdfWriter(Path(out), overwrite=overwrite) as writer:
                tracks = [Track(writer, info, head) for info, head in found]
                for track in tracks:
                    track.open()
                click.echo(f"recording {len(tracks)} streams into {out}")
                record(tracks, writer, stop, float("inf") if duration is None else duration)
            for track in tracks:
                click.echo(f"{track.what}: {track.count} samples")
            failed = next((track for track in tracks if track.error), None)
            if failed is not None and failed.error is not None:
                if not isinstance(failed.error, EmagError):
                    click.echo(f"error: {failed.what}: recording it failed", err=True)
                raise failed.error
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
