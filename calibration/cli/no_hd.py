"""``emag-rt calibrate --no-hd``: its options, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict, TypeVar

import click

from emag_rt.cli.completion import complete_montage
from emag_rt.cli.options import refuse_idle
from emag_rt.errors import SettingsError

if TYPE_CHECKING:
    from calibration.cli.calibrate import CalibrateOptions
    from calibration.live.channels import LiveChannels
    from calibration.live.ld_labels import LdChoice
    from calibration.live.record_live import LiveRequest
    from calibration.population.no_hd import NoHdCalibration
    from calibration.settings.calibration_settings import CalibrationSettings

_F = TypeVar("_F", bound=Callable[..., object])
_OWN = ("hd", "population")
NO_HD_NAMES = ("no_hd", *_OWN)
"""Parameters of the options below."""
# What is fitted to an HD session, and what only an HD session can be fitted with.
_NEEDS_HD = (
    "prior",
    "networks",
    "anchor",
    "window_s",
    "grid_resolution",
    "grid_support",
    "seed",
    "device",
    "method",
)


class NoHdOptions(TypedDict):
    """Values of the options below."""

    no_hd: bool
    hd: str | None
    population: str


def no_hd_options(command: _F) -> _F:
    """Add ``--no-hd`` and what belongs to it to a command."""
    for option in reversed(
        (
            click.option(
                "--no-hd",
                is_flag=True,
                help="Use other people's field: no HD session is needed. RECORDINGS (or --stream) "
                "then hold the LD channels, for the wearer's scale and noise, and may be left out.",
            ),
            click.option(
                "--hd",
                shell_complete=complete_montage,
                help="Electrodes to render, with --no-hd: a standard montage (standard_1020, "
                "biosemi64), a file of positions, or names (Fz,Cz,NEW=x/y/z, in mm).",
            ),
            click.option(
                "--population",
                default="adult",
                show_default=True,
                help="Whose field, with --no-hd: a name, or a file that "
                "tools/studies/population made.",
            ),
        )
    ):
        command = option(command)
    return command


def missing_ld(options: CalibrateOptions) -> Exception:
    """What to say where ``--ld`` is missing: what could be worn, of what is in sight."""
    if not options["no_hd"]:
        context = click.get_current_context()
        (ld,) = [p for p in context.command.params if p.name == "ld"]
        return click.MissingParameter(ctx=context, param=ld)
    from emag_rt.cli.which_source import could_be_worn

    return SettingsError(
        "--ld must say what is worn with --no-hd, got nothing. "
        + could_be_worn(options["scope"], options["session_id"])
    )


def refuse_without_flag() -> None:
    """Refuse what would do nothing without ``--no-hd``."""
    refuse_idle(_OWN, "go with --no-hd")


def make_without_hd(
    recordings: Sequence[str],
    choice: LdChoice,
    settings: CalibrationSettings,
    request: LiveRequest | None,
    outputs: tuple[str, str],
    options: NoHdOptions,
    quiet: bool,
) -> None:
    """Make the bundle and its report.

    Parameters
    ----------
    recordings : sequence of str
        LD recordings; may be empty.
    choice : LdChoice
        LD channels.
    settings : CalibrationSettings
        Rate, band and look-ahead.
    request : LiveRequest or None
        LD stream to record first.
    outputs : tuple of (str, str)
        Bundle and report; an empty report is not written.
    options : NoHdOptions
        Those above.
    quiet : bool
        No progress bar.

    Raises
    ------
    EmagError
        If something is missing, or cannot be used; says what to do.
    """
    refuse_idle(_NEEDS_HD, "go with an HD session, got --no-hd")
    hd = options["hd"]
    if not hd:
        raise SettingsError(
            "--hd must say which electrodes to render with --no-hd, got none. Such as: "
            "--hd standard_1020"
        )
    from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
    from emag_rt.bundle import save_bundle

    out, target = outputs
    if request is not None:
        recordings = (_record(request, choice, out, quiet),)
    made = calibrate_without_hd(
        NoHdSettings(
            choice.ld if isinstance(choice.ld, int) else tuple(choice.ld),
            hd,
            _rate(settings, choice, recordings),
            settings.band_hz,
            settings.look_ahead_s,
            options["population"],
            settings.refine,
        ),
        recordings,
    )
    digest = save_bundle(made.bundle, out)
    for note in made.notes:
        click.echo(f"warning: {note}", err=True)
    _summary(made, out, digest)
    if target:
        from calibration.report.without_hd import report_without_hd

        click.echo(f"{target}: {report_without_hd(made, digest, target).headline}")


def _rate(settings: CalibrationSettings, choice: LdChoice, recordings: Sequence[str]) -> float:
    """Of the option, of the stream or headset that was named, or of the first recording."""
    found = settings.sfreq or choice.sfreq
    if found is None and recordings:
        from emag_rt.recordings.read import read_recording

        found = read_recording(recordings[0], need_positions=False).sfreq
    if found is None:
        raise SettingsError(
            "--sfreq must give the rate of the LD amplifier in Hz where there is neither an LD "
            "recording nor --ld @stream:SOURCE, got none."
        )
    return found


def _record(request: LiveRequest, choice: LdChoice, out: str, quiet: bool) -> str:
    """Record the LD stream; that it has the LD channels is looked at before it begins."""
    from calibration.live.record_live import record_live
    from emag_rt.core.labels import match_labels

    def check(channels: LiveChannels, sfreq: float) -> None:
        if not isinstance(choice.ld, int):
            match_labels(choice.ld, channels.labels, "--stream")

    return str(record_live(request, out, check, quiet))


def _summary(made: NoHdCalibration, out: str, digest: str) -> None:
    expected, between = made.expected, made.bundle.manifest.scores["between_people"]
    ld = ", ".join(made.ld.labels)
    click.echo(f"{out}: {len(made.ld)} LD channels ({ld}) -> {len(made.hd)} HD")
    click.echo(
        f"  nobody's HD was measured: the field of {made.population.n_people} other people "
        f"({made.population.name})"
        + (", refined by a network trained on them" if made.network is not None else "")
    )
    click.echo(
        "  NMSE expected on unseen channels, the usual person of the population by the others' "
        "field:"
    )
    for name, score in made.bundle.manifest.method_scores.items():
        click.echo(f"    {name:20s} {score[0] or 0.0:.4f}")
    click.echo(
        f"  between people: {between['nmse_low']:.3f} to {between['nmse_high']:.3f} (eight of "
        f"ten), worst {float(expected.nmse().max()):.3f}"
    )
    click.echo(f"  SHA-256 {digest}")
