"""``emag-rt bench``: latency and load with synthetic streams, in separate processes."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from emag_rt.cli.options import ENGINE, FiniteFloat, check_output
from emag_rt.errors import SettingsError

if TYPE_CHECKING:
    from emag_rt.bench.cases import Case

_F = TypeVar("_F", bound=Callable[..., Any])
_SECONDS = FiniteFloat(min=0.5, max=1e6)
_PICTURES = (".png", ".pdf", ".svg")


@click.group()
def bench() -> None:
    """Measure latency, engines, long runs and many daemons on this machine.

    Figures are worth as much as the quiet of the machine: nothing here judges absolute times.
    """
    # As serve does, before NumPy is first imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _outputs(command: _F) -> _F:
    plot = click.option("--plot", type=click.Path(dir_okay=False), help="Draw a picture here.")
    made = click.option(
        "--json",
        "json_path",
        type=click.Path(dir_okay=False, allow_dash=True),
        help="Write all figures here (- for standard output, in the place of tables).",
    )
    return made(plot(command))


def _subject(command: _F) -> _F:
    """Options that say whom to serve."""
    options = (
        click.option("--case", "texts", multiple=True, help="N_LD:N_HD@RATE, or with /CHUNK."),
        click.option("--chunk", "chunks", multiple=True, type=click.IntRange(1, 10_000)),
        click.option(
            "--look-ahead", type=click.IntRange(0, 10_000), default=0, help="Samples (stand-ins)."
        ),
        click.option("--residual/--no-residual", default=True, help="Of stand-ins."),
        click.option(
            "--bundle", type=click.Path(dir_okay=False), help="A real bundle, not stand-ins."
        ),
        click.option("--recording", type=click.Path(), help="What the amplifier plays."),
        click.option("--engine", type=ENGINE, default="auto", show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


@bench.command()
@_subject
@click.option("--cases", "named", help="A list of cases: quick, hop1, all.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Relay and daemon in turns (5).")
@click.option("--seconds", type=_SECONDS, help="Signal in each measurement (10).")
@click.option("--warm-up", type=FiniteFloat(min=0), default=1.0, show_default=True)
@click.option("--stages/--no-stages", default=True, help="A further, traced round.")
@click.option("--quick", is_flag=True, help="Two rounds of three seconds.")
@_outputs
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

    _check_outputs(json_path, plot, bundle)
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
    cases = _cases(named, texts, chunks, look_ahead, residual, bundle)
    about = _about()
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        workshop = Workshop(Path(folder), bundle, recording)
        reports, values = run_latency(cases, settings, workshop, Path(folder), _tell)
    _write_json(json_path, {**about, "settings": asdict(settings), "cases": reports})
    if json_path != "-":
        show_latency(reports, _console())
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
@click.option("--window", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option(
    "--gaussians",
    default="8,12,16,20",
    show_default=True,
    help="Grids of the sweep by number of Gaussians, three at each point; empty for none.",
)
@click.option("--budget", type=FiniteFloat(min=0.001), default=1.0, show_default=True)
@click.option("--most-direct-mb", type=FiniteFloat(min=0), default=300.0, show_default=True)
@click.option("--direct/--no-direct", default=True, help="Folded against direct, 40 s or so.")
@click.option("--direct-rows", type=click.IntRange(1, 10_000), help="Samples of it (the window).")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write a table here.")
@_outputs
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

    _check_outputs(json_path, plot, bundle)
    if csv_path:
        check_output("--csv", csv_path, [bundle] if bundle else [], ".csv")
    settings = RenderSettings(
        engines=engines or ENGINES, window=window, budget_s=budget, most_direct_mb=most_direct_mb
    )
    grids = _numbers("--gaussians", gaussians)
    about = _about()
    if bundle:
        figures = time_bundle(load_bundle(bundle), Path(bundle).name, settings)
    else:
        given = texts or ("16:64@250", "32:128@500", "32:256@1000")
        figures = run_render(_cases(None, given, (), 0, residual, None), settings, tell=_tell)
    sweep, found = [], None
    sizes = DirectSettings(window=window, n_rows=direct_rows or window)
    if grids:
        small = DirectSettings(window=window, n_ld=16, n_hd=64)
        sweep = sweep_gaussians(small, grids, settings, _tell)
        # The field that serving takes, with tens of Gaussians a point: too many for direct.
        folded = tuple(name for name in settings.engines if name != "direct")
        served = _cases(None, ("16:64@250",), (), 0, residual, None)
        only = replace(settings, engines=folded)
        sweep += run_render(served, only, resolutions=grids, tell=_tell)
    if direct:
        found = compare_direct(sizes, settings.engines, _tell)
    everything = [*figures, *sweep]
    _write_json(
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
        show_render(everything, _console())
        if found:
            show_direct(found, _console())
    if csv_path:
        write_csv(everything, csv_path)
    if plot:
        from emag_rt.bench.plots import plot_render

        plot_render(sweep or figures, plot)


@bench.command()
@_subject
@click.option("--hours", type=FiniteFloat(min=0, min_open=True), help="Length of the run (1).")
@click.option("--seconds", type=_SECONDS, help="Length in seconds, in the place of --hours.")
@click.option("--interval", type=FiniteFloat(min=0.5), default=60.0, show_default=True)
@_outputs
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

    _check_outputs(json_path, plot, bundle)
    if hours and seconds:
        raise SettingsError("--hours and --seconds exclude each other, got both. Drop one of them.")
    settings = SoakSettings(seconds or 3600.0 * (hours or 1.0), interval, engine)
    case = _one_case(_cases(None, texts, chunks, look_ahead, residual, bundle))
    about = _about()
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        material = Workshop(Path(folder), bundle, recording).make(case)
        report = run_soak(material, settings, _tell)
    _write_json(json_path, {**about, "settings": asdict(settings), **report})
    if json_path != "-":
        show_soak(report, _console())
    if plot:
        from emag_rt.bench.plots import plot_soak

        plot_soak(report, plot)
    if not Losses(**report["losses"]).clean:
        click.echo("samples were lost, repeated, reordered or left empty", err=True)
        sys.exit(1)


@bench.command()
@_subject
@click.option("--daemons", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--seconds", type=_SECONDS, default=30.0, show_default=True)
@click.option("--law", is_flag=True, help="Cost of a sample as one property grows at a time.")
@click.option("--budget", type=FiniteFloat(min=0.001), default=0.5, show_default=True)
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

    _check_outputs(json_path, None, bundle)
    about = _about()
    if law:
        from emag_rt.bench.law import AXES, BASE, fit_law, run_law

        base = replace(BASE, residual=residual)
        axes = {key: values for key, values in AXES.items() if residual or key != "residual"}
        points = run_law(engine, base, axes, budget_s=budget, tell=_tell)
        lines = fit_law(points)
        listed = [asdict(point) for point in points]
        _write_json(json_path, {**about, "points": listed, "law": lines})
        if json_path != "-":
            show_law(points, lines, _console())
        return
    case = _one_case(_cases(None, texts, chunks, look_ahead, residual, bundle))
    settings = ScaleSettings(daemons, seconds, min(2.0, seconds / 3), engine)
    with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as folder:
        material = Workshop(Path(folder), bundle, recording).make(case)
        report = run_scale(material, settings, Path(folder), _tell)
    _write_json(json_path, {**about, "settings": asdict(settings), **report})
    if json_path != "-":
        show_scale(report, _console())
    if not Losses(**report["together"]["losses"]).clean:
        click.echo("samples were lost, repeated, reordered or left empty", err=True)
        sys.exit(1)


def _cases(
    named: str | None,
    texts: tuple[str, ...],
    chunks: tuple[int, ...],
    look_ahead: int,
    residual: bool,
    bundle: str | None,
) -> list[Case]:
    from emag_rt.bench.cases import choose_cases
    from emag_rt.bench.material import case_of_bundle

    if bundle is None:
        return choose_cases(named, texts, chunks=chunks, look_ahead=look_ahead, residual=residual)
    if texts or named:
        raise SettingsError(
            "--bundle has channels and rate of its own, got --case or --cases too. Drop them; "
            "--chunk is allowed."
        )
    return [case_of_bundle(bundle, chunk) for chunk in chunks or (1,)]


def _one_case(cases: list[Case]) -> Case:
    if len(cases) != 1:
        raise SettingsError(f"one --case is measured at a time here, got {len(cases)}. Name one.")
    return cases[0]


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise SettingsError(
            f"{option} must be whole numbers with commas, got {text!r}. Write 8,12,16."
        ) from error


def _check_outputs(json_path: str | None, plot: str | None, bundle: str | None) -> None:
    inputs = [bundle] if bundle else []
    if json_path:
        check_output("--json", json_path, inputs)
    if plot:
        check_output("--plot", plot, inputs)
        if Path(plot).suffix.lower() not in _PICTURES:
            raise SettingsError(f"--plot must end with {', '.join(_PICTURES)}, got {plot}.")


def _about() -> dict[str, Any]:
    from emag_rt.bench.environment import describe

    return {"environment": describe()}


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    if path is None:
        return
    text = json.dumps(content, indent=1)
    if path == "-":
        click.echo(text)
    else:
        Path(path).write_text(text + "\n", encoding="utf-8")


def _console() -> Any:
    from rich.console import Console

    return Console()


def _tell(line: str) -> None:
    click.echo(line, err=True)
