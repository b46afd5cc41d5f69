"""``emag-rt import-checkpoint``: a checkpoint of the EMAG authors as a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emag_rt.cli.completion import RECORDING
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import BAND_HZ, RATE_HZ, FiniteFloat, Whole

if TYPE_CHECKING:
    from calibration.paper.checkpoint import GridIndex
    from emag_rt.bundle import Bundle

_POSITIVE = FiniteFloat(0, 1e9, min_open=True)


@click.command(
    name="import-checkpoint",
    cls=Manual,
    groups={
        "The checkpoint": (
            "ld",
            "hd",
            "sfreq",
            "n_window",
            "grid_resolution",
            "grid_support",
            "grid_index",
        ),
        "In the place of z-scores": ("statistics", "ld_scale_uv", "hd_scale_uv"),
        "The bundle": ("out", "band"),
    },
    examples=(
        (
            "scales from a recording of the wearer",
            "emag-rt import-checkpoint model.pt --hd @names.txt --ld Fz,Cz,Pz,Oz "
            "--statistics hd.fif --out s01.emag",
        ),
        (
            "scales given in µV",
            "emag-rt import-checkpoint model.pt --hd @names.txt --ld Fz,Cz,Pz,Oz "
            "--ld-scale-uv 12 --hd-scale-uv 15 --out s01.emag",
        ),
    ),
    exits=(0, 1, 2, 3, 4, 5, 9, 130, 143),
    see_also=("emag-rt calibrate --method paper", "emag-rt inspect", "docs/user-guide.md"),
)
@click.argument("checkpoint", type=click.Path(dir_okay=False))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Bundle to write.")
@click.option(
    "--ld",
    help="LD channels in the order of the network's inputs: names (Fz,Cz,...), or @FILE of names.",
)
@click.option(
    "--hd",
    help="HD labels in the order of electrode_pos: names, @FILE of names, or an MNE standard "
    "montage whose nearest electrodes lend theirs.",
)
@click.option("--sfreq", type=RATE_HZ, metavar="HZ", help="Rate in Hz (default: the dataset's).")
@click.option(
    "--n-window",
    type=Whole(2, 100_000),
    metavar="N",
    help="Samples in a window (default: the dataset's).",
)
@click.option(
    "--band",
    nargs=2,
    type=BAND_HZ,
    metavar="LO HI",
    default=(0.5, 45.0),
    show_default=True,
    help="Pass band of the causal front end in Hz.",
)
@click.option(
    "--statistics",
    type=RECORDING,
    help="Recording of the wearer: LD scales and covariance, and the output's unit, come from it.",
)
@click.option(
    "--ld-scale-uv", help="Standard deviation of the LD channels in µV: one number, or one each."
)
@click.option(
    "--hd-scale-uv", type=_POSITIVE, metavar="UV", help="µV of one unit of the network's output."
)
@click.option(
    "--grid-resolution",
    type=Whole(2, 64),
    metavar="N",
    help="Grid points along an axis, instead of the checkpoint's config.",
)
@click.option(
    "--grid-support",
    type=click.Choice(["cube", "sphere"]),
    help="Shape of the grid, instead of the checkpoint's config.",
)
@click.option(
    "--grid-index",
    type=click.Choice(["auto", "support", "cube"]),
    default="auto",
    show_default=True,
    help="What active_grid_idx counts: points of the support, or of the whole cube.",
)
def import_checkpoint(
    checkpoint: str,
    out: str,
    ld: str | None,
    hd: str | None,
    sfreq: float | None,
    n_window: int | None,
    ld_scale_uv: str | None,
    hd_scale_uv: float | None,
    band: tuple[float, float],
    statistics: str | None,
    grid_resolution: int | None,
    grid_support: str | None,
    grid_index: GridIndex,
) -> None:
    """Make a bundle of CHECKPOINT, a .pt file of the EMAG authors (arXiv 2605.29731).

    The field becomes one of the `window` anchor. The paper z-scores each channel in each window,
    which a live stream cannot; the bundle has fixed statistics instead (--statistics,
    --ld-scale-uv, --hd-scale-uv). Everything assumed is said.
    """
    from emag_rt.cli.options import check_output

    check_output("--out", out, [checkpoint, *([statistics] if statistics else [])], ".emag")
    from calibration.paper.checkpoint import read_checkpoint
    from calibration.paper.checkpoint_bundle import ImportSettings, checkpoint_bundle
    from emag_rt.bundle import save_bundle

    settings = ImportSettings(
        ld=_names("--ld", ld),
        hd=_montage_or_names(hd),
        sfreq=sfreq,
        n_window=n_window,
        band_hz=band,
        statistics=statistics,
        ld_scale_uv=_numbers(ld_scale_uv),
        hd_scale_uv=hd_scale_uv,
    )
    read = read_checkpoint(
        checkpoint,
        grid_resolution=grid_resolution,
        grid_support=grid_support,
        grid_index=grid_index,
    )
    click.echo("folding the mixture at each place of the window: may take minutes", err=True)
    bundle, notes = checkpoint_bundle(read, checkpoint, settings)
    digest = save_bundle(bundle, out)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    _summary(bundle, out, digest)


def _names(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    from calibration.session.ld_choice import read_ld_choice
    from emag_rt.errors import SettingsError

    choice = read_ld_choice(text)
    if isinstance(choice, int):
        raise SettingsError(
            f"{option} must name channels in the checkpoint's order, got the number {choice}."
        )
    return choice


def _montage_or_names(text: str | None) -> str | list[str] | None:
    if text is None or text.startswith("@") or "," in text:
        return _names("--hd", text)
    return text


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    from emag_rt.errors import SettingsError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--ld-scale-uv must be numbers joined by commas, got {text!r}."
        ) from error


def _summary(bundle: Bundle, out: str, digest: str) -> None:
    manifest, field = bundle.manifest, bundle.model.field
    ld = [e.label for e in manifest.ld]
    scales = bundle.model.scale_uv
    click.echo(f"{out}: {len(ld)} LD channels ({', '.join(ld)}) -> {len(manifest.hd)} HD")
    click.echo(
        f"  {field.n_points * field.n_gaussians} Gaussians ({field.n_points} points x "
        f"{field.n_gaussians}); windows of {manifest.n_window} samples at {manifest.sfreq:g} Hz"
    )
    click.echo(
        f"  fixed statistics in the place of z-scores in each window: LD {scales.min():.3g} to "
        f"{scales.max():.3g} µV, output {manifest.calibration['hd_scale_uv']:.3g} µV a unit"
    )
    click.echo(f"  SHA-256 {digest}")
