"""Many daemons on one machine, a subject each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emag_rt.bench.accounting import Losses, account, percentiles
from emag_rt.bench.case_files import CaseFiles
from emag_rt.bench.cases import Case
from emag_rt.bench.consumer import GRACE_S
from emag_rt.bench.measure import START_S, amplifier, daemon, load_arrays, receiver
from emag_rt.bench.processes import new_session

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ScaleSettings:
    """How many daemons, and for how long.

    Attributes
    ----------
    n_daemons : int
        Each with an amplifier and a consumer of its own.
    seconds, warm_up_s : float
        Signal recorded, and what of it is left out of latencies and CPU time.
    engine : str
        The daemons'.
    """

    n_daemons: int = 8
    seconds: float = 30.0
    warm_up_s: float = 2.0
    engine: str = "auto"


def run_scale(
    files: CaseFiles, settings: ScaleSettings, folder: Path, tell: Tell = lambda _line: None
) -> dict[str, Any]:
    """Run daemons side by side.

    Parameters
    ----------
    files : CaseFiles
        Bundle and signal, the same for all.
    settings : ScaleSettings
        How many, how long.
    folder : Path
        For the files of the children.
    tell : callable
        Called with what goes on.

    Returns
    -------
    dict
        ``daemons`` (latency, CPU, memory, losses of each) and ``together``.
    """
    case, session = files.case, new_session()
    count = settings.n_daemons
    play_s = settings.seconds + 3 * START_S
    outs = [folder / f"{session}-{i}.npz" for i in range(count)]
    with contextlib.ExitStack() as stack:
        ids = [f"bench-amplifier-{i}" for i in range(count)]
        tell(f"{count} amplifiers, {case.title}")
        for source_id in ids:
            played = amplifier(files, session, source_id, play_s, None)
            stack.callback(played.end)
            played.wait_for("playing", START_S)
        daemons = []
        for i, source_id in enumerate(ids):
            tell(f"daemon {i + 1} of {count}")
            child = daemon(files, session, source_id, f"bench-hd-{i}", settings.engine)
            stack.callback(child.end)
            child.wait_for("ready", START_S)
            daemons.append(child)
        tell(f"recording {settings.seconds:g} s")
        consumers = [
            receiver(session, f"bench-hd-{i}", settings.seconds, "--out", str(out))
            for i, out in enumerate(outs)
        ]
        for consumer in consumers:
            stack.callback(consumer.end)
        firsts = [consumer.wait_for("first", START_S)[0] for consumer in consumers]
        time.sleep(settings.warm_up_s)
        begun, before = time.monotonic(), [child.cpu_s() for child in daemons]
        time.sleep(max(0.05, min(firsts) + settings.seconds - 0.2 - begun))
        took = time.monotonic() - begun
        cpu = [100 * (c.cpu_s() - b) / took for c, b in zip(daemons, before, strict=True)]
        rss = [child.rss_mb() for child in daemons]
        for consumer in consumers:
            consumer.wait_for("done", settings.seconds + GRACE_S + START_S)
    each = [
        _one(out, case, settings, cpu[i], rss[i], firsts[i] - daemons[i].started)
        for i, out in enumerate(outs)
    ]
    losses = sum((Losses(**one["losses"]) for one in each), Losses())
    together = {
        "worst_p50_ms": max(one["latency_ms"]["p50"] or 0.0 for one in each),
        "worst_p99_ms": max(one["latency_ms"]["p99"] or 0.0 for one in each),
        "cpu_percent": round(sum(cpu), 1),
        "rss_mb": round(sum(rss), 1),
        "losses": losses.as_dict(),
    }
    return {"case": str(case), "title": case.title, "daemons": each, "together": together}


def _one(
    out: Path, case: Case, settings: ScaleSettings, cpu: float, rss: float, first_s: float
) -> dict[str, Any]:
    times = load_arrays(out)
    stamps, receipts, empty = (times[key] for key in ("stamps", "receipts", "empty"))
    n_due = int(settings.seconds * case.sfreq)
    losses = Losses(n_due, 0, n_due)
    if len(stamps):
        losses = account(stamps, float(stamps[0]), case.sfreq, n_due, empty=empty > 0)
    kept = stamps >= stamps[:1].sum() + settings.warm_up_s
    return {
        "latency_ms": percentiles((receipts - stamps)[kept] * 1e3),
        "losses": losses.as_dict(),
        "cpu_percent": round(cpu, 2),
        "rss_mb": round(rss, 1),
        "first_s": round(first_s, 3),
    }
