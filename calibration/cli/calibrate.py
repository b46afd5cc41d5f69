"""``emag-rt calibrate``: fit a subject's field."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from calibration.cli.live_options import LIVE_NAMES, LiveOptions, live_options, live_request
from calibration.cli.no_hd import (
    NO_HD_NAMES,
    NoHdOptions,
    make_without_hd,
    missing_ld,
    no_hd_options,
    refuse_without_flag,
)
from calibration.cli.paper_options import (
    PAPER_NAMES,
    FitOptions,
    calibration_settings,
    paper_options,
)
from emag_rt.cli.completion import RECORDING
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import (
    BAND_HZ,
    LOOK_AHEAD_S,
    RATE_HZ,
    SEED,
    FiniteFloat,
    Whole,
    naming_options,
    tell_templates,
)
from emag_rt.cli.outputs import say_next
from emag_rt.errors import EmagError
from emag_rt.system import command_line

if TYPE_CHECKING:
    from calibration.estimator import FieldCalibrator
    from calibration.live.channels import LiveChannels
    from calibration.live.record_live import LiveRequest
    from calibration.result import Calibration
    from calibration.settings.calibration_settings import CalibrationSettings


class CalibrateOptions(LiveOptions, FitOptions, NoHdOptions):
    """Values of all options but those that the command names itself."""


@click.command(
    cls=Manual,
    groups={
        "What is calibrated": ("ld", "out", "headset", "channels", "sfreq", "band", "look_ahead_s"),
        "How": (
            "refine",
            "prior",
            "networks",
            "anchor",
            "window_s",
            "grid_resolution",
            "grid_support",
            "seed",
            "device",
            "quiet",
        ),
        "The report": ("report", "with_report"),
        "From a live stream": LIVE_NAMES,
        "Without an HD session": NO_HD_NAMES,
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
            "two minutes of a live stream, for the channels of a headset",
            "emag-rt calibrate --stream AMP-1234 --ld @headset:openbci-cyton-8 --out s01.emag",
        ),
        (
            "the closed form alone, in seconds and without torch",
            "emag-rt calibrate s01.edf --ld 16 --no-refine --out s01.emag",
        ),
        (
            "no HD cap at all: other people's field, for a headset",
            "emag-rt calibrate --no-hd --ld @headset:openbci-cyton-8 --hd biosemi64 --sfreq 250 "
            "--out any.emag",
        ),
    ),
    exits=(0, 1, 2, 3, 4, 7, 8, 9, 130, 143),
    meant={"--count": "--ld", "--source-id": "--stream"},
    see_also=(
        "emag-rt montage",
        "emag-rt evaluate",
        "emag-rt report",
        "emag-rt headsets",
        "docs/calibration-protocol.md",
        "docs/accuracy.md",
        "docs/without-hd.md",
    ),
)
@click.argument("recordings", nargs=-1, type=RECORDING)
@click.option(
    "--ld",
    help="LD channels: names (Fz,Cz,...), a count (spread evenly; with --no-hd the best places), "
    "@FILE of names, @headset:NAME (emag-rt headsets), or @stream:SOURCE, the live stream of the "
    "LD amplifier. Must be given.",
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
    help="Gradient refinement after the closed-form start (needs torch); with --no-hd the network "
    "of many people, upon their field (in the package: no torch).",
)
@click.option(
    "--prior",
    metavar="adult|none|FILE",
    help="Other people whose heads a short session leans on, by as much as helps: of the package, "
    "of a FILE that tools/studies/population made, or none (default: adult, where it can be used).",
)
@click.option(
    "--networks",
    type=click.Choice(["bag", "one"]),
    default="bag",
    show_default=True,
    help="What refinement keeps: all its networks, or one that they taught (under half the cost of "
    "rendering, up to about 1 % more error, longer to fit).",
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
@click.option(
    "--report",
    "report",
    type=click.Path(dir_okay=False),
    help="HTML report to write (default: beside the bundle).",
)
@click.option(
    "--no-report",
    "with_report",
    is_flag=True,
    flag_value=False,
    default=True,
    show_default=False,
    help="Write no report.",
)
@click.option("--open", "show", is_flag=True, help="Open the report in the browser.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@naming_options
@live_options
@no_hd_options
@paper_options
def calibrate(
    recordings: tuple[str, ...],
    ld: str | None,
    out: str,
    report: str | None,
    with_report: bool,
    show: bool,
    quiet: bool,
    band: tuple[float, float],
    **options: Unpack[CalibrateOptions],
) -> None:
    """Fit the field of one subject from HD RECORDINGS (anything that MNE reads), or a live stream.

    Record 2 to 5 minutes with the HD cap: rest with eyes open and closed, and what the subject
    will do later. LD channels are those worn later; every other channel is rendered from them.
    Channels that are marked bad, flat or wild, and stretches marked BAD, are not learned from.
    The bundle says what error to expect, beside the baselines.

    With --no-hd no HD session is needed: the field is that of other people, RECORDINGS (or
    --stream) hold LD channels alone and are optional, and --hd says what to render.

    Unfinished training is kept in OUT.partial: interrupted, the same command goes on from it.
    With --stream, the HD stream is recorded first, and the recording kept: OUT's name with
    _raw.fif; while it goes on, and if it is killed, with _raw.xdf. Interrupted twice, nothing
    else is kept.
    """
    # Threads that spin while they wait make torch several times slower on busy cores; must be
    # said before torch is first imported.
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")):
        os.environ.setdefault(name, value)
    from calibration.cli.progress import progress_bar
    from calibration.cli.report import open_report, report_target, write_report_of
    from calibration.live.ld_labels import read_ld
    from emag_rt.cli.options import check_bundle_output
    from emag_rt.montages.headsets import channel_names

    if not ld:
        raise missing_ld(options)
    request = live_request(recordings, ld, band, options, needs_signal=not options["no_hd"])
    check_bundle_output(out, recordings)
    target = report_target(out, report, with_report, recordings)
    names = channel_names(options["headset"], options["channels"])
    settings = replace(
        calibration_settings(band, options), names=None if request is not None else names
    )
    choice = read_ld(ld, options["timeout"])
    if choice.note:
        click.echo(choice.note, err=True)
    if options["no_hd"]:
        make_without_hd(recordings, choice, settings, request, (out, target), options, quiet)
        if show and target:
            open_report(target)
        if not quiet:
            say_next(("serve", out, "--source-id", "AMP-1234", "--dashboard"))
        return
    refuse_without_flag()
    if settings.sfreq is None and choice.sfreq is not None:
        settings = replace(settings, sfreq=choice.sfreq)
    if request is not None:
        recordings = (_record(request, choice.ld, settings, out, quiet),)
    with _kept_recording(recordings if request else (), ld, out):
        unfinished = Path(f"{out}.partial") if request is None else None
        calibrator = _fit(recordings, choice.ld, settings, unfinished, quiet)
        digest = calibrator.save(out)
    calibration = calibrator.result_
    for note in calibration.notes:
        click.echo(f"warning: {note}", err=True)
    tell_templates((r.path.name, r.template) for r in calibration.session.recordings)
    _summary(calibration, out, digest)
    if target:
        with progress_bar(quiet) as tell:
            verdict = write_report_of(calibration, digest, target, tell)
        if verdict is not None:
            click.echo(f"{target}: {verdict}")
            if show:
                open_report(target)
    if not quiet:
        _say_next(calibration, out, recordings, request is not None)


def _say_next(calibration: Calibration, out: str, recordings: Sequence[str], live: bool) -> None:
    from calibration.cli.report import left_out
    from emag_rt.core.grades import GOOD_NMSE

    commands = [
        ("evaluate", out, "HELD_OUT_RECORDING" if live else left_out(recordings)),
        ("serve", out, "--source-id", "AMP-1234"),
    ]
    if calibration.scores.methods["field"].nmse_unseen > GOOD_NMSE:
        # Nothing helps as much as other electrodes.
        count = str(len(calibration.session.ld))
        commands.insert(0, ("montage", *recordings, "--count", count, "--out", "names.txt"))
    say_next(*commands)


def _fit(
    recordings: Sequence[str],
    ld: int | list[str],
    settings: CalibrationSettings,
    unfinished: Path | None,
    quiet: bool,
) -> FieldCalibrator:
    from calibration.cli.progress import progress_bar
    from calibration.estimator import FieldCalibrator

    if unfinished is not None and unfinished.exists():
        click.echo(
            f"{unfinished.name} is there: going on from it, if it is of this calibration", err=True
        )
    with progress_bar(quiet) as tell:
        calibrator = FieldCalibrator(ld, settings, tell, unfinished)
        with _kept_work(calibrator):
            calibrator.fit(recordings)
    return calibrator


def _record(
    request: LiveRequest, ld: int | list[str], settings: CalibrationSettings, out: str, quiet: bool
) -> str:
    """Record a live stream; what would keep it from being fitted is said before it begins."""
    from calibration.live.record_live import record_live
    from calibration.session.ld_choice import choose_ld
    from emag_rt.frontend import design_band

    def check(channels: LiveChannels, sfreq: float) -> None:
        choose_ld(ld, channels.montage(), ())
        low_hz, high_hz = settings.band_hz
        design_band(low_hz, high_hz, settings.sfreq or sfreq)

    return str(record_live(request, out, check, quiet))


@contextlib.contextmanager
def _kept_recording(recordings: Sequence[str], ld: str, out: str) -> Iterator[None]:
    """Whatever becomes of the fit, tell where the live recording is, and how to fit it again."""
    try:
        yield
    except (EmagError, KeyboardInterrupt):
        for path in recordings:
            words = ("emag-rt", "calibrate", path, "--ld", ld, "--out", out)
            click.echo(
                f"the recording is kept: {command_line(words)} fits it (with the other "
                "options as before)",
                err=True,
            )
        raise


@contextlib.contextmanager
def _kept_work(calibrator: FieldCalibrator) -> Iterator[None]:
    """Tell whoever interrupts that the work is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        if calibrator.unfinished is not None:
            kept = calibrator.unfinished.name
            click.echo(f"interrupted; the same command goes on from {kept}", err=True)
        raise


def _summary(calibration: Calibration, out: str, digest: str) -> None:
    session, field = calibration.session, calibration.model.field
    ld = [session.montage.labels[i] for i in session.ld]
    click.echo(f"{out}: {len(ld)} LD channels ({', '.join(ld)}) -> {len(session.montage)} HD")
    click.echo(
        f"  {session.duration_s:.0f} s at {session.sfreq:g} Hz; "
        f"{field.n_points * field.n_gaussians} Gaussians, width "
        f"{calibration.field.width_mm:.3g} mm; {sum(calibration.timings.values()):.1f} s to fit"
    )
    click.echo(f"  NMSE on unseen channels, {calibration.scores.protocol}:")
    for name, score in calibration.scores.methods.items():
        click.echo(f"    {name:18s} {score.nmse_unseen:.4f}")
    click.echo(f"  SHA-256 {digest}")
