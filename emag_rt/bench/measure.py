"""One measurement: amplifier → daemon or relay → consumer, each a process of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.bench.accounting import (
    Losses,
    account,
    growth,
    percentiles,
    sample_numbers,
    send_times,
)
from emag_rt.bench.case_files import CaseFiles
from emag_rt.bench.consumer import GRACE_S
from emag_rt.bench.processes import Child, all_of

Kind = Literal["relay", "daemon"]
START_S = 60.0
_LAST_LOOK_S = 0.2


@dataclass(frozen=True)
class LatencySettings:
    """How latencies are measured.

    Attributes
    ----------
    rounds : int
        Times that relay and daemon are measured, in turns.
    seconds : float
        Signal recorded in each measurement.
    warm_up_s : float
        Seconds of it left out of latencies and CPU time; losses count from its first sample.
    engine : str
        The daemon's.
    stages : bool
        Whether a further round is traced, for where the time goes.
    serve_options : tuple of str
        Further options for ``emag-rt serve``.
    """

    rounds: int = 5
    seconds: float = 10.0
    warm_up_s: float = 1.0
    engine: str = "auto"
    stages: bool = True
    serve_options: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Measurement:
    """What came out of one measurement.

    Attributes
    ----------
    kind : {"relay", "daemon"}
        What was between amplifier and consumer.
    stamps, receipts : ndarray, shape (n_received,)
        In order of receipt, in s on the LSL clock, warm-up included.
    empty : ndarray of bool, shape (n_received,)
        Rows of NaN.
    n_due : int
        Samples due from the first on.
    ready_s, first_s : float
        From the start of the process to its word that it is ready, and to the consumer's first
        sample; the consumer needs about a second to connect to the new stream.
    cpu_percent, consumer_cpu_percent, amplifier_cpu_percent : float
        Of one core, after the warm-up.
    rss_mb, rss_growth_mb : float
        Resident memory at the end, and how much it grew after the warm-up.
    trace : dict of ndarray
        Times of each chunk, empty unless traced.
    """

    kind: Kind
    stamps: FloatArray
    receipts: FloatArray
    empty: BoolArray
    n_due: int
    ready_s: float
    first_s: float
    cpu_percent: float
    consumer_cpu_percent: float
    amplifier_cpu_percent: float
    rss_mb: float
    rss_growth_mb: float
    trace: dict[str, FloatArray]

    def losses(self, sfreq: float) -> Losses:
        """What was lost, from the first sample received on."""
        if not len(self.stamps):
            return Losses(self.n_due, 0, self.n_due)
        start = float(self.stamps[0])
        return account(self.stamps, start, sfreq, self.n_due, empty=self.empty)

    def after(self, warm_up_s: float) -> tuple[FloatArray, FloatArray]:
        """Stamps and receipts without the warm-up."""
        kept = self.stamps >= self.stamps[:1].sum() + warm_up_s
        return self.stamps[kept], self.receipts[kept]


def amplifier(
    files: CaseFiles, session: str, source_id: str, seconds: float, log: Path | None
) -> Child:
    """Start an amplifier; say ``wait_for("playing", ...)`` before going on."""
    arguments = ["-m", "emag_rt.bench.amplifier", "--session-id", session]
    arguments += ["--signal", str(files.signal), "--source-id", source_id]
    arguments += ["--chunk", str(files.case.chunk), "--seconds", f"{seconds:g}"]
    return Child("the amplifier", *arguments, *(["--log", str(log)] if log else []))


def daemon(
    files: CaseFiles,
    session: str,
    source_id: str,
    name: str,
    engine: str = "auto",
    options: Sequence[str] = (),
) -> Child:
    """Start a daemon as a user would."""
    arguments = ["-m", "emag_rt", "serve", str(files.bundle), "--source-id", source_id]
    arguments += ["--name", name, "--quiet", "--engine", engine, "--timeout", "20"]
    arguments += ["--scope", "machine", "--session-id", session, *options]
    return Child("the daemon", *arguments)


def receiver(session: str, name: str, seconds: float, *options: str) -> Child:
    """Start a consumer of ``seconds`` of signal; ``options`` as for its module."""
    arguments = ["-m", "emag_rt.bench.consumer", "--session-id", session, "--name", name]
    return Child("the consumer", *arguments, "--seconds", f"{seconds:g}", *options)


def measure(
    kind: Kind,
    files: CaseFiles,
    session: str,
    source_id: str,
    played: Child,
    settings: LatencySettings,
    folder: Path,
    traced: bool = False,
) -> Measurement:
    """Measure once while the amplifier plays.

    The consumer starts first and looks for the stream, so that the start-up of what is measured
    shares the machine with nothing new. Between the warm-up and the end this process sleeps.

    Parameters
    ----------
    kind : {"relay", "daemon"}
        What to put between.
    files : CaseFiles
        Bundle and signal.
    session, source_id : str
        LSL session, and the amplifier's id.
    played : Child
        The amplifier.
    settings : LatencySettings
        How long.
    folder : Path
        For the files of the children.
    traced : bool
        Whether times of chunks are kept, which costs a little.

    Returns
    -------
    Measurement
        With everything from the first sample on.

    Raises
    ------
    StreamError
        If a child fails.
    """
    name = f"{kind}-{time.monotonic_ns()}"
    out, trace = folder / f"{name}.npz", folder / f"{name}-trace.npz"
    consumer = receiver(session, name, settings.seconds, "--out", str(out))
    with all_of(consumer):
        consumer.wait_for("looking", START_S)
        if kind == "relay":
            arguments = ["-m", "emag_rt.bench.relay", "--session-id", session, "--name", name]
            arguments += ["--source-id", source_id]
            arguments += ["--channels", str(files.case.n_hd)]
            if traced:
                length = settings.seconds + GRACE_S + 10.0
                arguments += ["--trace", str(trace), "--seconds", f"{length:g}"]
            middle = Child("the relay", *arguments)
        else:
            options = [*settings.serve_options, *(["--trace", str(trace)] if traced else [])]
            middle = daemon(files, session, source_id, name, settings.engine, options)
        with all_of(middle):
            ready, _ = middle.wait_for("ready", START_S)
            first, _ = consumer.wait_for("first", START_S)
            everyone = (middle, consumer, played)
            time.sleep(settings.warm_up_s)
            begun, before = time.monotonic(), [child.cpu_s() for child in everyone]
            rss_before = middle.rss_mb()
            end = first + settings.seconds - _LAST_LOOK_S
            time.sleep(max(0.05, end - time.monotonic()))
            took = time.monotonic() - begun
            cpu = [100 * (c.cpu_s() - b) / took for c, b in zip(everyone, before, strict=True)]
            rss = middle.rss_mb()
            consumer.wait_for("done", settings.seconds + GRACE_S + START_S)
    times = load_arrays(out)
    return Measurement(
        kind=kind,
        stamps=times["stamps"],
        receipts=times["receipts"],
        empty=times["empty"] > 0,
        n_due=int(settings.seconds * files.case.sfreq),
        ready_s=ready - middle.started,
        first_s=first - middle.started,
        cpu_percent=cpu[0],
        consumer_cpu_percent=cpu[1],
        amplifier_cpu_percent=cpu[2],
        rss_mb=rss,
        rss_growth_mb=rss - rss_before,
        trace=load_arrays(trace) if trace.is_file() else {},
    )


def summary(
    measurement: Measurement, log: dict[str, Any], sfreq: float, warm_up_s: float
) -> dict[str, Any]:
    """Figures of one measurement, for JSON.

    Parameters
    ----------
    measurement : Measurement
        What was measured.
    log : dict
        Of the amplifier.
    sfreq : float
        Rate in Hz.
    warm_up_s : float
        Left out of the latencies.

    Returns
    -------
    dict
        ``latency_ms`` (receipt minus stamp), ``since_send_ms`` (receipt minus departure of the
        chunk), ``growth_ms_per_s`` (clear of 0 where the rate cannot be kept up), losses, CPU,
        memory, start-up.
    """
    stamps, receipts = measurement.after(warm_up_s)
    numbers = sample_numbers(stamps, float(log["start"]), sfreq)
    departed = send_times(numbers, np.asarray(log["sent"]), int(log["chunk"]))
    return {
        "latency_ms": percentiles((receipts - stamps) * 1e3),
        "since_send_ms": percentiles((receipts - departed) * 1e3),
        "growth_ms_per_s": growth((receipts - stamps) * 1e3, receipts),
        "losses": measurement.losses(sfreq).as_dict(),
        "cpu_percent": round(measurement.cpu_percent, 2),
        "consumer_cpu_percent": round(measurement.consumer_cpu_percent, 2),
        "amplifier_cpu_percent": round(measurement.amplifier_cpu_percent, 2),
        "rss_mb": round(measurement.rss_mb, 1),
        "rss_growth_mb": round(measurement.rss_growth_mb, 2),
        "ready_s": round(measurement.ready_s, 3),
        "first_s": round(measurement.first_s, 3),
    }


def load_arrays(path: Path) -> dict[str, FloatArray]:
    """What a child wrote."""
    with np.load(path, allow_pickle=False) as content:
        return {key: np.asarray(content[key], dtype=np.float64) for key in content.files}
