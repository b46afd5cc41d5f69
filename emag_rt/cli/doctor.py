"""``emag-rt doctor``: does this machine have what serving needs?"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from emag_rt.cli.manual import Manual
from emag_rt.cli.options import lsl_options
from emag_rt.streams.config import Scope

if TYPE_CHECKING:
    from emag_rt.cli.doctor_checks import Report


@click.command(
    cls=Manual,
    examples=(
        ("what works here", "emag-rt doctor"),
        ("LSL on this machine alone, for a script", "emag-rt doctor --scope machine --json"),
    ),
    exits={
        0: "LSL works",
        1: "it does not; the last line says what to do",
        2: "",
    },
    see_also=("emag-rt bench latency", "docs/troubleshooting.md"),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@lsl_options("How far LSL looks in the check.")
def doctor(as_json: bool, scope: Scope | None, session_id: str | None) -> None:
    """Check this machine: versions, LSL, and the execution providers that really start.

    Sends one sample over LSL from this process to itself, and starts each execution provider of
    ONNX Runtime once, where that is installed. A firewall between two machines is not seen from
    here.
    """
    from emag_rt.cli.doctor_checks import run_checks
    from emag_rt.streams.lsl import configure

    configure(scope, session_id)
    report = run_checks()
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report)
    if not report["ok"]:
        sys.exit(1)


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="emag-rt doctor", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, version in report["versions"].items():
        table.add_row("version", name, version or "[yellow]not installed[/yellow]")
    lsl = report["lsl"]
    if lsl["ok"]:
        detail = (
            f"found in {lsl['resolve_s']:.2f} s, connected in {lsl['connect_s']:.2f} s, one "
            f"sample in {lsl['round_trip_ms']:.2f} ms, clock offset {lsl['clock_offset_us']:.0f} µs"
        )
        table.add_row("LSL", "[green]works[/green]", detail)
    else:
        table.add_row("LSL", "[red]fails[/red]", lsl["error"])
    if not report["providers"]:
        table.add_row("ONNX Runtime", "[yellow]no[/yellow]", Text(report["onnx"]["reason"]))
    for provider in report["providers"]:
        state = "[green]starts[/green]" if provider["starts"] else "[yellow]does not start[/yellow]"
        table.add_row("ONNX Runtime", f"{provider['name']}: {state}", provider["reason"])
    native = report["native"]
    state = "[green]yes[/green]" if native["available"] else "[yellow]no[/yellow]"
    table.add_row("native", f"compiled engine: {state}", native["reason"])
    cuda = report["torch_cuda"]
    table.add_row("torch", "CUDA " + ("yes" if cuda["available"] else "no"), cuda["reason"])
    threads = report["threads"]
    table.add_row("CPU", f"{threads['cpus']} usable", f"BLAS threads: {threads['blas']}")
    verdict = "[green]ready[/green]" if report["ok"] else "[red]not ready[/red]"
    table.add_row("verdict", verdict, report["advice"])
    Console().print(table)
