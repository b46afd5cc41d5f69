"""``emag-rt serve``: the daemon."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emag_rt.cli.completion import BUNDLE, complete_montage
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import (
    DURATION_S,
    ENGINE,
    MARKER_FORMAT,
    MIX,
    RATE_HZ,
    STATISTICS,
    FiniteFloat,
    Whole,
    lsl_options,
    naming_options,
    one_blas_thread,
)

if TYPE_CHECKING:
    from emag_rt.daemon.settings import ServeSettings

_PATHS = {
    "source_id": "source.source_id",
    "source_name": "source.name",
    "source_type": "source.type",
    "wait": "source.wait",
    "timeout": "source.timeout_s",
    "unit": "source.unit",
    "scale": "source.scale",
    "mismatch": "source.mismatch",
    "headset": "source.headset",
    "channels": "source.channels",
    "name": "output.name",
    "engine": "engine.name",
    "require_gpu": "engine.require_gpu",
    "hop": "engine.hop",
    "montage": "output.montage",
    "reference": "output.reference",
    "measured": "output.measured",
    "marker_format": "output.marker_format",
    "statistics": "output.statistics",
    "statistics_mix": "output.statistics_mix",
    "adapt": "adapt.enabled",
    "gap_policy": "gaps.policy",
    "late_policy": "latency.policy",
    "latency_budget": "latency.budget_s",
    "duration": "duration_s",
    "status_json": "status.json_path",
    "trace": "status.trace_path",
    "http_port": "http.port",
    "http_host": "http.host",
    "dashboard": "dashboard.enabled",
    "dashboard_port": "dashboard.port",
    "dashboard_host": "dashboard.host",
    "scope": "lsl.scope",
    "session_id": "lsl.session_id",
}
"""Settings that options set, by option."""


_GROUPS = {
    "Source (which stream is read)": (
        "source_id",
        "source_name",
        "source_type",
        "wait",
        "timeout",
        "unit",
        "scale",
        "mismatch",
        "headset",
        "channels",
        "scope",
        "session_id",
    ),
    "Without an HD session (instead of BUNDLE)": ("no_hd", "ld", "hd", "sfreq", "population"),
    "Output (what is published)": (
        "name",
        "montage",
        "reference",
        "measured",
        "marker_format",
        "statistics",
        "statistics_mix",
    ),
    "Rendering": ("engine", "require_gpu", "hop", "adapt"),
    "Gaps and lateness": ("gap_policy", "late_policy", "latency_budget"),
    "Status, for people and programs": (
        "status_json",
        "http_port",
        "http_host",
        "dashboard",
        "dashboard_port",
        "dashboard_host",
        "trace",
        "quiet",
    ),
}


@click.command(
    cls=Manual,
    groups=_GROUPS,
    examples=(
        ("one amplifier, pinned by its source id", "emag-rt serve s01.emag --source-id AMP-1234"),
        (
            "before a participant arrives: go or no go",
            "emag-rt serve s01.emag --source-id AMP-1234 --check",
        ),
        (
            "started before the amplifier, with health checks",
            "emag-rt serve s01.emag --source-id AMP-1234 --wait --http-port 9464",
        ),
        (
            "electrodes nobody wore",
            "emag-rt serve s01.emag --source-id AMP-1234 --montage biosemi64",
        ),
        (
            "no HD cap at all: other people's field, for a headset that is on",
            "emag-rt serve --no-hd --ld @stream:AMP-1234 --hd standard_1020 --source-id AMP-1234",
        ),
        (
            "another day, another state: the field follows LD",
            "emag-rt serve s01.emag --source-id AMP-1234 --adapt",
        ),
        (
            "for OpenViBE: dense rows, average reference",
            "emag-rt serve s01.emag --source-id AMP-1234 --config configs/openvibe.yaml",
        ),
    ),
    exits={
        0: "ended by a signal or --duration, after everything owed was published; --check: go",
        **dict.fromkeys((1, 2, 3, 5, 6, 7, 8, 9), ""),
        130: "a second Ctrl-C, which ends it at once",
    },
    surplus="--source-id",
    meant={"--stream": "--source-id", "--source": "--source-id", "--amp": "--source-id"},
    see_also=(
        "emag-rt simulate",
        "emag-rt streams",
        "emag-rt doctor",
        "docs/serving.md",
        "docs/latency.md",
        "docs/without-hd.md",
        "docs/troubleshooting.md",
    ),
)
@click.argument("bundle", type=BUNDLE, required=False)
@click.option("--source-id", help="Read the stream with this source_id: the safest choice.")
@click.option("--source-name", help="Read the stream with this name.")
@click.option("--source-type", help="Read the one stream of this type (EEG).")
@click.option("--wait", is_flag=True, default=None, help="Wait for the source as long as it takes.")
@click.option(
    "--timeout",
    type=FiniteFloat(0, 86_400),
    metavar="S",
    help="Give up looking for the source after S seconds (10).",
)
@click.option("--unit", help="Unit of the input, over what the stream declares: V, mV or µV.")
@click.option(
    "--scale",
    type=FiniteFloat(1e-12, 1e12),
    metavar="UV",
    help="Microvolts of one step of the values, as for ADC counts; over any unit.",
)
@click.option(
    "--mismatch",
    type=click.Choice(["refuse", "warn"]),
    help="When amplitudes or rate are not those calibrated and declared: end, or only say so "
    "(refuse).",
)
@naming_options
@click.option("--name", help="Name of the HD outlet (emag_rt).")
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    help="Settings in YAML, as in configs/serve.yaml; options win.",
)
@click.option("--engine", type=ENGINE, help="Render engine (auto: the quickest here).")
@click.option("--require-gpu", is_flag=True, default=None, help="Fail unless a GPU renders.")
@click.option(
    "--hop",
    type=Whole(0, 1_000_000),
    metavar="N",
    help="Render in steps of N samples (0: every chunk as it comes).",
)
@click.option(
    "--adapt",
    is_flag=True,
    default=None,
    help="Follow the wearer's present state, from LD alone; with --no-hd, whom the wearer is like. "
    "SIGUSR1 saves the adapted bundle beside BUNDLE, SIGUSR2 undoes it (docs/another-day.md).",
)
@click.option(
    "--montage",
    shell_complete=complete_montage,
    help="Render these electrodes instead of the cap's: a standard montage (standard_1005, "
    "biosemi256), a file of positions (.tsv .csv .sfp .json), or a list (cap,PO5,POz,NEW=x/y/z, "
    "in mm).",
)
@click.option(
    "--reference",
    help="Reference of the output: input (that of the amplifier, the default), average, a "
    "channel, or A+B (linked).",
)
@click.option(
    "--measured",
    type=click.Choice(["pass", "render"]),
    help="LD channels: pass on, filtered, or render as well (pass).",
)
@click.option(
    "--marker-format",
    type=MARKER_FORMAT,
    help="Events on NAME-markers as JSON text, or as int32 codes, which OpenViBE reads (text).",
)
@click.option(
    "--statistics",
    type=STATISTICS,
    help="Rendered channels: as near as can be (estimate), with the covariance of measured ones "
    "(matched), or besides with noise for what is missing (simulated). Default: estimate.",
)
@click.option(
    "--statistics-mix",
    type=MIX,
    metavar="M",
    help="How far they go there: 0 is the estimate, 1 all the way (1).",
)
@click.option(
    "--gap-policy",
    type=click.Choice(["nan", "hold", "skip"]),
    help="Fill long gaps with NaN, hold the last row, or leave the rows out (nan).",
)
@click.option(
    "--late-policy",
    type=click.Choice(["skip_to_newest", "catch_up"]),
    help="Samples beyond the latency budget: rows of NaN, counted, or rendered all the same "
    "(skip_to_newest).",
)
@click.option(
    "--latency-budget",
    type=FiniteFloat(0, 3600, min_open=True),
    metavar="S",
    help="Seconds a sample may be later than usual (1).",
)
@click.option("--duration", type=DURATION_S, metavar="S", help="Stop after S seconds.")
@click.option(
    "--status-json",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write one JSON line a second here (- for stdout).",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False),
    help="Write the times of every chunk here at the end (.npz), for benchmarks.",
)
@click.option(
    "--http-port",
    type=Whole(0, 65_535),
    metavar="PORT",
    help="Answer /metrics, /healthz and /readyz on this port (0: any free one). Off by default.",
)
@click.option("--http-host", help="Address to answer on (127.0.0.1); others get a warning.")
@click.option("--dashboard", is_flag=True, default=None, help="Show it live in a browser.")
@click.option(
    "--dashboard-port",
    metavar="PORT",
    type=Whole(0, 65_535),
    help="Show it on this port (8050; 0: any free one).",
)
@click.option("--dashboard-host", help="Show it on this address (127.0.0.1); others get a warning.")
@click.option(
    "--no-hd",
    is_flag=True,
    help="Make the bundle first, from other people's field (emag-rt calibrate --no-hd), and forget "
    "it afterwards.",
)
@click.option("--ld", help="What is worn: names, a count, @headset:NAME or @stream:SOURCE.")
@click.option(
    "--hd", shell_complete=complete_montage, help="What to render: a montage, a file or names."
)
@click.option("--sfreq", type=RATE_HZ, metavar="HZ", help="Rate of the LD amplifier in Hz.")
@click.option("--population", help="Whose field (adult), or a file.")
@lsl_options("How far LSL looks.")
@click.option("--quiet", is_flag=True, help="No live status on the terminal.")
@click.option(
    "--check",
    is_flag=True,
    help="Publish nothing: read for six seconds (or --duration), check all that serving checks, "
    "and say go or no go (exit 0 or not).",
)
def serve(
    bundle: str | None,
    config: str | None,
    quiet: bool,
    no_hd: bool,
    check: bool,
    ld: str | None,
    hd: str | None,
    sfreq: float | None,
    population: str | None,
    **options: object,
) -> None:
    """Serve BUNDLE: read a live LD stream, publish HD channels with the same stamps.

    Reads an EEG stream with the bundle's LD channels (by label, in any order) at the bundle's
    rate, and publishes an EEG stream, float32 in µV; beside it NAME-status (numbers, once a
    second) and NAME-markers (events as JSON). LSL has no authentication: pin the amplifier with
    --source-id.

    The HD outlet stays up while the source is away. SIGINT, SIGTERM or a closed terminal ends it
    with exit 0 after everything owed has been published; a second SIGINT at once, with 130.
    """
    one_blas_thread()
    from emag_rt.cli.serve_no_hd import Request, bundle_to_serve
    from emag_rt.cli.which_source import ask_which
    from emag_rt.daemon.stopping import stop_signals

    request: Request = {"ld": ld, "hd": hd, "sfreq": sfreq, "population": population}
    request |= {name: _text(options[name]) for name in ("scope", "session_id")}
    # Signals: before the imports below, which take most of the start.
    with bundle_to_serve(bundle, no_hd, request) as path, stop_signals() as stop:
        from emag_rt.daemon.process import serve_bundle
        from emag_rt.daemon.settings import load_settings

        if options["dashboard_port"] is not None or options["dashboard_host"] is not None:
            options["dashboard"] = True
        overrides = {_PATHS[key]: value for key, value in options.items()}
        overrides["adapt.population"] = population
        settings = ask_which(load_settings(config, overrides), quiet)
        if no_hd and settings.adapt.save_in is None:  # beside the bundle, it would be forgotten
            here = {"save_in": str(Path.cwd())}
            settings = settings.model_copy(update={"adapt": settings.adapt.model_copy(update=here)})
        if check:
            _check(path, settings, stop)
            return
        with _dashboard(path, settings):
            serve_bundle(path, settings, quiet=quiet, stop=stop)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _check(bundle: str, settings: ServeSettings, stop: threading.Event) -> None:
    """Say go or no go, with the exit code that serving would end with."""
    from emag_rt.daemon.check import check_bundle
    from emag_rt.errors import EmagError, StreamMismatch

    try:
        verdict = check_bundle(bundle, settings, stop)
    except EmagError as error:
        click.echo(f"NO GO: {error}")
        sys.exit(error.exit_code)
    for line in verdict.facts:
        click.echo(f"  {line}")
    for line in verdict.against:
        click.echo(f"NO GO: {line}")
    if not verdict.go:
        sys.exit(StreamMismatch.exit_code)
    click.echo("GO: serve it as it is.")


@contextlib.contextmanager
def _dashboard(bundle: str, settings: ServeSettings) -> Iterator[None]:
    """The dashboard's process beside the daemon, where it is asked for."""
    wanted, source = settings.dashboard, settings.source
    if not wanted.enabled:
        yield
        return
    from emag_rt.dashboard.launch import beside

    given = {
        "--bundle": bundle,
        "--source": source.source_id or source.name or source.type,
        "--unit": source.declared_unit,
        "--scope": settings.lsl.scope,
        "--session-id": settings.lsl.session_id,
    }
    pairs = [f"{option}={value}" for option, value in given.items() if value]
    with beside([*pairs, "--", settings.output.name], wanted.host, wanted.port) as url:
        click.echo(f"dashboard: {url}", err=True)
        yield
