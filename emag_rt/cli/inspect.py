"""``emag-rt inspect``: what a bundle holds, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from emag_rt.cli.completion import BUNDLE
from emag_rt.cli.manual import Manual

if TYPE_CHECKING:
    from rich.console import Console

    from emag_rt.bundle import Bundle, Manifest

Facts = dict[str, int | str | list[str]]


@click.command(
    cls=Manual,
    examples=(
        ("for people", "emag-rt inspect s01.emag"),
        (
            "the error expected of each channel, for programs",
            "emag-rt inspect s01.emag --json | python -m json.tool",
        ),
    ),
    exits=(0, 1, 2, 5),
    see_also=("emag-rt evaluate", "emag-rt export", "docs/security.md"),
)
@click.argument("bundle", type=BUNDLE)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest and sizes as JSON.")
def inspect(bundle: str, as_json: bool) -> None:
    """Show what BUNDLE holds: montage, signal path, size of the field, scores, provenance.

    Everything in the file is checked as `serve` checks it; nothing in a bundle is ever run. The
    SHA-256 is the one that `calibrate` printed.
    """
    from emag_rt.bundle import load_bundle

    loaded = load_bundle(bundle)
    facts = _facts(loaded)
    if as_json:
        content = loaded.manifest.model_dump(mode="json")
        click.echo(json.dumps({**content, "facts": facts}, indent=1))
        return
    click.echo("\n".join(_verdict(loaded.manifest, bundle)) + "\n")
    _print(loaded.manifest, facts)


def _verdict(manifest: Manifest, path: str) -> tuple[str, str]:
    """What the bundle itself knows of its worth, and how to know better: two lines."""
    from emag_rt.core.grades import headline, percent
    from emag_rt.errors import visible

    score = f"emag-rt evaluate {visible(path)} RECORDING"
    field, _ = manifest.method_scores.get("field", (None, None))
    if field is None:
        return "Not known: this bundle has no scores.", f"To score it on HD recordings: {score}"
    if not manifest.hd_measured:
        told = (
            f"Usable with care at best: nobody's HD was measured, and about {percent(field)} of "
            "the power of the channels that are not worn is rendered wrongly."
        )
        return told, f"That is of other people. With an HD recording of the wearer: {score}"
    spline, _ = manifest.method_scores.get("spherical_spline", (None, None))
    _, told = headline(field, spline, manifest.calibrated_s, held_out=False)
    return told, f"That is within its own session. On another recording it is often more: {score}"


def _facts(bundle: Bundle) -> Facts:
    field, operator = bundle.model.field, bundle.operator
    n_weights = operator.weights.size + operator.taps.size
    if operator.hidden is not None:
        n_weights += operator.hidden.weights.size
        n_weights += sum(weight.size for weight, _ in operator.hidden.layers)
        n_weights += sum(b.weight.size + b.mix.size for b in operator.hidden.blocks)
    hidden = bundle.model.drive.hidden
    return {
        "sha256": bundle.sha256,
        "n_points": field.n_points,
        "n_gaussians_per_point": field.n_gaussians,
        "n_gaussians": field.n_points * field.n_gaussians,
        "n_hidden": 0 if hidden is None else int(hidden.readout.shape[1]),
        "folded_weights": int(n_weights),
        "context_samples": operator.n_context,
        "baselines": sorted(bundle.baselines),
    }


def _print(manifest: Manifest, facts: Facts) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    ld = [e.label for e in manifest.ld]
    bad = [e.label for e in manifest.hd if e.bad]
    low, high = manifest.frontend.band_hz
    # Text, not strings: rich would take [square brackets] in a label for markup.
    table = Table(title=Text(f"bundle {manifest.name or ''}".strip()), show_header=False)
    rows = {
        "format": str(manifest.format),
        "created": manifest.created,
        "HD session": _session_of(manifest),
        "rate": f"{manifest.sfreq:g} Hz",
        "LD channels": f"{len(ld)}: {', '.join(ld)}",
        "HD channels": f"{len(manifest.hd)}: {', '.join(e.label for e in manifest.hd)}",
        "bad in calibration": ", ".join(bad) or "none",
        "band": f"{low:g} to {high:g} Hz, causal",
        "anchor": manifest.anchor,
        "look-ahead": f"{manifest.look_ahead_samples} samples ({manifest.look_ahead_s:g} s)",
        "context": f"{facts['context_samples']} samples",
        "field": f"{facts['n_gaussians']} Gaussians ({facts['n_points']} points x "
        f"{facts['n_gaussians_per_point']}), {facts['n_hidden']} hidden units",
        "folded": f"{facts['folded_weights']} weights",
        "SHA-256": str(facts["sha256"]),
    }
    for key, value in rows.items():
        table.add_row(key, Text(value))
    console.print(table)
    _print_scores(console, manifest)
    if manifest.provenance:
        console.print(
            "provenance:", json.dumps(manifest.provenance, indent=1), highlight=False, markup=False
        )


def _session_of(manifest: Manifest) -> str:
    if manifest.hd_measured:
        return "of the wearer"
    people = manifest.calibration.get("population")
    facts = people if isinstance(people, dict) else {}
    text = f"none: nobody's HD was measured, the field is other people's ({facts.get('name', '?')}"
    return f"{ascii(text)[1:-1]}, {facts.get('n_people', '?')} people)"


def _print_scores(console: Console, manifest: Manifest) -> None:
    from rich.table import Table
    from rich.text import Text

    methods = manifest.method_scores
    if not methods:
        return
    table = Table(title=Text(f"scores: {ascii(manifest.scores.get('protocol', ''))[1:-1][:200]}"))
    for column in ("method", "NMSE unseen", "NMSE all"):
        table.add_column(column)
    for name, values in methods.items():
        table.add_row(Text(name), *("-" if v is None else f"{v:.4f}" for v in values))
    console.print(table)
    if manifest.left_out_nmse is not None:
        console.print(f"at electrodes nobody wore: NMSE {manifest.left_out_nmse:.4f} expected")
    if manifest.between_people is not None:
        low, high = manifest.between_people
        console.print(f"between people: NMSE {low:.3f} to {high:.3f} for eight of ten")
