"""The command itself: subcommands are imported only when they run."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import TextIO

import click

from emag_rt import __version__
from emag_rt.cli.manual import EXITS, ManualGroup
from emag_rt.cli.outputs import prepare_outputs
from emag_rt.errors import EmagError, OutputError, SettingsError
from emag_rt.system import OUT_OF_RESOURCES, TERMINATE, too_tight_limit

_OWN = {
    "serve": ("emag_rt.cli.serve:serve", "Read a live LD stream, publish HD channels."),
    "simulate": ("emag_rt.cli.simulate:simulate", "Play a recording as a live amplifier."),
    "streams": ("emag_rt.cli.streams:streams", "List the LSL streams in sight."),
    "upsample": ("emag_rt.cli.upsample:upsample", "Render HD channels for a recording."),
    "export": ("emag_rt.cli.export_graph:export", "Write the field for other runtimes (ONNX)."),
    "inspect": ("emag_rt.cli.inspect:inspect", "Show what a bundle holds."),
    "doctor": ("emag_rt.cli.doctor:doctor", "Check this machine."),
    "headsets": ("emag_rt.cli.headsets:headsets", "List headsets whose channels are known."),
    "dashboard": ("emag_rt.cli.dashboard:dashboard", "Show a running daemon live in a browser."),
    "bench": ("emag_rt.cli.bench:bench", "Measure latency, engines, long runs."),
}
_PLUGIN_HELP = {
    "calibrate": "Fit a subject's field from HD recordings or a live stream.",
    "adapt": "Follow the wearer's present state, from LD recordings.",
    "evaluate": "Score a bundle on a held-out HD recording.",
    "demo": "The whole path on a simulated subject.",
    "report": "What a calibration is worth, as a page to read.",
    "montage": "Choose the electrodes worth wearing from an HD session.",
    "import-checkpoint": "Make a bundle of an EMAG checkpoint (.pt).",
}


class _LazyGroup(ManualGroup):
    """Subcommands by name: ours, and those that packages above us plug in."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_OWN, *(point.name for point in _plugins())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _OWN:
            module, attribute = _OWN[cmd_name][0].split(":")
            return _checked(getattr(importlib.import_module(module), attribute))
        for point in _plugins():
            if point.name == cmd_name:
                return _checked(point.load())
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The usual way imports every subcommand for its first line.
        rows = [
            (name, _OWN[name][1] if name in _OWN else _PLUGIN_HELP.get(name, ""))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _plugins() -> list[EntryPoint]:
    return list(entry_points(group="emag_rt.commands"))


def _checked(command: object) -> click.Command:
    if not isinstance(command, click.Command):
        raise TypeError(f"a subcommand must be a click command, got {command!r}")
    return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    examples=(
        ("see it work on a simulated subject, without data", "emag-rt demo"),
        ("choose electrodes", "emag-rt montage run1.edf run2.edf --count 16 --out names.txt"),
        ("calibrate", "emag-rt calibrate run1.edf run2.edf --ld @names.txt --out s01.emag"),
        ("score on a run that calibration has not seen", "emag-rt evaluate s01.emag run3.edf"),
        ("go live", "emag-rt serve s01.emag --source-id AMP-1234 --name s01-HD"),
        ("all options of one command", "emag-rt serve --help"),
    ),
    exits=EXITS
    | {130: "Ctrl-C (serve and simulate: the second one)"}
    | {143: "SIGTERM (serve and simulate: 0)"},
    see_also=("docs/quick-start.md", "docs/troubleshooting.md"),
)
@click.version_option(__version__, prog_name="emag-rt", help="Print the version and exit.")
@click.option(
    "-v", "--verbose", count=True, show_default=False, help="Say more on stderr (-vv: everything)."
)
def cli(verbose: int) -> None:
    """Wear few EEG electrodes, get many, live.

    A subject is calibrated once, from a few minutes with a high-density (HD) cap. Then emag-rt
    reads a live low-density (LD) stream from Lab Streaming Layer (LSL), renders the HD channels
    and publishes them as another LSL stream with the same time stamps. It never adds information
    that is not in the LD channels. Not a medical device.
    """
    tight = too_tight_limit()
    if tight:
        raise SettingsError(tight)
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        handlers=[_StderrOfNow()],
    )


class _StderrOfNow(logging.StreamHandler[TextIO]):
    """Logs where sys.stderr points at that moment: above a progress bar, while there is one."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


class _Terminated(KeyboardInterrupt):
    """SIGTERM, so that it unwinds like SIGINT: nothing half-written is left."""


def main() -> None:
    """Run the command line; errors that users can handle are one line and an exit code."""
    prepare_outputs()
    for number in TERMINATE:
        signal.signal(number, _terminate)
    try:
        code = _run()
        full = _flush(sys.stdout, 1)
        if full is not None and code == 0:
            code = _cannot_write(full)
        _flush(sys.stderr, 2)
    finally:
        # The exit status is settled: what comes while Python winds down must not change it.
        for number in (signal.SIGINT, *TERMINATE):
            signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _run() -> int:
    try:
        cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        terminated = isinstance(error.__cause__, _Terminated) or isinstance(error, _Terminated)
        click.echo("terminated" if terminated else "interrupted", err=True)
        return 143 if terminated else 130
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
            click.echo(f"  {error.param.opts[0]}: {error.param.help}", err=True)
        return error.exit_code
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of our output has gone (`... | head`)
            return 0
        if error.errno in OUT_OF_RESOURCES:
            return _no_resources(error.strerror or str(error))
        if error.errno not in _FULL:
            raise
        return _cannot_write(error)
    except MemoryError as error:
        return _no_resources(str(error) or "no more memory")
    return 0


def _no_resources(what: str) -> int:
    click.echo(f"error: the system gives no more: {what}. See ulimit -a.", err=True)
    return 1


def _terminate(signum: int, frame: object) -> None:
    raise _Terminated


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _cannot_write(error: OSError) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"error: standard output: cannot be written: {error.strerror}.", err=True)
    return OutputError.exit_code


def _flush(stream: TextIO | None, number: int) -> OSError | None:
    """Write what is left of an output; the error when there is no room for it."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        # What Python could not write it would try again at the end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        return error if error.errno in _FULL else None
    return None
