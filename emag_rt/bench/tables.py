"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from emag_rt.bench.accounting import QUANTILES, STAGES
from emag_rt.bench.rendering import RenderFigure

_NAMES = {"p99_9": "p99.9"}


def ms(value: float | None) -> str:
    """Milliseconds, or a dash."""
    return "-" if value is None else f"{value:.3f}" if value < 100 else f"{value:.0f}"


def number(value: float | None, form: str = ".1f") -> str:
    """Write a number, or a dash."""
    return "-" if value is None else format(value, form)


def received(losses: dict[str, int]) -> str:
    """Samples received of sent; what is wrong in red."""
    found = [f"{count} {key}" for key, count in losses.items() if key not in ("sent", "received")]
    text = f"{losses['received']} of {losses['sent']}"
    bad = [word for word in found if not word.startswith("0 ")]
    return f"[red]{text}, {', '.join(bad)}[/red]" if bad else text


def new_table(title: str, *columns: str) -> Table:
    """Make an empty table: numbers to the right of the first column."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    return table


def show_latency(reports: Sequence[dict[str, Any]], console: Console) -> None:
    """Latencies, ratios, stages, cost and aims of each case."""
    for report in reports:
        names = [_NAMES.get(key, key) for key in QUANTILES]
        table = new_table(f"{report['title']}: receipt minus stamp, ms", "", *names)
        for kind in ("relay", "daemon"):
            latency = report[kind]["latency_ms"]
            table.add_row(kind, *(ms(latency[key]) for key in QUANTILES))
        ratio = report["ratio_latency_ms"]
        for which, name in (("median", "ratio"), ("min", "least round"), ("max", "most")):
            table.add_row(name, *(number(ratio[key][which], ".2f") for key in QUANTILES))
        ratio = report["ratio_since_send_ms"]
        table.add_row("since departure", *(number(ratio[k]["median"], ".2f") for k in QUANTILES))
        late = report["amplifier_late_ms"]
        table.add_row("amplifier late", *(ms(late[key]) for key in QUANTILES))
        console.print(table)
        if any(report["stages_ms"].values()):
            _show_stages(report, console)
        _show_cost(report, console)


def _show_stages(report: dict[str, Any], console: Console) -> None:
    table = new_table("where the time goes, ms (a traced round)", "", "p50", "p95", "p99", "max")
    for kind, stages in report["stages_ms"].items():
        for name in ("transport_in", "queue", *STAGES[1:]):
            found = stages.get(name, {})
            if found.get("p50") is not None:
                values = (ms(found[key]) for key in ("p50", "p95", "p99", "max"))
                table.add_row(f"{kind}: {name.replace('_', ' ')}", *values)
    console.print(table)


def _show_cost(report: dict[str, Any], console: Console) -> None:
    table = new_table("cost", "", "CPU %", "RSS MB", "ready s", "first sample s", "samples")
    for kind in ("relay", "daemon"):
        one = report[kind]
        table.add_row(
            kind,
            number(one["cpu_percent"]),
            f"{one['rss_mb']:.0f} ({one['rss_growth_mb']:+.2f})",
            f"{one['ready_s']['median']:.2f} (max {one['ready_s']['max']:.2f})",
            f"{one['first_s']['median']:.2f} (max {one['first_s']['max']:.2f})",
            received(one["losses"]),
        )
    console.print(table)
    growth = report["daemon"]["growth_ms_per_s"]
    if growth > 1.0:
        console.print(f"the daemon's latency grows by {growth:.1f} ms a second: it falls behind")
    table = new_table("aims", "", "aim", "measured", "")
    for name, aim in report["targets"].items():
        said = "[green]pass[/green]" if aim["met"] else "[red]fail[/red]"
        table.add_row(name.replace("_", " "), aim["wanted"], number(aim["measured"], ".3g"), said)
    console.print(table)


def show_render(figures: Sequence[RenderFigure], console: Console) -> None:
    """Engines by montage and grid, a table a case."""
    for case in dict.fromkeys(one.case for one in figures):
        table = new_table(
            f"{case}: µs, one thread",
            *("Gaussians", "engine", "hop p50", "hop p99", "front end too", "window"),
            *("x real time", "start s"),
        )
        for one in (one for one in figures if one.case == case):
            first = (f"{one.n_gaussians:,}", one.engine)
            if one.reason:
                table.add_row(*first, "does not run")
                continue
            times = (one.hop_p50_us, one.hop_p99_us, one.path_hop_p50_us, one.window_us)
            table.add_row(
                *first, *(_us(v) for v in (*times, one.offline_x)), number(one.start_s, ".3f")
            )
        console.print(table)
    reasons = {one.engine: one.reason for one in figures if one.reason}
    for engine, reason in reasons.items():
        console.print(f"{engine}: {reason}", highlight=False, markup=False)


def _us(value: float | None) -> str:
    return number(value, ".1f" if value is None or value < 1000 else ",.0f")


def show_direct(found: dict[str, Any], console: Console) -> None:
    """Folded against direct."""
    title = (
        f"{found['n_gaussians']:,} Gaussians, {found['n_hd']} electrodes, a window of "
        f"{found['window']}: as written {found['direct_s']:.2f} s, folded once in "
        f"{found['fold_s']:.2f} s"
    )
    table = new_table(title, "engine", "window ms", "times faster", "relative difference")
    for engine, one in found["engines"].items():
        if "reason" in one:
            table.add_row(engine, "does not run", "", "")
        else:
            difference = f"{one['relative_difference']:.1e}"
            table.add_row(engine, f"{one['window_ms']:.3f}", f"{one['ratio']:,.0f}", difference)
    console.print(table)


def show_soak(report: dict[str, Any], console: Console) -> None:
    """Trends of a long run."""
    table = new_table(f"{report['title']}: change an hour", "", "mean", "slope", "standard error")
    for name, one in report["trends"].items():
        values = (one["mean"], one["slope"], one["error"])
        table.add_row(name.replace("_", " "), *(number(v, ".4f") for v in values))
    console.print(table)
    console.print(f"{len(report['points'])} intervals, samples {received(report['losses'])}")


def show_bound(reports: Sequence[dict[str, Any]], console: Console) -> None:
    """Daemons that were stopped and starved."""
    columns = ("usual ms", "during p99 ms", "over budget", "back after s", "NaN rows", "uncounted")
    table = new_table("the bound on latency", "fault", "budget s", *columns)
    for one in reports:
        table.add_row(
            one["fault"],
            f"{one['budget_s']:g}",
            ms(one["usual_ms"]),
            ms(one["during_ms"]["p99"]),
            str(one["n_over"]),
            f"{one['back_s']:.3f}",
            str(one["n_empty"]),
            str(one["uncounted"]),
        )
    console.print(table)
