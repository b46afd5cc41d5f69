"""``emag-rt calibrate``: fit a subject's field."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from calibration.cli.paper_options import PAPER_NAMES, paper_options, take_paper_options
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import BAND_HZ, LOOK_AHEAD_S, RATE_HZ, SEED, FiniteFloat, Whole


@click.command(
    cls=Manual,
    groups={
        "What is calibrated": ("ld", "out", "sfreq", "band", "look_ahead_s"),
        "How": (
            "refine",
            "anchor",
            "window_s",
            "grid_resolution",
            "grid_support",
            "seed",
            "device",
            "quiet",
        ),
        "The paper's model": ("method", *PAPER_NAMES),
    },
    examples=(
        (
            "16 electrodes, spread evenly",
            "emag-rt calibrate run1.vhdr run2.vhdr --ld 16 --out s01.emag",
        ),
        (
            "electrodes by name, for an amplifier of 250 Hz",
            "emag-rt calibrate s01.edf --ld Fz,Cz,Pz,C3,C4,P7,P8,Oz --sfreq 250 --out s01.emag",
        ),
        (
            "electrodes from emag-rt montage, waiting 50 ms for accuracy",
            "emag-rt calibrate s01.edf --ld @names.txt --look-ahead-s 0.05 --out s01.emag",
        ),
        (
            "the closed form alone, in seconds and without torch",
            "emag-rt calibrate s01.edf --ld 16 --no-refine --out s01.emag",
        ),
    ),
    exits=(0, 1, 2, 3, 4, 9, 130, 143),
    see_also=(
        "emag-rt montage",
        "emag-rt evaluate",
        "docs/calibration-protocol.md",
        "docs/accuracy.md",
    ),
)
@click.argument("recordings", nargs=-1, required=True, type=click.Path(dir_okay=True))
@click.option(
    "--ld",
    required=True,
    help="LD channels: names (Fz,Cz,...), a count (spread evenly), or @FILE of names.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Bundle to write.")
@click.option(
    "--sfreq", type=RATE_HZ, metavar="HZ", help="Rate of the LD amplifier in Hz (as recorded)."
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
    "--look-ahead-s",
    type=LOOK_AHEAD_S,
    metavar="S",
    default=0.0,
    show_default=True,
    help="Seconds of later signal to wait for: buys accuracy with latency.",
)
@click.option(
    "--refine/--no-refine",
    default=True,
    show_default=True,
    help="Gradient refinement after the closed-form start (needs torch).",
)
@click.option(
    "--anchor",
    type=click.Choice(["stream", "window"]),
    default="stream",
    show_default=True,
    help="Where time starts: stream, at each sample, for serving; window, for epochs locked "
    "to an event.",
)
@click.option(
    "--window-s",
    type=FiniteFloat(0.05, 60),
    metavar="S",
    default=1.0,
    show_default=True,
    help="Length of a window in seconds (--anchor window).",
)
@click.option(
    "--grid-resolution",
    type=Whole(2, 64),
    metavar="N",
    help="Grid points along an axis (default: enough; --method paper: 10).",
)
@click.option(
    "--grid-support",
    type=click.Choice(["sphere", "cube", "surface"]),
    default="sphere",
    show_default=True,
    help="Shape of the grid that carries the Gaussians.",
)
@click.option(
    "--seed", type=SEED, metavar="N", default=0, show_default=True, help="Of everything random."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where torch runs.",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@paper_options
def calibrate(
    recordings: tuple[str, ...],
    ld: str,
    out: str,
    quiet: bool,
    band: tuple[float, float],
    **options: Any,
) -> None:
    """Fit the field of one subject from HD RECORDINGS (anything that MNE reads).

    Record 2 to 5 minutes with the HD cap: rest with eyes open and closed, and what the subject
    will do later. LD channels are those worn later; every other channel is rendered from them.
    Channels that are marked bad, flat or wild, and stretches marked BAD, are not learned from.
    The bundle says what error to expect, beside the baselines.

    Unfinished training is kept in OUT.partial: interrupted, the same command goes on from it.
    """
    # Threads that spin while they wait make torch several times slower on busy cores; must be
    # said before torch is first imported.
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")):
        os.environ.setdefault(name, value)
    from calibration.cli.progress import progress_bar
    from calibration.estimator import FieldCalibrator
    from calibration.ld_choice import read_ld_choice
    from calibration.settings import CalibrationSettings
    from emag_rt.cli.options import check_output

    check_output("--out", out, recordings)
    settings = CalibrationSettings(band_hz=band, **take_paper_options(options))
    partial = Path(f"{out}.partial")
    if partial.exists():
        click.echo(
            f"{partial.name} is there: going on from it, if it is of this calibration", err=True
        )
    with progress_bar(quiet) as tell:
        calibrator = FieldCalibrator(read_ld_choice(ld), settings, tell, partial)
        with _kept_work(calibrator):
            calibrator.fit(recordings)
    digest = calibrator.save(out)
    for note in calibrator.notes_:
        click.echo(f"warning: {note}", err=True)
    _summary(calibrator, out, digest)


@contextlib.contextmanager
def _kept_work(calibrator: Any) -> Iterator[None]:
    """Tell whoever interrupts that the work is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        kept = getattr(calibrator, "partial_", None)
        if kept is not None and kept.used:
            click.echo(f"interrupted; the same command goes on from {kept.path.name}", err=True)
        raise


def _summary(calibrator: Any, out: str, digest: str) -> None:
    session, model = calibrator.session_, calibrator.model_
    ld = [session.montage.labels[i] for i in session.ld]
    click.echo(f"{out}: {len(ld)} LD channels ({', '.join(ld)}) -> {len(session.montage)} HD")
    click.echo(
        f"  {session.duration_s:.0f} s at {session.sfreq:g} Hz; "
        f"{model.field.n_points * model.field.n_gaussians} Gaussians, width "
        f"{calibrator.width_mm:.3g} mm; {sum(calibrator.timings_.values()):.1f} s to fit"
    )
    click.echo(f"  NMSE on unseen channels, {calibrator.scores_['protocol']}:")
    for name, score in calibrator.scores_["methods"].items():
        click.echo(f"    {name:18s} {score['nmse_unseen']:.4f}")
    click.echo(f"  SHA-256 {digest}")
