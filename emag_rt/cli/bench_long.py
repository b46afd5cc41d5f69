"""``emag-rt bench soak`` and ``bound``: hours and faults."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from emag_rt.cli.bench_common import (
    SECONDS,
    SUBJECT_GROUP,
    Subject,
    about_here,
    check_bench_outputs,
    console,
    fail_if,
    json_output,
    outputs,
    subject,
    tell,
    write_json,
)
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import FiniteFloat
from emag_rt.errors import SettingsError


@click.command(
    cls=Manual,
    groups={"Who is served": SUBJECT_GROUP},
    examples=(
        ("half an hour, drawn", "emag-rt bench soak --hours 0.5 --json soak.json --plot soak.png"),
        ("ten minutes of a fast amplifier", "emag-rt bench soak --case 32:256@2000 --seconds 600"),
    ),
    exits={0: "", 1: "samples were lost", 2: "", 5: "", 9: ""},
    see_also=("emag-rt bench", "docs/benchmarks.md"),
)
@subject
@click.option(
    "--hours",
    type=FiniteFloat(0, 10_000, min_open=True),
    metavar="H",
    help="Length of the run in hours (1).",
)
@click.option(
    "--seconds", type=SECONDS, metavar="S", help="Length in seconds, in the place of --hours."
)
@click.option(
    "--interval",
    type=FiniteFloat(0.5, 86_400),
    metavar="S",
    default=60.0,
    show_default=True,
    help="Seconds between two points.",
)
@outputs
def soak(
    who: Subject,
    hours: float | None,
    seconds: float | None,
    interval: float,
    json_path: str | None,
    plot: str | None,
) -> None:
    """Serve for hours: does latency or memory grow?

    A point every interval, and a line through them by least squares with the standard error of
    its slope. Exit 1 when samples were lost.
    """
    from emag_rt.bench.accounting import Losses
    from emag_rt.bench.soak import SoakSettings, run_soak
    from emag_rt.bench.tables import show_soak

    check_bench_outputs(json_path, plot, who.bundle)
    if hours and seconds:
        raise SettingsError("--hours and --seconds exclude each other, got both. Drop one of them.")
    settings = SoakSettings(seconds or 3600.0 * (hours or 1.0), interval, who.engine)
    case = who.one_case()
    about = about_here()
    with who.files(case) as (files, _):
        report = run_soak(files, settings, tell)
    write_json(json_path, {**about, "settings": asdict(settings), **report})
    if json_path != "-":
        show_soak(report, console())
    if plot:
        from emag_rt.bench.plots import plot_soak

        plot_soak(report, plot)
    fail_if(not Losses(**report["losses"]).clean)


@click.command(
    cls=Manual,
    groups={"Who is served": SUBJECT_GROUP},
    examples=(
        (
            "stopped for three seconds, then starved for five",
            "emag-rt bench bound --case 16:64@250",
        ),
        (
            "a tight budget, nothing skipped",
            "emag-rt bench bound --budget 0.05 --late-policy catch_up",
        ),
    ),
    exits={0: "", 1: "an input sample was neither published nor counted", 2: "", 5: "", 9: ""},
    see_also=("emag-rt bench", "docs/benchmarks.md"),
)
@subject
@click.option(
    "--budget",
    type=FiniteFloat(0.001, 3600),
    metavar="S",
    default=0.2,
    show_default=True,
    help="Latency budget of the daemon in seconds.",
)
@click.option(
    "--late-policy",
    type=click.Choice(["skip_to_newest", "catch_up"]),
    default="skip_to_newest",
    show_default=True,
    help="What the daemon does with samples beyond the budget.",
)
@click.option(
    "--stop",
    "stop_s",
    type=FiniteFloat(0.1, 3600),
    metavar="S",
    default=3.0,
    show_default=True,
    help="Seconds the daemon is stopped for.",
)
@click.option(
    "--starve",
    "starve_s",
    type=FiniteFloat(0.1, 3600),
    metavar="S",
    default=5.0,
    show_default=True,
    help="Seconds it is starved of processors for.",
)
@json_output
def bound(
    who: Subject,
    budget: float,
    late_policy: str,
    stop_s: float,
    starve_s: float,
    json_path: str | None,
) -> None:
    """Stop the daemon (SIGSTOP), starve it of processors: how soon is it under its budget again?

    Exit 1 when an input sample was neither published nor counted.
    """
    from emag_rt.bench.bound import BoundSettings, run_bound
    from emag_rt.bench.tables import show_bound

    check_bench_outputs(json_path, None, who.bundle)
    case = who.one_case()
    about = about_here()
    settings = BoundSettings(budget, late_policy, stop_s, starve_s, engine=who.engine)
    with who.files(case) as (files, folder):
        reports = run_bound(files, settings, folder, tell)
    write_json(json_path, {**about, "settings": asdict(settings), "faults": reports})
    if json_path != "-":
        show_bound(reports, console())
    if any(one["uncounted"] for one in reports):
        click.echo("samples are neither in the output nor in a counter", err=True)
        sys.exit(1)
