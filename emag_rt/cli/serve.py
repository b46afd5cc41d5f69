"""``emag-rt serve``: the daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from emag_rt.cli.options import DURATION_S, ENGINE, FiniteFloat, Whole, lsl_options, one_blas_thread

if TYPE_CHECKING:
    from emag_rt.engine.settings import ServeSettings

_PATHS = {
    "source_id": "source.source_id",
    "source_name": "source.name",
    "source_type": "source.type",
    "wait": "source.wait",
    "timeout": "source.timeout_s",
    "unit": "source.unit",
    "name": "output.name",
    "engine": "engine.name",
    "require_gpu": "engine.require_gpu",
    "hop": "engine.hop",
    "montage": "output.montage",
    "reference": "output.reference",
    "measured": "output.measured",
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


@click.command()
@click.argument("bundle", type=click.Path(dir_okay=False))
@click.option("--source-id", help="Read the stream with this source_id.")
@click.option("--source-name", help="Read the stream with this name.")
@click.option("--source-type", help="Read the stream of this type (default: EEG).")
@click.option("--wait", is_flag=True, default=None, help="Wait for the source as long as it takes.")
@click.option(
    "--timeout",
    type=FiniteFloat(0, 86_400),
    help="Give up looking for the source after S seconds (10).",
)
@click.option("--unit", help="Unit of the input, over what the stream declares.")
@click.option("--name", help="Name of the HD outlet (emag_rt).")
@click.option("--config", type=click.Path(dir_okay=False), help="YAML settings; options win.")
@click.option("--engine", type=ENGINE, help="Render engine (auto: the quickest here).")
@click.option("--require-gpu", is_flag=True, default=None, help="Fail unless a GPU renders.")
@click.option(
    "--hop", type=Whole(0, 1_000_000), help="Render in steps of N samples (0: every chunk)."
)
@click.option(
    "--montage",
    help="Render these electrodes instead: a standard montage (standard_1005, biosemi256), a file "
    "of positions (.tsv .csv .sfp .json), or a list (cap,PO5,POz,NEW=x/y/z).",
)
@click.option("--reference", help="Output: input, average, a channel, or A+B (linked).")
@click.option(
    "--measured", type=click.Choice(["pass", "render"]), help="LD channels: pass on or render."
)
@click.option(
    "--gap-policy", type=click.Choice(["nan", "hold", "skip"]), help="Fill long gaps with."
)
@click.option(
    "--late-policy",
    type=click.Choice(["skip_to_newest", "catch_up"]),
    help="What to do with samples beyond the latency budget.",
)
@click.option(
    "--latency-budget",
    type=FiniteFloat(0, 3600, min_open=True),
    help="Latency budget in S seconds (1).",
)
@click.option("--duration", type=DURATION_S, help="Stop after S seconds.")
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
    help="Answer /metrics, /healthz and /readyz on this port (0: any free one). Off by default.",
)
@click.option("--http-host", help="Address to answer on (127.0.0.1); others get a warning.")
@click.option("--dashboard", is_flag=True, default=None, help="Show it live in a browser.")
@click.option(
    "--dashboard-port",
    type=Whole(0, 65_535),
    help="Port of the dashboard (8050; 0: any free one).",
)
@click.option("--dashboard-host", help="Its address (127.0.0.1); others get a warning.")
@lsl_options("How far LSL looks.")
@click.option("--quiet", is_flag=True, help="No live status on the terminal.")
def serve(bundle: str, config: str | None, quiet: bool, **options: Any) -> None:
    """Serve BUNDLE: read a live LD stream, publish HD channels with the same stamps.

    The HD outlet stays up while the source is away. SIGINT, SIGTERM or a closed terminal ends it
    with exit 0 after everything owed has been published; a second SIGINT at once, with 130.
    """
    one_blas_thread()
    from emag_rt.engine.stopping import stop_signals

    # Before the imports below, which take most of the start.
    with stop_signals() as stop:
        from emag_rt.engine.daemon import run_daemon
        from emag_rt.engine.settings import load_settings

        overrides = {_PATHS[key]: value for key, value in options.items()}
        settings = load_settings(config, overrides)
        with _dashboard(bundle, settings):
            run_daemon(bundle, settings, quiet=quiet, stop=stop)


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
        "--unit": source.unit,
        "--scope": settings.lsl.scope,
        "--session-id": settings.lsl.session_id,
    }
    pairs = [f"{option}={value}" for option, value in given.items() if value]
    with beside([*pairs, "--", settings.output.name], wanted.host, wanted.port) as url:
        click.echo(f"dashboard: {url}", err=True)
        yield
