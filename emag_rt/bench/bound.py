"""The bound on latency: a daemon that was stopped, or starved, is back under its budget soon."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.bench.accounting import Losses, account, percentiles
from emag_rt.bench.case_files import CaseFiles
from emag_rt.bench.measure import START_S, amplifier, daemon, load_arrays, receiver
from emag_rt.bench.processes import Child, all_of, new_session
from emag_rt.streams.lsl import local_clock

Tell = Callable[[str], None]
FAULTS = ("stopped", "starved")
_SPARE_S = 10.0
_COUNTED = ("samples_in", "samples_out", "skipped", "gaps", "duplicates")


@dataclass(frozen=True)
class BoundSettings:
    """What is done to the daemon, and what it must keep.

    Attributes
    ----------
    budget_s : float
        Latency budget, over what the stream usually has.
    policy : str
        What to do with samples beyond it.
    stop_s, starve_s : float
        Length of SIGSTOP; how long hogs, one a core and one more, take the processors.
    before_s, after_s : float
        Signal recorded around the fault.
    engine : str
        The daemon's.
    """

    budget_s: float = 0.2
    policy: str = "skip_to_newest"
    stop_s: float = 3.0
    starve_s: float = 5.0
    before_s: float = 3.0
    after_s: float = 5.0
    engine: str = "auto"


def run_bound(
    files: CaseFiles, settings: BoundSettings, folder: Path, tell: Tell = lambda _line: None
) -> list[dict[str, Any]]:
    """Stop a daemon, starve another, and see how soon they are back.

    Parameters
    ----------
    files : CaseFiles
        Bundle and signal.
    settings : BoundSettings
        Faults and budget.
    folder : Path
        For the files of the children.
    tell : callable
        Called with what goes on.

    Returns
    -------
    list of dict
        One a fault of :data:`FAULTS`, see :func:`judge`; with ``counters`` of the daemon, and
        ``uncounted``, input samples that are neither in its output nor in a counter.
    """
    return [_one(fault, files, settings, folder, tell) for fault in FAULTS]


def _one(
    fault: str, files: CaseFiles, settings: BoundSettings, folder: Path, tell: Tell
) -> dict[str, Any]:
    session, name = new_session(), f"bench-{fault}"
    out, status = folder / f"{session}.npz", folder / f"{session}.jsonl"
    length = settings.stop_s if fault == "stopped" else settings.starve_s
    seconds = settings.before_s + length + settings.after_s
    tell(f"{files.case.title}: {fault} for {length:g} s")
    played = amplifier(files, session, "bench-amplifier", seconds + START_S, None)
    with all_of(played):
        played.wait_for("playing", START_S)
        options = ["--latency-budget", f"{settings.budget_s:g}", "--status-json", str(status)]
        options += ["--late-policy", settings.policy]
        served = daemon(files, session, "bench-amplifier", name, settings.engine, options)
        with all_of(served):
            served.wait_for("ready", START_S)
            consumer = receiver(session, name, seconds, "--out", str(out))
            with all_of(consumer):
                consumer.wait_for("first", START_S)
                time.sleep(settings.before_s)
                begun = local_clock()
                with _stopped(served) if fault == "stopped" else _starved():
                    time.sleep(length)
                ended = local_clock()
                consumer.wait_for("done", seconds + _SPARE_S + START_S)
    times = load_arrays(out)
    stamps, receipts, empty = (times[key] for key in ("stamps", "receipts", "empty"))
    counters = json.loads(status.read_text().splitlines()[-1])
    return {
        "fault": fault,
        "budget_s": settings.budget_s,
        "policy": settings.policy,
        **judge(stamps, receipts, empty > 0, begun, ended, settings.budget_s, files.case.sfreq),
        "counters": {key: counters[key] for key in _COUNTED},
        "uncounted": counters["samples_in"]
        - sum(counters[key] for key in ("samples_out", "skipped", "duplicates")),
    }


def judge(
    stamps: FloatArray,
    receipts: FloatArray,
    empty: BoolArray,
    begun: float,
    ended: float,
    budget_s: float,
    sfreq: float,
) -> dict[str, Any]:
    """What a fault did to latency.

    Parameters
    ----------
    stamps, receipts : ndarray, shape (n_received,)
        In order of receipt, in s on the LSL clock.
    empty : ndarray of bool, shape (n_received,)
        Rows of NaN: too late to render.
    begun, ended : float
        When the fault began and ended, on the same clock.
    budget_s : float
        Over the median latency before the fault.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    dict
        ``usual_ms``, latencies ``during_ms`` and ``after_ms`` (rendered rows received then),
        ``back_s`` (from the end of the fault until no rendered row is over the budget any more;
        0 when none was), ``n_over``, ``n_empty`` and ``losses``.
    """
    latency = receipts - stamps
    usual = float(np.median(latency[receipts < begun]))
    over = (latency > usual + budget_s) & (receipts >= begun) & ~empty
    last = receipts[over].max(initial=ended)
    during = (receipts >= begun) & (receipts < ended) & ~empty
    after = (receipts >= ended) & ~empty
    losses: Losses = account(stamps, float(stamps[0]), sfreq, empty=empty)
    return {
        "usual_ms": round(1e3 * usual, 4),
        "during_ms": percentiles(1e3 * latency[during]),
        "after_ms": percentiles(1e3 * latency[after]),
        "back_s": round(float(last) - ended, 4),
        "n_over": int(over.sum()),
        "n_empty": int(empty.sum()),
        "losses": losses.as_dict(),
    }


@contextlib.contextmanager
def _stopped(child: Child) -> Iterator[None]:
    child.process.suspend()
    try:
        yield
    finally:
        child.process.resume()


@contextlib.contextmanager
def _starved() -> Iterator[None]:
    """Every core busy, and one process more than there are cores."""
    hogs = [Child("a hog", "-c", "while True: pass") for _ in range((os.cpu_count() or 1) + 1)]
    with all_of(*hogs):
        yield
