"""``emag-rt bench soak``, ``bound`` and ``scale``: hours, faults, many daemons."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import click

from emag_rt.cli.bench_common import (
    SECONDS,
    about_here,
    cases_of,
    check_outputs,
    console,
    one_case,
    outputs,
    subject,
    tell,
    write_json,
)
from emag_rt.cli.options import FiniteFloat, Whole
from emag_rt.errors import SettingsError


@click.command()
@subject
@click.option("--hours", type=FiniteFloat(0, 10_000, min_open=True), help="Length of the run (1).")
@click.option("--seconds", type=SECONDS, help="Length in seconds, in the place of --hours.")
@click.option("--interval", type=FiniteFloat(0.5, 86_400), default=60.0, show_default=True)
@outputs
def soak(
    texts: tuple[str, ...],
    chunks: tuple[int, ...],
    look_ahead: int,
    residual: bool,
    bundle: str | None,
    recording: str | None,
    engine: str,
    hours: float | None,
    seconds: float | None,
    interval: float,
    json_path: str | None,
    plot: str | None,
) -> None:
    """Hours of serving: growth of latency and memory, fitted. Exit 1 when samples were lost."""
    from emag_rt.bench.accounting import Losses
    from emag_rt.bench.material import Workshop
    from emag_rt.bench.soak import SoakSettings, run_soak
    from emag_rt.bench.tables import show_soak

    check_outputs(json_path, plot, bundle)
    if hours and seconds:
        raise SettingsError("--hours and --seconds exclude each other, got both. Drop one of them.")
    settings = SoakSettings(seconds or 3600.0 * (hours or 1.0), interval, engine)
    case = one_case(cases_of(None, texts, chunks, look_ahead, residual, bundle))
    about = about_here()
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        material = Workshop(Path(folder), bundle, recording).make(case)
        report = run_soak(material, settings, tell)
    write_json(json_path, {**about, "settings": asdict(settings), **report})
    if json_path != "-":
        show_soak(report, console())
    if plot:
        from emag_rt.bench.plots import plot_soak

        plot_soak(report, plot)
    if not Losses(**report["losses"]).clean:
        click.echo("samples were lost, repeated, reordered or left empty", err=True)
        sys.exit(1)


@click.command()
@subject
@click.option("--budget", type=FiniteFloat(0.001, 3600), default=0.2, show_default=True)
@click.option(
    "--late-policy",
    type=click.Choice(["skip_to_newest", "catch_up"]),
    default="skip_to_newest",
    show_default=True,
)
@click.option("--stop", "stop_s", type=FiniteFloat(0.1, 3600), default=3.0, show_default=True)
@click.option("--starve", "starve_s", type=FiniteFloat(0.1, 3600), default=5.0, show_default=True)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True))
def bound(
    texts: tuple[str, ...],
    chunks: tuple[int, ...],
    look_ahead: int,
    residual: bool,
    bundle: str | None,
    recording: str | None,
    engine: str,
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
    from emag_rt.bench.material import Workshop
    from emag_rt.bench.tables import show_bound

    check_outputs(json_path, None, bundle)
    case = one_case(cases_of(None, texts, chunks, look_ahead, residual, bundle))
    about = about_here()
    settings = BoundSettings(budget, late_policy, stop_s, starve_s, engine=engine)
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        material = Workshop(Path(folder), bundle, recording).make(case)
        reports = run_bound(material, settings, Path(folder), tell)
    write_json(json_path, {**about, "settings": asdict(settings), "faults": reports})
    if json_path != "-":
        show_bound(reports, console())
    if any(one["uncounted"] for one in reports):
        click.echo("samples are neither in the output nor in a counter", err=True)
        sys.exit(1)


@click.command()
@subject
@click.option("--daemons", type=Whole(1, 64), default=8, show_default=True)
@click.option("--seconds", type=SECONDS, default=30.0, show_default=True)
@click.option("--law", is_flag=True, help="Cost of a sample as one property grows at a time.")
@click.option("--budget", type=FiniteFloat(0.001, 3600), default=0.5, show_default=True)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True))
def scale(
    texts: tuple[str, ...],
    chunks: tuple[int, ...],
    look_ahead: int,
    residual: bool,
    bundle: str | None,
    recording: str | None,
    engine: str,
    daemons: int,
    seconds: float,
    law: bool,
    budget: float,
    json_path: str | None,
) -> None:
    """Several subjects served at once on one machine, or (--law) what a sample costs."""
    from emag_rt.bench.accounting import Losses
    from emag_rt.bench.material import Workshop
    from emag_rt.bench.scale import ScaleSettings, run_scale
    from emag_rt.bench.tables import show_law, show_scale

    check_outputs(json_path, None, bundle)
    about = about_here()
    if law:
        from emag_rt.bench.law import AXES, BASE, fit_law, run_law

        base = replace(BASE, residual=residual)
        axes = {key: values for key, values in AXES.items() if residual or key != "residual"}
        points = run_law(engine, base, axes, budget_s=budget, tell=tell)
        lines = fit_law(points)
        listed = [asdict(point) for point in points]
        write_json(json_path, {**about, "points": listed, "law": lines})
        if json_path != "-":
            show_law(points, lines, console())
        return
    case = one_case(cases_of(None, texts, chunks, look_ahead, residual, bundle))
    settings = ScaleSettings(daemons, seconds, min(2.0, seconds / 3), engine)
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        material = Workshop(Path(folder), bundle, recording).make(case)
        report = run_scale(material, settings, Path(folder), tell)
    write_json(json_path, {**about, "settings": asdict(settings), **report})
    if json_path != "-":
        show_scale(report, console())
    if not Losses(**report["together"]["losses"]).clean:
        click.echo("samples were lost, repeated, reordered or left empty", err=True)
        sys.exit(1)
