"""Eight hours of stream time through the server, in memory, as fast as it goes.

    python tools/soak_in_memory.py [--hours 8] [--case 8:32@500/10] [--start 1.7e9] [--json]

Samples are lost, sent twice and held up now and then. The stamp of every row is compared with
start + n / rate, computed anew in float64: bit for bit where a sample was sent, to rounding where
a row was made up. Memory (RSS, and Python's allocated blocks) must be flat
once all is warm, and the account of the counters closed. Leaves with 1 otherwise.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from dataclasses import asdict, dataclass, field, replace

import click
import numpy as np
import psutil

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bench.cases import Case, parse_case
from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import ServeSettings
from emag_rt.engine.upsampler import Upsampler
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import ManualClock
from emag_rt.synthetic.standin import eeg_like

# What may be left of an hour: a ring that grows to its size, not a leak.
RSS_SLACK_MB = 4.0
BLOCKS_SLACK = 3000
_POINT_S = 600.0


class FaultySource:
    """An endless source that makes each chunk when it is asked for it."""

    def __init__(
        self,
        format: StreamFormat,
        signal: Float32Array,
        chunk: int,
        start_s: float,
        clock: ManualClock,
    ) -> None:
        self.format, self.drained = format, True
        self._chunk, self._start_s, self._clock = chunk, start_s, clock
        self._signal = signal
        self.n = self.n_sent = self.n_lost = self._calls = 0
        self._again: tuple[Float32Array, FloatArray] | None = None
        self.recent: set[int] = set()

    def pull(self, timeout_s: float) -> tuple[Float32Array, FloatArray]:
        """The next chunk; some are sent twice, some come late, and samples are lost before some."""
        self._calls += 1
        if self._again is not None:
            (rows, stamps), self._again = self._again, None
            self.n_sent += len(stamps)
            return rows, stamps
        if self._calls % 703 == 0:
            lost = self._chunk * (1 + self._calls % 40)
            self.n += lost
            self.n_lost += lost
        numbers = np.arange(self.n, self.n + self._chunk)
        stamps = self._start_s + numbers / self.format.sfreq
        rows = self._signal[numbers % len(self._signal)]
        self.n += self._chunk
        self.n_sent += self._chunk
        self.recent = set(numbers.tolist())
        self._clock.advance_to(float(stamps[-1]) + (2.0 if self._calls % 1201 == 0 else 0.0))
        if self._calls % 401 == 0:
            self._again = rows.copy(), stamps.copy()
        return rows, stamps

    def current_format(self, timeout_s: float) -> StreamFormat:
        """Always the same."""
        return self.format

    def replaced_by(self) -> None:
        """By nothing."""

    def close(self) -> None:
        """Nothing to let go of."""


class CheckingSink:
    """A sink that keeps nothing but what is wrong."""

    def __init__(self, source: FaultySource, start_s: float) -> None:
        self._source, self._start_s, self._sfreq = source, start_s, source.format.sfreq
        self.n_rows = self.n_wrong = self.n_inexact = 0
        self._next = 0

    def push(self, samples: Float32Array, timestamps: FloatArray) -> None:
        """Compare stamps with what they must be."""
        numbers = np.arange(self._next, self._next + len(timestamps))
        expected = self._start_s + numbers / self._sfreq
        same = timestamps == expected
        if not same.all():
            off = np.abs(timestamps - expected)
            self.n_wrong += int((off > 1e-3 / self._sfreq + 2e-15 * self._start_s).sum())
            sent = self._source.recent
            self.n_inexact += sum(n in sent for n in numbers[~same].tolist())
        self._next += len(timestamps)
        self.n_rows += len(timestamps)

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class SoakReport:
    """What came of it; ``failures`` is empty when all is well."""

    hours: float
    n_sent: int
    n_rows: int
    n_lost: int
    counters: dict[str, int]
    rss_mb: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def soak(case: Case, hours: float, start_s: float, point_s: float = _POINT_S) -> SoakReport:
    """Run, and judge.

    Parameters
    ----------
    case : Case
        Channels, rate and chunk.
    hours : float
        Stream time.
    start_s : float
        Stamp of the first sample, in s; large ones are coarse in float64.
    point_s : float
        Stream time between two looks at memory, in s.

    Returns
    -------
    SoakReport
        Memory over time, the account, and what failed.
    """
    # Without the residual: hours go by faster, and the loop is the same.
    bundle = replace(case, residual=False).standin(5)
    labels = tuple(e.label for e in bundle.manifest.ld)
    clock = ManualClock(start_s)
    amp = StreamFormat("soak", "EEG", "soak", case.sfreq, labels, ("microvolts",) * len(labels))
    signal = eeg_like(bundle.covariance, case.sfreq)
    source = FaultySource(amp, signal, case.chunk, start_s, clock)
    sink = CheckingSink(source, start_s)
    server = Server(
        Upsampler(bundle), source, sink, clock, ServeSettings(), on_status=lambda _status: None
    )
    process, rss, blocks = psutil.Process(), [], []
    gc.collect()
    gc.disable()  # as in the daemon
    try:
        while (now := clock() - start_s) < 3600.0 * hours:
            until = now + point_s
            while clock() - start_s < until:
                server.turn(0.2)
            gc.collect()
            rss.append(round(process.memory_info().rss / 1e6, 2))
            blocks.append(sys.getallocatedblocks())
    finally:
        gc.enable()
    counters = server.status().counters
    report = SoakReport(
        (clock() - start_s) / 3600.0, source.n_sent, sink.n_rows, source.n_lost, asdict(counters)
    )
    report.rss_mb, report.blocks = rss, blocks
    report.failures = _failures(report, sink)
    return report


def _failures(report: SoakReport, sink: CheckingSink) -> list[str]:
    c = report.counters
    answered = c["samples_out"] + c["skipped"] + c["duplicates"] + c["out_of_order"]
    made_up = c["bridged"] + c["filled"]
    warm = len(report.rss_mb) // 4
    rss, blocks = report.rss_mb[warm:], report.blocks[warm:]
    rules = {
        f"{sink.n_wrong} rows with a wrong stamp": sink.n_wrong == 0,
        f"{sink.n_inexact} samples whose stamp changed": sink.n_inexact == 0,
        f"{report.n_sent} samples sent, {c['samples_in']} in": report.n_sent == c["samples_in"],
        f"{c['samples_in']} in, {answered} answered": c["samples_in"] == answered,
        f"{report.n_lost} lost, {made_up} made up": report.n_lost == made_up + c["unfilled"],
        f"{report.n_rows} rows for {c['samples_out']} out": (
            report.n_rows == c["samples_out"] + c["skipped"] + made_up
        ),
        f"RSS grew from {rss[0]} to {rss[-1]} MB": rss[-1] - rss[0] < RSS_SLACK_MB,
        f"blocks grew from {blocks[0]} to {blocks[-1]}": blocks[-1] - blocks[0] < BLOCKS_SLACK,
    }
    return [text for text, holds in rules.items() if not holds]


@click.command()
@click.option("--hours", default=8.0, show_default=True, help="Stream time.")
@click.option("--case", "case_text", default="8:32@500/10", show_default=True, help="Size.")
@click.option("--start", "start_s", default=1.7e9, show_default=True, help="First stamp, in s.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def main(hours: float, case_text: str, start_s: float, as_json: bool) -> None:
    """Run the server for hours of stream time in memory."""
    logging.disable(logging.WARNING)  # every gap would be told
    report = soak(parse_case(case_text), hours, start_s)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=1))
    else:
        c = report.counters
        click.echo(
            f"{report.hours:.2f} h, {report.n_sent} samples, {report.n_rows} rows; "
            f"RSS {report.rss_mb[0]} -> {report.rss_mb[-1]} MB, "
            f"blocks {report.blocks[0]} -> {report.blocks[-1]}"
        )
        click.echo(", ".join(f"{key} {value}" for key, value in c.items() if value))
        for failure in report.failures:
            click.echo(f"FAILED: {failure}")
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
