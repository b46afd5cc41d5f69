"""Latency of the daemon beside the floor: paired, interleaved, several rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.bench.accounting import Losses, percentiles, ratios, stage_times
from emag_rt.bench.case_files import CaseFileMaker, CaseFiles
from emag_rt.bench.cases import Case
from emag_rt.bench.measure import (
    START_S,
    Kind,
    LatencySettings,
    Measurement,
    amplifier,
    load_arrays,
    measure,
    summary,
)
from emag_rt.bench.processes import all_of, new_session

Tell = Callable[[str], None]
_KINDS: tuple[Kind, Kind] = ("relay", "daemon")
_TARGET_P50, _TARGET_P99, _TARGET_RATE_HZ = 1.25, 1.5, 1000.0
_TRACED_S = 30.0
_SMALL = (16, 64, 250.0)
_LOSSES = ("missing", "duplicated", "reordered", "empty")


def run_latency(
    cases: Sequence[Case],
    settings: LatencySettings,
    maker: CaseFileMaker,
    folder: Path,
    tell: Tell = lambda _line: None,
) -> tuple[list[dict[str, Any]], list[dict[str, FloatArray]]]:
    """Measure cases one after another.

    Parameters
    ----------
    cases : sequence of Case
        What to measure.
    settings : LatencySettings
        How.
    maker : CaseFileMaker
        Makes bundles and signals.
    folder : Path
        For files of the children.
    tell : callable
        Called with what goes on.

    Returns
    -------
    reports : list of dict
        For JSON and tables, one a case.
    latencies_ms : list of dict
        ``relay`` and ``daemon``: receipt minus stamp of every sample of all rounds.
    """
    done = [measure_case(maker.make(case), settings, folder, tell) for case in cases]
    return [report for report, _ in done], [values for _, values in done]


def measure_case(
    files: CaseFiles, settings: LatencySettings, folder: Path, tell: Tell
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Measure one case.

    One amplifier plays through all rounds, so both see the same signal and the same timer. In
    each round relay and daemon are started, measured and ended, one at a time (the other would
    load the machine), in turns as to who comes first. A further round, of half a minute at most,
    is traced, so that the measured ones carry no tracing.

    Returns
    -------
    report, latencies_ms
        As for :func:`run_latency`.
    """
    case = files.case
    session, source_id = new_session(), "bench-amplifier"
    log_path = folder / f"{session}-log.npz"
    n_rounds = settings.rounds + settings.stages
    play_s = 60.0 + n_rounds * 2 * (settings.seconds + 30.0)
    short = replace(settings, seconds=min(settings.seconds, _TRACED_S))
    found: dict[Kind, list[Measurement]] = {"relay": [], "daemon": []}
    traced: dict[Kind, Measurement] = {}
    played = amplifier(files, session, source_id, play_s, log_path)
    with all_of(played):
        played.wait_for("playing", START_S)
        for number in range(n_rounds):
            tracing = number == settings.rounds
            for kind in _KINDS if number % 2 == 0 else _KINDS[::-1]:
                tell(f"{case.title}: round {number + 1} of {n_rounds}, {kind}")
                how = short if tracing else settings
                one = measure(kind, files, session, source_id, played, how, folder, tracing)
                if tracing:
                    traced[kind] = one
                else:
                    found[kind].append(one)
    log = load_arrays(log_path)
    return _report(files, settings, log, found, traced), {
        kind: _pooled(found[kind], settings.warm_up_s) for kind in _KINDS
    }


def _pooled(measurements: Sequence[Measurement], warm_up_s: float) -> FloatArray:
    pairs = [one.after(warm_up_s) for one in measurements]
    empty = np.empty(0)
    return np.concatenate([empty, *((receipts - stamps) * 1e3 for stamps, receipts in pairs)])


