"""``emag-rt upsample``: the live path over a recording."""

from __future__ import annotations

import click

from emag_rt.cli.completion import BUNDLE, RECORDING, complete_montage
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import ENGINE, MIX, STATISTICS, naming_options, tell_templates


@click.command(
    cls=Manual,
    examples=(
        (
            "a recording of the LD channels, as it would have been rendered live",
            "emag-rt upsample s01.emag ld.edf --out hd_raw.fif",
        ),
        (
            "at electrodes nobody wore, in average reference",
            "emag-rt upsample s01.emag ld.edf --out hd_raw.fif --montage biosemi64 "
            "--reference average",
        ),
        (
            "an HD recording as it would have been served, to train a decoder on",
            "emag-rt upsample s01.emag run4.edf --out train_raw.fif --train-like-served",
        ),
    ),
    exits=(0, 1, 2, 3, 5, 6, 8, 9, 130, 143),
    see_also=("emag-rt serve", "emag-rt evaluate", "docs/user-guide.md"),
)
@click.argument("bundle", type=BUNDLE)
@click.argument("recording", type=RECORDING)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False),
    help="Recording to write: NAME_raw.fif.",
)
@click.option(
    "--montage",
    shell_complete=complete_montage,
    help="Render these electrodes instead: a standard montage (standard_1005, biosemi256), a file "
    "of positions (.tsv .csv .json, or any format MNE reads), or a list (cap,PO5,NEW=x/y/z, in "
    "mm).",
)
@click.option(
    "--engine",
    type=ENGINE,
    default="auto",
    show_default=True,
    help="Render engine; auto: the quickest of native and packed for a sample, with a GPU of onnx "
    "and torch, too.",
)
@click.option(
    "--reference",
    default="input",
    show_default=True,
    help="Reference of the output: input, average, a channel, or A+B (linked).",
)
@click.option(
    "--measured",
    type=click.Choice(["pass", "render"]),
    default="pass",
    show_default=True,
    help="LD channels: pass on, filtered, or render as well.",
)
@click.option(
    "--statistics",
    type=STATISTICS,
    default="estimate",
    show_default=True,
    help="Rendered channels: as near as can be (estimate), with the covariance of measured ones "
    "(matched), or besides with noise for what is missing (simulated).",
)
@click.option(
    "--statistics-mix",
    type=MIX,
    default=1.0,
    show_default=True,
    metavar="M",
    help="How far they go there: 0 is the estimate, 1 all the way.",
)
@click.option(
    "--train-like-served",
    is_flag=True,
    help="RECORDING is HD: render it from its own LD channels, so that a decoder is trained on "
    "what it will read. Bad LD channels are found as they are live, not taken from the file.",
)
@click.option(
    "--mismatch",
    type=click.Choice(["refuse", "warn"]),
    default="refuse",
    show_default=True,
    help="When amplitudes are over 5 times larger or smaller than the calibration's.",
)
@naming_options
def upsample(
    bundle: str,
    recording: str,
    out: str,
    montage: str | None,
    engine: str,
    reference: str,
    measured: str,
    statistics: str,
    statistics_mix: float,
    train_like_served: bool,
    headset: str | None,
    channels: str | None,
    mismatch: str,
) -> None:
    """Render HD channels for RECORDING, which needs only the LD channels of BUNDLE.

    The engine and the numbers are those of `serve`: causal, sample by sample. Annotations are
    carried over, channels marked as bad are filled as they would be live, and stretches without
    a number are annotated BAD_no_data.
    """
    from emag_rt.cli.options import check_output

    check_output("--out", out, [bundle, recording], ".fif")
    from emag_rt.bundle import load_bundle
    from emag_rt.engine.offline import upsample_recording
    from emag_rt.montages.headsets import channel_names

    result = upsample_recording(
        load_bundle(bundle),
        recording,
        out,
        montage=montage,
        engine=engine,
        reference=reference,
        measured=measured,
        statistics=statistics,
        statistics_mix=statistics_mix,
        train_like_served=train_like_served,
        names=channel_names(headset, channels),
        mismatch=mismatch,
    )
    click.echo(
        f"{out}: {result.n_channels} channels ({result.n_measured} measured, the others "
        f"rendered), {result.duration_s:.1f} s at {result.sfreq:g} Hz, "
        f"{result.speed:.0f} x real time"
    )
    tell_templates([(recording, result.template)])
    if montage is not None:
        click.echo(f"montage: {result.montage_note}")
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
