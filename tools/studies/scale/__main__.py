"""Many daemons on one machine, or what a sample costs as a case grows.

    python -m tools.studies.scale --daemons 8 --seconds 60 --json scale.json
    python -m tools.studies.scale --law --json law.json

Eight subjects are served at once, each with an amplifier and a receiver of its own: three
processes each. With --law one property (channels, rate, look-ahead, networks) grows at a time, in
one process without LSL. Exit 1 when samples were lost; other codes are those of emag-rt.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import click
from rich.console import Console

from emag_rt.bench.accounting import Losses
from emag_rt.bench.tables import ms, new_table, number, received
from emag_rt.cli.bench_common import (
    SECONDS,
    Subject,
    about_here,
    check_bench_outputs,
    console,
    fail_if,
    json_output,
    subject,
    tell,
    write_json,
)
from emag_rt.cli.options import FiniteFloat, Whole, one_blas_thread
from emag_rt.errors import EmagError
from tools.studies.scale.daemons import ScaleSettings, run_scale
from tools.studies.scale.law import AXES, BASE, LawPoint, fit_law, run_law


def show_scale(report: dict[str, Any], console: Console) -> None:
    """Daemons side by side."""
    columns = ("p50 ms", "p99 ms", "CPU %", "MB", "samples")
    table = new_table(f"{report['title']}, at once", "", *columns)
    for i, one in enumerate(report["daemons"]):
        latency = one["latency_ms"]
        values = (ms(latency["p50"]), ms(latency["p99"]), number(one["cpu_percent"]))
        table.add_row(f"daemon {i}", *values, f"{one['rss_mb']:.0f}", received(one["losses"]))
    total = report["together"]
    values = (ms(total["worst_p50_ms"]), ms(total["worst_p99_ms"]), f"{total['cpu_percent']:.1f}")
    losses = Losses(**total["losses"])
    table.add_row("worst, sum", *values, f"{total['rss_mb']:.0f}", received(losses.as_dict()))
    console.print(table)


def show_law(
    points: Sequence[LawPoint], law: dict[str, dict[str, float]], console: Console
) -> None:
    """Cost of a sample as one property grows at a time."""
    table = new_table(
        "front end and rendering of one sample, one process, one thread",
        *(
            "grows",
            "to",
            "engine",
            "lags x taps",
            "context",
            "hop µs",
            "front end µs",
            "% of a core",
        ),
    )
    for one in points:
        table.add_row(
            *(
                one.axis,
                f"{one.value:g}",
                one.engine,
                f"{one.n_lags} x {one.n_taps}",
                str(one.n_context),
            ),
            *(f"{one.hop_us:.1f}", f"{one.front_end_us:.1f}", f"{one.core_percent:.2f}"),
        )
    console.print(table)
    for axis, line in law.items():
        console.print(
            f"{axis}: {line['start_us']:.1f} µs + {line['slope_us']:.4g} µs x {axis}, "
            f"off by up to {100 * line['misfit']:.0f} %",
            highlight=False,
        )


@click.command(help=__doc__)
@subject
@click.option(
    "--daemons",
    type=Whole(1, 64),
    metavar="N",
    default=8,
    show_default=True,
    help="Subjects served at once.",
)
@click.option(
    "--seconds",
    type=SECONDS,
    metavar="S",
    default=30.0,
    show_default=True,
    help="Seconds of signal.",
)
@click.option("--law", is_flag=True, help="Cost of a sample as one property grows at a time.")
@click.option(
    "--budget",
    type=FiniteFloat(0.001, 3600),
    metavar="S",
    default=0.5,
    show_default=True,
    help="Seconds for each measurement of --law.",
)
@json_output
def main(
    who: Subject,
    daemons: int,
    seconds: float,
    law: bool,
    budget: float,
    json_path: str | None,
) -> None:
    """Serve several subjects at once, or (--law) tell what a sample costs."""
    one_blas_thread()
    try:
        check_bench_outputs(json_path, None, who.bundle)
        if law:
            _law(who, budget, json_path)
        else:
            _daemons(who, daemons, seconds, json_path)
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def _law(who: Subject, budget_s: float, json_path: str | None) -> None:
    about, base = about_here(), replace(BASE, residual=who.residual)
    axes = {key: values for key, values in AXES.items() if who.residual or key != "residual"}
    points = run_law(who.engine, base, axes, budget_s=budget_s, tell=tell)
    lines = fit_law(points)
    listed = [asdict(point) for point in points]
    write_json(json_path, {**about, "points": listed, "law": lines})
    if json_path != "-":
        show_law(points, lines, console())


def _daemons(who: Subject, count: int, seconds: float, json_path: str | None) -> None:
    about, case = about_here(), who.one_case()
    settings = ScaleSettings(count, seconds, min(2.0, seconds / 3), who.engine)
    with who.files(case) as (files, folder):
        report = run_scale(files, settings, folder, tell)
    write_json(json_path, {**about, "settings": asdict(settings), **report})
    if json_path != "-":
        show_scale(report, console())
    fail_if(not Losses(**report["together"]["losses"]).clean)


if __name__ == "__main__":
    main()
