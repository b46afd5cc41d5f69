"""``emag-rt headsets``: the headsets whose channels are known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from emag_rt.cli.completion import complete_headset
from emag_rt.cli.manual import Manual

if TYPE_CHECKING:
    from emag_rt.montages.headsets import Headset


@click.command(
    cls=Manual,
    examples=(
        ("all of them", "emag-rt headsets"),
        ("what is known of one", "emag-rt headsets openbci-cyton-8"),
        ("for programs", "emag-rt headsets --json"),
    ),
    exits=(0, 2),
    see_also=("emag-rt calibrate", "docs/calibrating-live.md"),
)
@click.argument("names", nargs=-1, shell_complete=complete_headset)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def headsets(names: tuple[str, ...], as_json: bool) -> None:
    """List the headsets whose channels are known, or all that is known of NAMES.

    `calibrate --ld @headset:NAME` wears its electrodes; `calibrate --stream SOURCE --headset NAME`
    names the channels of a stream that does not.
    """
    from emag_rt.montages.headsets import headset_names, read_headset

    found = [read_headset(name) for name in names or headset_names()]
    if as_json:
        click.echo(json.dumps([headset.model_dump() for headset in found], indent=1))
    elif names:
        click.echo("\n\n".join(_full(headset) for headset in found))
    else:
        _table(found)


def _table(found: list[Headset]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("name", "EEG", "Hz", "headset"):
        table.add_column(column, no_wrap=column != "headset")
    for headset in found:
        rates = ", ".join(f"{rate:g}" for rate in headset.sfreq)
        table.add_row(headset.name, str(len(headset.labels)), rates, headset.title)
    Console().print(table)


def _full(headset: Headset) -> str:
    rates = ", ".join(f"{rate:g}" for rate in headset.sfreq)
    lines = [
        f"{headset.name}: {headset.title}",
        f"  EEG, {len(headset.labels)} channels: {', '.join(headset.labels)}",
        *([f"  not EEG: {', '.join(headset.not_eeg)}"] if headset.not_eeg else []),
        *([f"  the stream may say: {', '.join(headset.sends)}"] if headset.sends else []),
        f"  {rates} Hz; unit {headset.unit}; reference {headset.reference}",
        *([f"  LSL name {headset.lsl_name}"] if headset.lsl_name else []),
        *(f"  - {quirk}" for quirk in headset.quirks),
        f"  source: {headset.source}",
    ]
    return "\n".join(lines)
