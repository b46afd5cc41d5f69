"""Checks that several subcommands make before they begin."""

from __future__ import annotations

import errno
import math
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

from emag_rt.errors import SettingsError, short
from emag_rt.files import RECORDING_ENDINGS
from emag_rt.streams.config import SCOPES

_F = TypeVar("_F", bound=Callable[..., object])


class FiniteFloat(click.FloatRange):
    """A float between two bounds, which its error names; click's own lets NaN through."""

    def __init__(self, min: float, max: float, min_open: bool = False) -> None:
        super().__init__(min, max, min_open=min_open)
        low = f"more than {min:g} and at most" if min_open else f"from {min:g} to"
        self.allowed = f"{low} {max:g}"

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):  # the bounds are not, so infinity is out of them
            self.fail(f"must be {self.allowed}, got {short(value)}.", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number between two bounds, which its error names."""

    def __init__(self, min: int, max: int) -> None:
        super().__init__(min, max)
        self.allowed = f"a whole number from {min} to {max}"

    def convert(self, value: int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"must be {self.allowed}, got {short(value)}.", param, ctx)


ENGINE = click.Choice(["auto", "native", "onnx", "packed", "torch", "direct"])
"""Render engines; not taken from emag_rt.render, whose import would slow every --help."""

MARKER_FORMAT = click.Choice(["text", "int32"])
STATISTICS = click.Choice(["estimate", "matched", "simulated"])
"""Statistics of the output; as with engines, not taken from the module that has them."""
MIX = FiniteFloat(0, 1)
"""How far an output goes from the estimate to other statistics."""

RATE_HZ = FiniteFloat(16, 100_000)
"""Sampling rates of EEG amplifiers, with room to spare."""

BAND_HZ = FiniteFloat(0, 50_000, min_open=True)
LOOK_AHEAD_S = FiniteFloat(0, 1)
SEED = Whole(0, 2**31 - 1)
DURATION_S = FiniteFloat(0, 31_536_000, min_open=True)
"""Up to a year."""


def lsl_options(scope_help: str) -> Callable[[_F], _F]:
    """``--scope`` and ``--session-id``, which every command that uses LSL takes."""

    def add(command: _F) -> _F:
        session = click.option(
            "--session-id",
            envvar="EMAG_RT_SESSION_ID",
            show_envvar=True,
            help="LSL session: streams of other sessions are not seen (LSL's own configuration).",
        )
        scope = click.option(
            "--scope",
            type=click.Choice(SCOPES),
            envvar="EMAG_RT_LSL_SCOPE",
            show_envvar=True,
            help=f"{scope_help} machine: this one alone (LSL's own configuration).",
        )
        return scope(session(command))

    return add


def naming_options(command: _F) -> _F:
    """``--headset`` and ``--channels``, by which a source's channels are named."""
    channels = click.option(
        "--channels",
        metavar="A,B,...",
        help="What the source's channels are, each of them in its order, where it does not say.",
    )
    return headset_option(channels(command))


def headset_option(command: _F) -> _F:
    """``--headset`` alone."""
    from emag_rt.cli.completion import complete_headset

    return click.option(
        "--headset",
        shell_complete=complete_headset,
        help="What the source's channels are, where it does not say: those of this headset "
        "(emag-rt headsets).",
    )(command)


def tell_templates(placed: Iterable[tuple[str, str]]) -> None:
    """Say which template placed the electrodes of recordings: (file, template or nothing)."""
    for name, template in placed:
        if template:
            click.echo(f"{name}: positions by the channels' labels: template {template}", err=True)


def check_output(option: str, out: str, inputs: Sequence[str], suffix: str = "") -> None:
    """Refuse an output that would overwrite an input, or cannot be written, before any work.

    Parameters
    ----------
    option : str
        Name of the option, for the message.
    out : str
        File to write; ``-`` is standard output.
    inputs : sequence of str
        Files the command reads.
    suffix : str
        Ending the name must have, or an empty string.

    Raises
    ------
    SettingsError
        If the output must not or cannot be written there: no folder, no permission, a name too
        long, a folder of that name.
    """
    if out == "-":
        return
    path = Path(out)
    same = [name for name in inputs if Path(name).resolve() == path.resolve()]
    if same:
        raise SettingsError(
            f"{option} must not be one of the inputs, got {out}, which would overwrite {same[0]}. "
            "Choose another name."
        )
    if suffix and path.suffix != suffix:
        raise SettingsError(f"{option} must end with {suffix}, got {out}.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in out):
        raise SettingsError(
            f"{option} must be a name in UTF-8 without control characters, got {short(out)}. "
            "Choose another name."
        )
    if not path.parent.is_dir():
        raise SettingsError(f"{option} {out}: the folder must exist. Make it first.")
    try:
        _try_place(path.resolve())
    except OSError as error:
        raise SettingsError(
            f"{option} {out}: must be a file that can be written, it cannot: "
            f"{error.strerror or error}. Name another place."
        ) from error


def check_bundle_output(out: str, inputs: Sequence[str]) -> None:
    """:func:`check_output` of a bundle, which is not called like a recording or a report.

    Parameters
    ----------
    out : str
        Bundle to write.
    inputs : sequence of str
        Files the command reads.

    Raises
    ------
    SettingsError
        If it is, or the output cannot be written there.
    """
    check_output("--out", out, inputs)
    other = "a report" if out.lower().endswith((".html", ".htm")) else ""
    other = other or ("a recording" if out.lower().endswith(RECORDING_ENDINGS) else "")
    if other:
        raise SettingsError(
            f"--out must name the bundle to write, got {out}, which is called like {other}. "
            f"Such as: --out {Path(out).with_suffix('.emag')}"
        )


def _try_place(target: Path) -> None:
    """Make a file in the folder, as writing will; it is gone at once."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not target.exists() or target.is_file():
        tempfile.TemporaryFile(dir=target.parent).close()
    elif not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def refuse_idle(names: Sequence[str], rule: str) -> None:
    """Refuse options that were given and would do nothing.

    Parameters
    ----------
    names : sequence of str
        Parameters of the command that runs.
    rule : str
        What they must do, for the message.

    Raises
    ------
    SettingsError
        If any of them stands on the command line.
    """
    context = click.get_current_context()
    idle = [
        "--" + name.replace("_", "-")
        for name in names
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if idle:
        raise SettingsError(f"{', '.join(idle)} must {rule}. Leave it out.")


def one_blas_thread() -> None:
    """One sample's products are far too small to share; to be said before NumPy is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
