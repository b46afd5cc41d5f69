"""``emag-rt upsample``: the live path over a recording."""

from __future__ import annotations

import click


@click.command()
@click.argument("bundle", type=click.Path(dir_okay=False))
@click.argument("recording", type=click.Path(dir_okay=False))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="OUT_raw.fif")
@click.option(
    "--montage",
    help="Render these electrodes instead: an MNE standard montage "
    "(standard_1005) or a file of positions.",
)
@click.option(
    "--engine", type=click.Choice(["onnx", "packed", "direct"]), default="onnx", show_default=True
)
@click.option(
    "--reference",
    default="input",
    show_default=True,
    help="input, average, a channel, or A+B (linked).",
)
@click.option(
    "--measured", type=click.Choice(["pass", "render"]), default="pass", show_default=True
)
def upsample(
    bundle: str,
    recording: str,
    out: str,
    montage: str | None,
    engine: str,
    reference: str,
    measured: str,
) -> None:
    """Render HD channels for RECORDING, which needs only the LD channels of BUNDLE.

    The engine and the numbers are those of `serve`: causal, sample by sample.
    """
    from emag_rt.cli.options import check_output

    check_output("--out", out, [bundle, recording], ".fif")
    from emag_rt.bundle import load_bundle
    from emag_rt.engine.offline import upsample_recording
    from emag_rt.recordings.montages import read_montage

    loaded = load_bundle(bundle)
    electrodes = None if montage is None else read_montage(montage, loaded.manifest.head)
    result = upsample_recording(
        loaded,
        recording,
        out,
        montage=electrodes,
        engine=engine,
        reference=reference,
        measured=measured,
    )
    click.echo(
        f"{out}: {result.n_channels} channels ({result.n_measured} measured, the others "
        f"rendered), {result.duration_s:.1f} s at {result.sfreq:g} Hz, "
        f"{result.speed:.0f} x real time"
    )
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
