"""``emag-rt montage``: the electrodes worth wearing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibration.cli.progress import progress_bar
from emag_rt.cli.completion import RECORDING
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import (
    BAND_HZ,
    LOOK_AHEAD_S,
    RATE_HZ,
    SEED,
    Whole,
    naming_options,
    tell_templates,
)
from emag_rt.cli.outputs import say_next

if TYPE_CHECKING:
    from calibration.electrodes.choice import MontageChoice
    from calibration.regression.lag_grams import Reference


@click.command(
    cls=Manual,
    groups={
        "The choice": ("count", "must", "forbid", "cap", "reference", "curve"),
        "Outputs": ("out", "picture", "quiet"),
        "The signal": ("headset", "channels", "sfreq", "band_hz", "look_ahead_s"),
        "The search": ("n_starts", "seed"),
    },
    examples=(
        (
            "16 of the cap's electrodes, with a picture",
            "emag-rt montage run1.edf run2.edf --count 16 --out names.txt --picture head.png",
        ),
        (
            "how error falls with each electrode more; Cz must be worn",
            "emag-rt montage run1.edf --count 16 --curve --must Cz",
        ),
        (
            "for a headset that has 10-20 places only, without frontal ones",
            "emag-rt montage run1.edf --count 8 --cap standard_1020 --forbid Fp1,Fp2",
        ),
    ),
    exits=(0, 1, 2, 3, 4, 9, 130, 143),
    meant={"--number": "--count", "--n": "--count", "--ld": "--count"},
    see_also=("emag-rt calibrate", "docs/choosing-electrodes.md"),
)
@click.argument("recordings", nargs=-1, required=True, type=RECORDING)
@click.option(
    "--count", required=True, type=Whole(2, 10_000), metavar="N", help="Electrodes to wear."
)
@click.option("--must", default="", help="Channels that must be worn: Fpz,Cz,...")
@click.option("--forbid", default="", help="Channels that must not be worn.")
@click.option("--cap", help="Only labels of this standard montage (standard_1020, biosemi32, ...).")
@click.option(
    "--out", type=click.Path(dir_okay=False), help="Names to write, for --ld @FILE (- for stdout)."
)
@click.option("--picture", type=click.Path(dir_okay=False), help="Picture of the head to write.")
@click.option("--curve", is_flag=True, help="Choose and score smaller sets too.")
@click.option(
    "--reference",
    type=click.Choice(["average", "ld-mean"]),
    default="average",
    show_default=True,
    help="What the error to be lowered is relative to.",
)
@click.option(
    "--sfreq", type=RATE_HZ, metavar="HZ", help="Rate of the LD amplifier in Hz (as recorded)."
)
@click.option(
    "--band",
    "band_hz",
    nargs=2,
    type=BAND_HZ,
    metavar="LO HI",
    default=(0.5, 45.0),
    show_default=True,
    help="Pass band of the causal front end in Hz.",
)
@click.option(
    "--look-ahead-s",
    type=LOOK_AHEAD_S,
    metavar="S",
    default=0.0,
    show_default=True,
    help="Seconds of later signal that the field will wait for.",
)
@click.option(
    "--starts",
    "n_starts",
    type=Whole(0, 1000),
    metavar="N",
    default=4,
    show_default=True,
    help="Random sets to begin the search with, beside two good ones.",
)
@click.option(
    "--seed", type=SEED, metavar="N", default=0, show_default=True, help="Of the random sets."
)
@naming_options
@click.option("--quiet", is_flag=True, help="No progress bar.")
def montage(
    recordings: tuple[str, ...],
    must: str,
    forbid: str,
    out: str | None,
    picture: str | None,
    quiet: bool,
    sfreq: float | None,
    band_hz: tuple[float, float],
    look_ahead_s: float,
    count: int,
    cap: str | None,
    curve: bool,
    reference: Reference,
    n_starts: int,
    seed: int,
    headset: str | None,
    channels: str | None,
) -> None:
    """Choose which channels of a subject's HD RECORDINGS are worth wearing.

    Which electrodes are worn matters more than any model. Bad and bridged channels are not
    offered.

    The errors are of the closed-form field, cross-validated on blocks of time in the very session
    that the electrodes are chosen from: mildly optimistic. Feed the result to
    `calibrate --ld @FILE`, and `evaluate` on another run.
    """
    from calibration.electrodes.choice import choose_montage
    from calibration.electrodes.offer import MontageRequest
    from calibration.settings.calibration_settings import CalibrationSettings
    from emag_rt.montages.headsets import channel_names

    _check_outputs(out, picture, recordings)
    settings = CalibrationSettings(
        sfreq=sfreq,
        band_hz=band_hz,
        look_ahead_s=look_ahead_s,
        names=channel_names(headset, channels),
    )
    request = MontageRequest(
        count, _names(must), _names(forbid), cap, reference, curve, n_starts, seed
    )
    with progress_bar(quiet) as tell:
        choice = choose_montage(recordings, request, settings, tell)
    for note in choice.warnings:
        click.echo(f"warning: {note}", err=True)
    tell_templates(choice.templates)
    _print(choice)
    if out != "-":
        click.echo(",".join(choice.labels))
    if out:
        _write(out, choice)
    if picture:
        _draw(picture, choice)
    worn = f"@{out}" if out and out != "-" else ",".join(choice.labels)
    if not quiet:
        say_next(("calibrate", *recordings, "--ld", worn, "--out", "s01.emag"))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _check_outputs(out: str | None, picture: str | None, recordings: tuple[str, ...]) -> None:
    from emag_rt.cli.options import check_output
    from emag_rt.errors import SettingsError

    if out:
        check_output("--out", out, recordings)
    if picture:
        check_output("--picture", picture, [*recordings, *([out] if out else [])])
        if Path(picture).suffix.lower() not in (".png", ".pdf", ".svg"):
            raise SettingsError(f"--picture must end with .png, .pdf or .svg, got {picture}.")


def _write(out: str, choice: MontageChoice) -> None:
    from emag_rt.files import write_text

    score = choice.chosen[max(choice.chosen)].nmse["average"]
    lines = [
        f"# {len(choice.labels)} electrodes chosen by emag-rt montage; cross-validated NMSE "
        f"{score['all']:.4f} (all channels, average reference), {score['unseen']:.4f} (unseen)",
        *choice.labels,
    ]
    if out == "-":
        click.echo("\n".join(lines))
    else:
        write_text(out, "\n".join(lines) + "\n", "--out")


def _draw(picture: str, choice: MontageChoice) -> None:
    from calibration.electrodes.picture import save_montage_picture
    from emag_rt.files import replacing

    with replacing(picture, "--picture") as beside:
        save_montage_picture(choice, beside)


def _print(choice: MontageChoice) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="NMSE of the closed-form field, cross-validated on blocks of time",
        caption="mildly optimistic: the electrodes were chosen on the same session",
    )
    table.add_column("worn", justify="right")
    for column in ("all", "unseen", "all, LD mean", "unseen, LD mean", "all, spread evenly"):
        table.add_column(column, justify="right")
    for size, score in sorted(choice.chosen.items()):
        values = (
            *(score.nmse["average"][part] for part in ("all", "unseen")),
            *(score.nmse["ld-mean"][part] for part in ("all", "unseen")),
            choice.spread[size].nmse["average"]["all"],
        )
        table.add_row(str(size), *(f"{value:.4f}" for value in values))
    Console(stderr=True).print(table)
