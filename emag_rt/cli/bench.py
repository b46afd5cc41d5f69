"""``emag-rt bench``: latency and load with synthetic streams, in separate processes."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import click

from emag_rt.cli.bench_common import (
    SECONDS,
    SUBJECT_GROUP,
    Subject,
    about_here,
    cases_of,
    check_bench_outputs,
    console,
    fail_if,
    numbers,
    outputs,
    subject,
    tell,
    write_json,
)
from emag_rt.cli.bench_long import bound, soak
from emag_rt.cli.completion import BUNDLE
from emag_rt.cli.manual import Manual, ManualGroup
from emag_rt.cli.options import STATISTICS, FiniteFloat, Whole, check_output, one_blas_thread
from emag_rt.errors import SettingsError


@click.group(
    cls=ManualGroup,
    examples=(
        ("two short rounds beside a relay that does nothing", "emag-rt bench latency --quick"),
        ("engines in one process", "emag-rt bench render --no-direct"),
        ("half an hour of serving", "emag-rt bench soak --hours 0.5 --plot soak.png"),
    ),
    exits={0: "measured, whatever the times", 1: "samples were lost", 2: ""},
    see_also=("docs/benchmarks.md", "docs/latency.md"),
)
def bench() -> None:
    """Measure latency, engines and long runs on this machine.

    Subjects are stand-ins of any size with random numbers, or a real bundle: cost depends on
    shapes alone. Figures are worth as much as the quiet of the machine: nothing here judges
    absolute times.
    """
    one_blas_thread()


for _command in (soak, bound):
    bench.add_command(_command)


@bench.command(
    cls=Manual,
    groups={"Who is served": SUBJECT_GROUP},
    examples=(
        ("two rounds of three seconds", "emag-rt bench latency --quick"),
        (
            "two cases, seven rounds each",
            "emag-rt bench latency --case 16:64@250 --case 32:128@500 --rounds 7 --seconds 4",
        ),
        (
            "your own subject",
            "emag-rt bench latency --bundle s01.emag --recording run3.edf --json latency.json",
        ),
    ),
    exits={0: "", 1: "samples were lost, repeated, reordered or left empty", 2: "", 5: "", 9: ""},
    see_also=("emag-rt bench", "docs/benchmarks.md"),
)
@subject
@click.option("--cases", "named", help="A list of cases: quick, hop1, all.")
@click.option(
    "--rounds", type=Whole(1, 1000), metavar="N", help="Rounds, relay and daemon in turns (5)."
)
@click.option(
    "--seconds", type=SECONDS, metavar="S", help="Seconds of signal in each measurement (10)."
)
@click.option(
    "--warm-up",
    type=FiniteFloat(0, 3600),
    metavar="S",
    default=1.0,
    show_default=True,
    help="First seconds, left out of latencies and CPU.",
)
@click.option(
    "--stages/--no-stages", default=True, help="A further, traced round: where the time goes."
)
@click.option("--quick", is_flag=True, help="Two rounds of three seconds.")
@click.option(
    "--statistics", type=STATISTICS, help="As of serve; all but estimate need a real --bundle."
)
@click.option("--adapt", is_flag=True, help="As of serve; needs a real --bundle.")
@outputs
def latency(
    who: Subject,
    named: str | None,
    rounds: int | None,
    seconds: float | None,
    warm_up: float,
    stages: bool,
    quick: bool,
    statistics: str | None,
    adapt: bool,
    json_path: str | None,
    plot: str | None,
) -> None:
    """Latency from an amplifier's stamp to another process, beside a relay that does nothing.

    Amplifier, daemon (or relay) and receiver are processes of their own. Exit 1 when the daemon
    lost, repeated or reordered samples, or left them empty; never for a time.
    """
    from emag_rt.bench.accounting import Losses
    from emag_rt.bench.case_files import CaseFileMaker
    from emag_rt.bench.latency import run_latency
    from emag_rt.bench.measure import LatencySettings
    from emag_rt.bench.tables import show_latency

    check_bench_outputs(json_path, plot, who.bundle)
    settings = LatencySettings(
        rounds=rounds or (2 if quick else 5),
        seconds=seconds or (3.0 if quick else 10.0),
        warm_up_s=warm_up,
        engine=who.engine,
        stages=stages,
        serve_options=(
            *(("--statistics", statistics) if statistics else ()),
            *(("--adapt",) if adapt else ()),
        ),
    )
    if statistics not in (None, "estimate") and not who.bundle:
        raise SettingsError(
            f"--statistics must be estimate for stand-ins, which know no other, got "
            f"{statistics!r}. Give a --bundle."
        )
    if adapt and not who.bundle:
        raise SettingsError("--adapt needs a real --bundle: stand-ins have no sources to follow.")
    if warm_up > settings.seconds - 0.4:
        raise SettingsError(
            f"--warm-up must be less than --seconds by 0.4 s, got {warm_up:g} and "
            f"{settings.seconds:g}. Measure for longer."
        )
    cases = who.cases(named)
    about = about_here()
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        maker = CaseFileMaker(Path(folder), who.bundle, who.recording)
        reports, values = run_latency(cases, settings, maker, Path(folder), tell)
    write_json(json_path, {**about, "settings": asdict(settings), "cases": reports})
    if json_path != "-":
        show_latency(reports, console())
    if plot:
        from emag_rt.bench.plots import plot_latency

        plot_latency(reports, values, plot)
    fail_if(any(not Losses(**one["daemon"]["losses"]).clean for one in reports))


@bench.command(
    cls=Manual,
    examples=(
        ("engines on a montage of your size", "emag-rt bench render --case 32:128@500 --no-direct"),
        ("your own subject", "emag-rt bench render --bundle s01.emag --json render.json"),
        ("tables and a picture", "emag-rt bench render --csv render.csv --plot render.png"),
    ),
    exits=(0, 1, 2, 5, 6, 9),
    see_also=("emag-rt bench", "docs/benchmarks.md"),
)
@click.option(
    "--case",
    "texts",
    multiple=True,
    metavar="CASE",
    help="Channels and rate in Hz: N_LD:N_HD@RATE; several allowed.",
)
@click.option(
    "--residual/--no-residual",
    default=True,
    help="Whether stand-ins have the networks that calibration with torch makes.",
)
@click.option("--bundle", type=BUNDLE, help="A real bundle, in the place of stand-ins.")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help="Engines; several allowed (all that start).",
)
@click.option(
    "--window",
    type=Whole(1, 10_000),
    metavar="N",
    default=100,
    show_default=True,
    help="Samples rendered at once.",
)
@click.option(
    "--gaussians",
    default="8,12,16,20",
    show_default=True,
    help="Grids of the sweep by number of Gaussians, three at each point; empty for none.",
)
@click.option(
    "--budget",
    type=FiniteFloat(0.001, 3600),
    metavar="S",
    default=1.0,
    show_default=True,
    help="Seconds for each measurement.",
)
@click.option(
    "--most-direct-mb",
    type=FiniteFloat(0, 1e6),
    metavar="MB",
    default=300.0,
    show_default=True,
    help="Leave out the direct engine where its kernels need more memory.",
)
@click.option("--direct/--no-direct", default=True, help="Folded against direct, 40 s or so.")
@click.option(
    "--direct-rows", type=Whole(1, 10_000), metavar="N", help="Samples of it (the window)."
)
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

    check_bench_outputs(json_path, plot, bundle)
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
