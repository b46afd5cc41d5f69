"""``emag-rt streams``: what is in sight, and what it would match."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from emag_rt.cli.completion import BUNDLE
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import FiniteFloat, lsl_options
from emag_rt.streams.config import Scope, session_id_in_use

if TYPE_CHECKING:
    from emag_rt.bundle import Bundle
    from emag_rt.streams.lsl.survey import Seen

_WIDTH = 80
_OFF = 0.03


@click.command(
    cls=Manual,
    examples=(
        ("before a participant arrives", "emag-rt streams"),
        ("which of them fits a bundle", "emag-rt streams --bundle s01.emag"),
        ("for a script", "emag-rt streams --json"),
    ),
    exits={0: "at least one stream was in sight", 2: "", 5: "", 7: "no stream was in sight"},
    see_also=("emag-rt serve --check", "emag-rt doctor", "docs/troubleshooting.md"),
)
@click.option(
    "--bundle",
    "bundles",
    type=BUNDLE,
    multiple=True,
    help="Say whether each stream fits this bundle, and why not. May be given again.",
)
@click.option(
    "--seconds",
    type=FiniteFloat(0.2, 60),
    default=2.0,
    metavar="S",
    help="Listen to each stream for S seconds, to all at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@lsl_options("How far LSL looks.")
def streams(
    bundles: tuple[str, ...],
    seconds: float,
    as_json: bool,
    scope: Scope | None,
    session_id: str | None,
) -> None:
    """List every LSL stream in sight: what it declares, and what it really sends.

    Rate declared and measured, labels, unit, amplitude, reference, and how old stamps are when
    they arrive. Nothing is changed and nothing published.
    """
    from emag_rt.bundle import load_bundle
    from emag_rt.streams.lsl import configure
    from emag_rt.streams.lsl.discovery import all_streams
    from emag_rt.streams.lsl.survey import survey

    known = {path: load_bundle(path) for path in bundles}
    configure(scope, session_id)
    seen = sorted(survey(all_streams(), seconds), key=_order)
    fits = [{path: _misfit(one, bundle) for path, bundle in known.items()} for one in seen]
    if as_json:
        found = [_facts(one, fit) for one, fit in zip(seen, fits, strict=True)]
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for one, fit in zip(seen, fits, strict=True):
            _show(one, fit)
    if not seen:
        in_use = f" ({used})" if (used := session_id_in_use()) else ""
        click.echo(
            "no LSL stream is in sight. Is the amplifier's LSL outlet running, in the same LSL "
            f"session{in_use}, and does the firewall let LSL through? `emag-rt doctor` checks this "
            "machine.",
            err=True,
        )
        sys.exit(7)


def _order(seen: Seen) -> tuple[bool, str, str]:
    stream = seen.format
    return stream.type.lower() != "eeg", stream.name, stream.source_id


def _facts(seen: Seen, fits: dict[str, str]) -> dict[str, object]:
    stream = seen.format
    return {
        "name": stream.name,
        "type": stream.type,
        "source_id": stream.source_id,
        "hostname": stream.hostname,
        "format": stream.channel_format,
        "n_channels": stream.n_channels,
        "labels": list(stream.labels),
        "declared_hz": stream.sfreq,
        "measured_hz": seen.measured_hz,
        "units": sorted(set(stream.units)),
        "amplitude": seen.amplitude,
        "flat_channels": seen.flat,
        "reference": stream.reference,
        "age_s": seen.age_s,
        "trouble": seen.trouble,
        "bundles": fits,
    }


def _misfit(seen: Seen, bundle: Bundle) -> str:
    """Empty where the stream fits; else why it does not."""
    from emag_rt.engine.matching import match_input
    from emag_rt.errors import StreamMismatch

    if seen.format.channel_format == "string":
        return "carries texts, not numbers"
    try:
        match_input(seen.format, bundle)
    except StreamMismatch as error:
        return str(error)
    return ""


def _show(seen: Seen, fits: dict[str, str]) -> None:
    stream = seen.format
    click.secho(f"{stream.name!r}  {stream.type or 'no type'}", bold=True)
    how = (
        f"--source-id {stream.source_id}"
        if stream.source_id
        else f"--source-name {stream.name} (no source id)"
    )
    _line("read it with", f"{how}   host {stream.hostname}")
    named = ", ".join(stream.labels) or "without labels"
    _line("channels", f"{stream.n_channels} {stream.channel_format}: {named}")
    _line("rate", _rate(stream.sfreq, seen.measured_hz))
    if seen.amplitude is not None:
        _line("amplitude", _amplitude(seen, seen.amplitude))
    if stream.reference:
        _line("reference", stream.reference)
    if seen.age_s is not None:
        _line("stamps", f"{seen.age_s * 1e3:.0f} ms old when they arrive")
    if seen.trouble:
        _line("but", seen.trouble)
    for path, why in fits.items():
        _line("does not fit" if why else "fits", f"{path}{': ' + why if why else ''}")
    click.echo("")


def _rate(declared: float, measured: float | None) -> str:
    text = f"{declared:g} Hz declared" if declared else "irregular"
    if measured is not None:
        text += f", {measured:.1f} measured"
        # Over two seconds, a chunk more or less makes one or two percent.
        if declared and abs(measured / declared - 1.0) > _OFF:
            text += ": NOT what it declares"
    return text


def _amplitude(seen: Seen, amplitude: float) -> str:
    unit = "/".join(sorted(set(seen.format.units))) or "(no unit declared)"
    text = f"{amplitude:.3g} {unit} (median of the channels, robust)"
    if seen.flat:
        text += f"; {seen.flat} of {seen.format.n_channels} channels are flat"
    return text


def _line(name: str, text: str) -> None:
    lines = textwrap.wrap(text, _WIDTH - 16, break_long_words=False) or [""]
    click.echo(f"  {name:<14}{lines[0]}")
    for line in lines[1:]:
        click.echo(f"{'':16}{line}")
