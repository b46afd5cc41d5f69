"""What the subcommands of ``emag-rt bench`` share: options, cases, outputs."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from emag_rt.cli.completion import BUNDLE, RECORDING
from emag_rt.cli.options import ENGINE, FiniteFloat, Whole, check_output
from emag_rt.errors import SettingsError
from emag_rt.files import replacing

if TYPE_CHECKING:
    from rich.console import Console

    from emag_rt.bench.case_files import CaseFiles
    from emag_rt.bench.cases import Case

_F = TypeVar("_F", bound=Callable[..., object])
SECONDS = FiniteFloat(0.5, 1e6)
_PICTURES = (".png", ".pdf", ".svg")


json_output = click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write all figures here (- for standard output, in the place of tables).",
)
"""Where figures go, for programs."""


def outputs(command: _F) -> _F:
    """Options that say where figures go."""
    plot = click.option(
        "--plot", type=click.Path(dir_okay=False), help="Draw a picture here (.png, .pdf or .svg)."
    )
    return json_output(plot(command))


@dataclass(frozen=True)
class Subject:
    """Whom to serve, from the options of :func:`subject`; a real bundle or stand-ins."""

    texts: tuple[str, ...]
    chunks: tuple[int, ...]
    look_ahead: int
    residual: bool
    bundle: str | None
    recording: str | None
    engine: str

    def cases(self, named: str | None = None) -> list[Case]:
        """Cases, of a list by name too."""
        return cases_of(named, self.texts, self.chunks, self.look_ahead, self.residual, self.bundle)

    def one_case(self) -> Case:
        """The only one.

        Raises
        ------
        SettingsError
            If there are others.
        """
        cases = self.cases()
        if len(cases) != 1:
            raise SettingsError(
                f"one --case is measured at a time here, got {len(cases)}. Name one."
            )
        return cases[0]

    @contextmanager
    def files(self, case: Case) -> Iterator[tuple[CaseFiles, Path]]:
        """Bundle and signal of a case, and a folder for more files, which goes in the end."""
        from emag_rt.bench.case_files import CaseFileMaker

        with tempfile.TemporaryDirectory(prefix="emag_rt-bench-") as name:
            folder = Path(name)
            yield CaseFileMaker(folder, self.bundle, self.recording).make(case), folder


def subject(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say whom to serve, as the first argument: a :class:`Subject`."""

    @functools.wraps(command)
    def collected(
        texts: tuple[str, ...],
        chunks: tuple[int, ...],
        look_ahead: int,
        residual: bool,
        bundle: str | None,
        recording: str | None,
        engine: str,
        **options: object,
    ) -> None:
        whom = Subject(texts, chunks, look_ahead, residual, bundle, recording, engine)
        command(whom, **options)

    options = (
        click.option(
            "--case",
            "texts",
            multiple=True,
            metavar="CASE",
            help="Channels, rate in Hz and samples in a chunk: N_LD:N_HD@RATE[/CHUNK], such as "
            "16:64@250.",
        ),
        click.option(
            "--chunk",
            "chunks",
            multiple=True,
            type=Whole(1, 10_000),
            metavar="N",
            help="Samples that the amplifier sends at once; several allowed.",
        ),
        click.option(
            "--look-ahead",
            type=Whole(0, 10_000),
            metavar="N",
            default=0,
            help="Look-ahead of stand-ins in samples.",
        ),
        click.option(
            "--residual/--no-residual",
            default=True,
            help="Whether stand-ins have the networks that calibration with torch makes.",
        ),
        click.option("--bundle", type=BUNDLE, help="A real bundle, in the place of stand-ins."),
        click.option("--recording", type=RECORDING, help="What the amplifier plays."),
        click.option(
            "--engine",
            type=ENGINE,
            default="auto",
            show_default=True,
            help="Render engine of the daemon; auto: the quickest here.",
        ),
    )
    made: Callable[..., None] = collected
    for option in reversed(options):
        made = option(made)
    return made


SUBJECT_GROUP = ("texts", "chunks", "look_ahead", "residual", "bundle", "recording", "engine")
"""Parameters of :func:`subject`, for help in groups."""


def cases_of(
    named: str | None,
    texts: tuple[str, ...],
    chunks: tuple[int, ...],
    look_ahead: int,
    residual: bool,
    bundle: str | None,
) -> list[Case]:
    """Cases from the options of :func:`subject`."""
    from emag_rt.bench.case_files import case_of_bundle
    from emag_rt.bench.cases import choose_cases

    if bundle is None:
        return choose_cases(named, texts, chunks=chunks, look_ahead=look_ahead, residual=residual)
    if texts or named:
        raise SettingsError(
            "--bundle has channels and rate of its own, got --case or --cases too. Drop them; "
            "--chunk is allowed."
        )
    return [case_of_bundle(bundle, chunk) for chunk in chunks or (1,)]


def numbers(option: str, text: str) -> list[int]:
    """Whole numbers from an option's text."""
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise SettingsError(
            f"{option} must be whole numbers with commas, got {text!r}. Write 8,12,16."
        ) from error


def check_bench_outputs(json_path: str | None, plot: str | None, bundle: str | None) -> None:
    """Refuse files that cannot be written, or are inputs."""
    inputs = [bundle] if bundle else []
    if json_path:
        check_output("--json", json_path, inputs)
    if plot:
        check_output("--plot", plot, inputs)
        if Path(plot).suffix.lower() not in _PICTURES:
            raise SettingsError(f"--plot must end with {', '.join(_PICTURES)}, got {plot}.")


def about_here() -> dict[str, object]:
    """What figures are worth little without."""
    from emag_rt.bench.environment import describe

    return {"environment": describe()}


def write_json(path: str | None, content: Mapping[str, object]) -> None:
    """Write figures; nowhere when there is no path."""
    if path is None:
        return
    text = json.dumps(content, indent=1)
    if path == "-":
        click.echo(text)
    else:
        with replacing(path, "--json") as beside:
            beside.write_text(text + "\n", encoding="utf-8")


def console() -> Console:
    """Where tables go."""
    from rich.console import Console

    return Console()


def tell(line: str) -> None:
    """Say what goes on, on stderr."""
    click.echo(line, err=True)


def fail_if(lost: bool) -> None:
    """Exit 1 when samples were lost."""
    if lost:
        click.echo("samples were lost, repeated, reordered or left empty", err=True)
        sys.exit(1)
