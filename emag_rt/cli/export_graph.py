"""``emag-rt export``: the folded field of a bundle as an ONNX graph."""

from __future__ import annotations

import json

import click

from emag_rt.cli.completion import BUNDLE
from emag_rt.cli.manual import Manual


@click.command(
    cls=Manual,
    examples=(
        ("for a program in C++ or another language", "emag-rt export s01.emag --onnx s01.onnx"),
    ),
    exits=dict.fromkeys((0, 1, 2, 5, 9, 130, 143), "") | {6: "the package onnx is not installed"},
    see_also=("emag-rt inspect", "docs/other-runtimes.md"),
)
@click.argument("bundle", type=BUNDLE)
@click.option(
    "--onnx",
    "out",
    required=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Graph to write: NAME.onnx.",
)
def export(bundle: str, out: str) -> None:
    """Write what BUNDLE renders as an ONNX graph, for programs that do without emag-rt.

    The graph takes LD channels that are filtered already, with the samples before them, and gives
    HD channels, measured ones passed through. Channel names, rate and filter are in its metadata.
    Needs the package onnx (pip install 'emag-rt[onnx]').
    """
    from emag_rt.cli.options import check_output

    check_output("--onnx", out, [bundle], ".onnx")
    from emag_rt.bundle import load_bundle
    from emag_rt.errors import EngineError
    from emag_rt.files import replacing

    try:
        from emag_rt.render.onnx_graph import build_graph
    except ImportError as error:
        raise EngineError(
            f"--onnx: the package onnx must be installed: pip install 'emag-rt[onnx]' ({error})."
        ) from error
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    labels = tuple(electrode.label for electrode in manifest.hd)
    notes = {
        "sfreq": repr(manifest.sfreq),
        "ld": json.dumps([electrode.label for electrode in manifest.ld]),
        "hd": json.dumps(labels),
        "sos": json.dumps(manifest.frontend.sos),
        "bundle_sha256": loaded.sha256,
    }
    graph = build_graph(loaded.operator, loaded.measured_rows(labels), notes)
    with replacing(out, "--onnx") as beside:
        beside.write_bytes(graph)
    click.echo(
        f"{out}: {len(manifest.ld)} LD to {len(labels)} HD channels, {len(graph) / 1e6:.1f} MB, "
        f"{loaded.operator.n_context} samples of context"
    )
