"""``emag-rt report``: what a bundle is worth, as a page to read; and calibrate's own."""

from __future__ import annotations

import contextlib
import glob
import re
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibration.cli.progress import progress_bar
from emag_rt.cli.completion import BUNDLE, RECORDING
from emag_rt.cli.manual import Manual
from emag_rt.cli.outputs import say_next

if TYPE_CHECKING:
    from calibration.report.write import CurveChoice
    from calibration.result import Calibration


@click.command(
    cls=Manual,
    examples=(
        (
            "on a run that the calibration has not seen, to s01-run3.html",
            "emag-rt report s01.emag run3.edf",
        ),
        (
            "with the curves, however long they take",
            "emag-rt report s01.emag run3.edf --curves yes --out run3.html",
        ),
    ),
    exits=(0, 1, 2, 3, 4, 5, 9, 130, 143),
    on_own=lambda names: names,
    see_also=("emag-rt evaluate", "emag-rt inspect", "docs/reading-the-report.md"),
)
@click.argument("bundle", type=BUNDLE)
@click.argument("recordings", nargs=-1, required=True, type=RECORDING)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="HTML file to write (default: beside BUNDLE, named after it and the first recording).",
)
@click.option(
    "--curves",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    show_default=True,
    help="Curves of calibration length and look-ahead; auto: if they take under half a minute.",
)
@click.option("--open", "show", is_flag=True, help="Open the report in the browser.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def report(
    bundle: str,
    recordings: tuple[str, ...],
    out: str | None,
    curves: CurveChoice,
    show: bool,
    quiet: bool,
) -> None:
    """Write a report on BUNDLE as one HTML file that needs no network.

    RECORDINGS are HD recordings of the same subject and cap. Those that the calibration has not
    seen count: they are held out. Of its own, scores are cross-validated.
    """
    from emag_rt.cli.options import check_output

    target = out or str(report_path(bundle, recordings[0]))
    check_output("--out", target, [bundle, *recordings], ".html")
    from calibration.report.write import report_of_bundle
    from emag_rt.bundle import load_bundle

    loaded = load_bundle(bundle)
    with progress_bar(quiet) as tell:
        verdict = report_of_bundle(loaded, recordings, target, curves, tell)
    click.echo(f"{target}: {verdict.headline}")
    if show:
        open_report(target)
    say_next(("serve", bundle, "--source-id", "AMP-1234"))


def open_report(path: str) -> None:
    """Show a report in the browser of whoever sits here; say where it is when there is none."""
    address = Path(path).resolve().as_uri()
    if not webbrowser.open(address):
        click.echo(f"--open: no browser could be started; the report is {address}", err=True)


_RUN = re.compile(r"(run[-_]?|block|(?<=\d)R)\d+", re.IGNORECASE)


def left_out(recordings: Sequence[str]) -> str:
    """Name a recording to score on: a later run of the same person, as names tell.

    Returns
    -------
    str
        A file beside the last recording; a word in capitals where there is none.
    """
    last = Path(recordings[-1])
    pattern = _RUN.sub(lambda found: f"{found[1]}*", glob.escape(last.name))
    later = [path for path in sorted(last.parent.glob(pattern)) if path.name > last.name]
    return str(later[0]) if later else "HELD_OUT_RECORDING"


def report_path(bundle: str | Path, recording: str | Path | None = None) -> Path:
    """Where a report lies unless told otherwise.

    Parameters
    ----------
    bundle : path-like
        The bundle.
    recording : path-like, optional
        What it is reported on; without one, the report is the calibration's own.

    Returns
    -------
    Path
        ``s01.html``, or ``s01-run3.html``, which does not write over the calibration's.
    """
    path = Path(bundle)
    if recording is None:
        return path.with_suffix(".html")
    return path.with_name(f"{path.stem}-{Path(Path(recording).name.removesuffix('.gz')).stem}.html")


def report_target(out: str, asked: str | None, wanted: bool, recordings: tuple[str, ...]) -> str:
    """Where calibrate writes its report; empty for none.

    Raises
    ------
    SettingsError
        If it cannot be written there, or options contradict each other.
    """
    from emag_rt.cli.options import check_output
    from emag_rt.errors import SettingsError

    if not wanted:
        if asked is not None:
            raise SettingsError(f"--report {asked} and --no-report exclude each other. Drop one.")
        return ""
    target = asked if asked is not None else str(report_path(out))
    check_output("--report", target, [*recordings, out], ".html")
    return target


def write_report_of(
    calibration: Calibration,
    digest: str,
    target: str,
    tell: Callable[[float, str], None] | None,
) -> str | None:
    """Write calibrate's report; the bundle is there, so whatever fails here is one warning.

    Parameters
    ----------
    calibration : Calibration
        Its bundle is saved.
    digest : str
        SHA-256 of its bundle.
    target : str
        HTML file to write.
    tell : callable or None
        Of the progress bar.

    Returns
    -------
    str or None
        The verdict in a sentence; None where there is no report.
    """
    try:
        from calibration.report.write import report_of_calibration

        verdict = report_of_calibration(calibration, digest, target, tell)
    except Exception as error:  # a picture less must not cost a calibration
        from emag_rt.errors import EmagError

        reason = " ".join(str(error).split()) or "unknown"
        if not isinstance(error, EmagError):
            reason = f"{type(error).__name__}: {reason}"
        with contextlib.suppress(OSError):
            click.echo(f"warning: no report: {reason} The bundle is complete.", err=True)
        return None
    return verdict.headline
