"""``emag-rt bench``: latency and load with synthetic streams, in separate processes."""

from __future__ import annotations

import os
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
    numbers,
    outputs,
    subject,
    tell,
    write_json,
)
from emag_rt.cli.bench_long import bound, scale, soak
from emag_rt.cli.options import FiniteFloat, Whole, check_output
from emag_rt.errors import SettingsError


@click.group()
def bench() -> None:
    """Measure latency, engines, long runs and many daemons on this machine.

    Figures are worth as much as the quiet of the machine: nothing here judges absolute times.
    """
    # As serve does, before NumPy is first imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


for _command in (soak, bound, scale):
    bench.add_command(_command)


@bench.command()
@subject
@click.option("--cases", "named", help="A list of cases: quick, hop1, all.")
@click.option("--rounds", type=Whole(1, 1000), help="Relay and daemon in turns (5).")
@click.option("--seconds", type=SECONDS, help="Signal in each measurement (10).")
@click.option("--warm-up", type=FiniteFloat(0, 3600), default=1.0, show_default=True)
@click.option("--stages/--no-stages", default=True, help="A further, traced round.")
@click.option("--quick", is_flag=True, help="Two rounds of three seconds.")
@outputs
def latency(
    texts: tuple[str, ...],
    chunks: tuple[int, ...],
    look_ahead: int,
    residual: bool,
    bundle: str | None,
    recording: str | None,
    engine: str,
    named: str | None,
    rounds: int | None,
    seconds: float | None,
    warm_up: float,
    stages: bool,
    quick: bool,
    json_path: str | None,
    plot: str | None,
) -> None:
    """Latency from an amplifier's stamp to another process, beside a relay that does nothing.

    Amplifier, daemon (or relay) and receiver are processes of their own. Exit 1 when the daemon
    lost, repeated or reordered samples, or left them empty; never for a time.
    """
    from emag_rt.bench.latency import any_lost, run_latency
    from emag_rt.bench.material import Workshop
    from emag_rt.bench.measure import LatencySettings
    from emag_rt.bench.tables import show_latency

    check_outputs(json_path, plot, bundle)
    settings = LatencySettings(
        rounds=rounds or (2 if quick else 5),
        seconds=seconds or (3.0 if quick else 10.0),
        warm_up_s=warm_up,
        engine=engine,
        stages=stages,
    )
    if warm_up > settings.seconds - 0.4:
        raise SettingsError(
            f"--warm-up must be less than --seconds by 0.4 s, got {warm_up:g} and "
            f"{settings.seconds:g}. Measure for longer."
        )
    cases = cases_of(named, texts, chunks, look_ahead, residual, bundle)
    about = about_here()
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        workshop = Workshop(Path(folder), bundle, recording)
        reports, values = run_latency(cases, settings, workshop, Path(folder), tell)
    write_json(json_path, {**about, "settings": asdict(settings), "cases": reports})
    if json_path != "-":
        show_latency(reports, console())
    if plot:
        from emag_rt.bench.plots import plot_latency

        plot_latency(reports, values, plot)
    if any_lost(reports):
        click.echo("samples were lost, repeated, reordered or left empty", err=True)
        sys.exit(1)


@bench.command()
@click.option("--case", "texts", multiple=True, help="N_LD:N_HD@RATE; several allowed.")
@click.option("--residual/--no-residual", default=True, help="Of stand-ins.")
@click.option("--bundle", type=click.Path(dir_okay=False), help="A real bundle, not stand-ins.")
@click.option("--engine", "engines", multiple=True, help="Engines (all).")
@click.option("--window", type=Whole(1, 10_000), default=100, show_default=True)
@click.option(
    "--gaussians",
    default="8,12,16,20",
    show_default=True,
    help="Grids of the sweep by number of Gaussians, three at each point; empty for none.",
)
@click.option("--budget", type=FiniteFloat(0.001, 3600), default=1.0, show_default=True)
@click.option("--most-direct-mb", type=FiniteFloat(0, 1e6), default=300.0, show_default=True)
@click.option("--direct/--no-direct", default=True, help="Folded against direct, 40 s or so.")
@click.option("--direct-rows", type=Whole(1, 10_000), help="Samples of it (the window).")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write a table here.")
@outputs
def render(
    texts: tuple[str, ...],
    residual: bool,
    bundle: str | None,
    engines: tuple[str, ...],
    window: int,
    gaussians: str,
    budget: float,
    most_direct_mb: float,
    direct: bool,
    direct_rows: int | None,
    csv_path: str | None,
    json_path: str | None,
    plot: str | None,
) -> None:
    """Engines in this process, one BLAS thread: a sample, a window, offline speed.

    By montage, by number of Gaussians, and folded against the equation as written.
    """
    from emag_rt.bench.rendering import RenderSettings, run_render, time_bundle, write_csv
    from emag_rt.bench.tables import show_direct, show_render
    from emag_rt.bench.versus_direct import DirectSettings, compare_direct, sweep_gaussians
    from emag_rt.bundle import load_bundle
    from emag_rt.render import ENGINES

    check_outputs(json_path, plot, bundle)
    if csv_path:
        check_output("--csv", csv_path, [bundle] if bundle else [], ".csv")
    settings = RenderSettings(
        engines=engines or ENGINES, window=window, budget_s=budget, most_direct_mb=most_direct_mb
    )
    grids = numbers("--gaussians", gaussians)
    about = about_here()
    if bundle:
        figures = time_bundle(load_bundle(bundle), Path(bundle).name, settings)
    else:
        given = texts or ("16:64@250", "32:128@500", "32:256@1000")
        figures = run_render(cases_of(None, given, (), 0, residual, None), settings, tell=tell)
    sweep, found = [], None
    sizes = DirectSettings(window=window, n_rows=direct_rows or window)
    if grids:
        small = DirectSettings(window=window, n_ld=16, n_hd=64)
        sweep = sweep_gaussians(small, grids, settings, tell)
        # The field that serving takes, with tens of Gaussians a point: too many for direct.
        folded = tuple(name for name in settings.engines if name != "direct")
        served = cases_of(None, ("16:64@250",), (), 0, residual, None)
        only = replace(settings, engines=folded)
        sweep += run_render(served, only, resolutions=grids, tell=tell)
    if direct:
        found = compare_direct(sizes, settings.engines, tell)
    everything = [*figures, *sweep]
    write_json(
        json_path,
        {
            **about,
            "settings": asdict(settings),
            "engines": [asdict(one) for one in figures],
            "by_gaussians": [asdict(one) for one in sweep],
            "folded_against_direct": found,
        },
    )
    if json_path != "-":
        show_render(everything, console())
        if found:
            show_direct(found, console())
    if csv_path:
        write_csv(everything, csv_path)
    if plot:
        from emag_rt.bench.plots import plot_render

        plot_render(sweep or figures, plot)
