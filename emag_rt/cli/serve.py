"""``emag-rt serve``: the daemon."""

from __future__ import annotations

import os
from typing import Any

import click

from emag_rt.cli.options import DURATION_S, ENGINE, FiniteFloat, Whole, lsl_options

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
@lsl_options("How far LSL looks.")
@click.option("--quiet", is_flag=True, help="No live status on the terminal.")
def serve(bundle: str, config: str | None, quiet: bool, **options: Any) -> None:
    """Serve BUNDLE: read a live LD stream, publish HD channels with the same stamps.

    The HD outlet stays up while the source is away. SIGINT, SIGTERM or a closed terminal ends it
    with exit 0 after everything owed has been published; a second SIGINT at once, with 130.
    """
    # One sample's matrix products are far too small to share among BLAS threads; this must be
    # said before NumPy is first imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from emag_rt.engine.stopping import stop_signals

    # Before the imports below, which take most of the start.
    with stop_signals() as stop:
        from emag_rt.engine.daemon import run_daemon
        from emag_rt.engine.settings import load_settings

        overrides = {_PATHS[key]: value for key, value in options.items()}
        run_daemon(bundle, load_settings(config, overrides), quiet=quiet, stop=stop)