def _report(
    files: CaseFiles,
    settings: LatencySettings,
    log: dict[str, Any],
    found: dict[Kind, list[Measurement]],
    traced: dict[Kind, Measurement],
) -> dict[str, Any]:
    case = files.case
    each = {
        kind: [summary(one, log, case.sfreq, settings.warm_up_s) for one in found[kind]]
        for kind in _KINDS
    }
    report: dict[str, Any] = {
        "case": str(case),
        "title": case.title,
        "look_ahead_s": case.look_ahead / case.sfreq,
        "residual": case.residual,
        "bundle_mb": round(files.size_mb, 1),
        "amplifier_late_ms": percentiles(_amplifier_late_ms(log)),
        "rounds": [
            {kind: each[kind][number] for kind in _KINDS} for number in range(settings.rounds)
        ],
    }
    for kind in _KINDS:
        report[kind] = _together(found[kind], each[kind], settings.warm_up_s, case.sfreq)
    for what in ("latency_ms", "since_send_ms"):
        ours = [one[what] for one in each["daemon"]]
        report[f"ratio_{what}"] = ratios(ours, [one[what] for one in each["relay"]])
    report["stages_ms"] = {
        kind: _stages(one, log, case, settings.warm_up_s) for kind, one in traced.items()
    }
    report["targets"] = targets(report, case)
    return report


def _amplifier_late_ms(log: dict[str, Any]) -> FloatArray:
    """How late chunks left, against the due time of their last sample."""
    chunk, sfreq = int(log["chunk"]), float(log["sfreq"])
    due = float(log["start"]) + ((np.arange(len(log["sent"])) + 1) * chunk - 1) / sfreq
    return np.asarray((log["sent"] - due) * 1e3)


def _together(
    measurements: Sequence[Measurement],
    each: Sequence[dict[str, Any]],
    warm_up_s: float,
    sfreq: float,
) -> dict[str, Any]:
    """All rounds of one kind: latencies pooled over samples, the rest as medians or worst."""
    losses = sum((one.losses(sfreq) for one in measurements), Losses())

    def median(key: str) -> float:
        return round(float(np.median([one[key] for one in each])), 3)

    return {
        "latency_ms": percentiles(_pooled(measurements, warm_up_s)),
        "losses": losses.as_dict(),
        "growth_ms_per_s": median("growth_ms_per_s"),
        "cpu_percent": median("cpu_percent"),
        "rss_mb": max(one["rss_mb"] for one in each),
        "rss_growth_mb": median("rss_growth_mb"),
        "ready_s": {"median": median("ready_s"), "max": max(one["ready_s"] for one in each)},
        "first_s": {"median": median("first_s"), "max": max(one["first_s"] for one in each)},
    }


def _stages(
    one: Measurement, log: dict[str, Any], case: Case, warm_up_s: float
) -> dict[str, dict[str, float | None]]:
    if not one.trace:
        return {}
    look_ahead = case.look_ahead if one.kind == "daemon" else 0
    stamps, receipts = one.after(warm_up_s)
    times = stage_times(one.trace, log, stamps, receipts, look_ahead)
    return {key: percentiles(values * 1e3) for key, values in times.items()}


def targets(report: dict[str, Any], case: Case) -> dict[str, Any]:
    """What the project aims at, beside what was measured; nobody fails by it.

    Parameters
    ----------
    report : dict
        Figures of the case.
    case : Case
        What was measured.

    Returns
    -------
    dict
        For each aim that applies ``wanted``, ``measured`` and ``met``.
    """
    daemon, ratio = report["daemon"], report["ratio_latency_ms"]
    aims: dict[str, tuple[float, float | None]] = {
        "lost_or_reordered": (
            0.0,
            float(sum(daemon["losses"][k] for k in _LOSSES)),
        )
    }
    if case.chunk == 1 and case.sfreq <= _TARGET_RATE_HZ:
        aims["p50_ratio"] = (_TARGET_P50, ratio["p50"]["median"])
        aims["p99_ratio"] = (_TARGET_P99, ratio["p99"]["median"])
    if (case.n_ld, case.n_hd, case.sfreq) == _SMALL:
        aims["cpu_percent"] = (15.0, daemon["cpu_percent"])
        aims["rss_mb"] = (250.0, daemon["rss_mb"])
        aims["ready_s"] = (2.0, daemon["ready_s"]["max"])
    return {
        name: {
            "wanted": f"<= {wanted:g}",
            "measured": measured,
            "met": measured is not None and measured <= wanted,
        }
        for name, (wanted, measured) in aims.items()
    }
