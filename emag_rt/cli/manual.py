"""Help as complete as a manual page: options in groups, examples, exit status, see also."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from emag_rt.system import command_line

EXITS = {
    0: "done",
    1: "an error outside this list",
    2: "a setting or an option breaks a rule; the message names it",
    3: "a recording or a montage cannot be used",
    4: "the session cannot be calibrated as asked",
    5: "the bundle is damaged, unsafe or too new",
    6: "the engine cannot start",
    7: "the stream is not found, ambiguous, or lost",
    8: "the stream's rate, labels or units do not fit the bundle",
    9: "an output cannot be written or opened",
    130: "Ctrl-C (SIGINT)",
    143: "SIGTERM",
}
"""What the exit codes of :mod:`emag_rt.errors` mean."""


class Manual(click.Command):
    """A command with the sections of a manual page.

    Parameters
    ----------
    examples : sequence of (str, str)
        What for, and the command line.
    exits : iterable of int, or mapping of int to str
        Exit codes it can end with, as in :data:`EXITS`; a mapping says it in other words.
    see_also : sequence of str
        Other commands, and pages of the documentation.
    groups : mapping of str to sequence of str, optional
        Titles, and names of parameters in each; the others come last.
    surplus : str
        Option that is meant by an argument too many.
    meant : mapping of str to str, optional
        Options that it lacks, and those that are meant by them.
    on_own : callable, optional
        From the recordings of a bundle to those that it is used on, where none are given.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        examples: Sequence[tuple[str, str]],
        exits: Iterable[int] | Mapping[int, str] = (0, 1, 2),
        see_also: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
        surplus: str = "",
        meant: Mapping[str, str] | None = None,
        on_own: Callable[[Sequence[str]], Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self.examples = tuple(examples)
        said = exits if isinstance(exits, Mapping) else dict.fromkeys(exits, "")
        self.exits = {code: said[code] or EXITS[code] for code in sorted(said)}
        self.see_also = tuple(see_also)
        self.surplus, self.meant, self.on_own = surplus, dict(meant or {}), on_own
        self.groups = {title: tuple(names) for title, names in (groups or {}).items()}
        known = {parameter.name for parameter in self.params}
        unknown = {name for names in self.groups.values() for name in names} - known
        if unknown:
            raise TypeError(f"groups of {self.name} name no parameter of it: {sorted(unknown)}")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's, but it is told what may have been meant."""
        if not ctx.resilient_parsing:
            _refuse_split(args, ctx)
        given, surplus = list(args), self.surplus and not ctx.resilient_parsing
        ctx.allow_extra_args = ctx.allow_extra_args or bool(surplus)
        try:
            more = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._told(error, given) from error
        except click.MissingParameter as error:
            if not isinstance(error.param, click.Argument):
                raise
            raise click.UsageError(self._lacking(error.param, ctx), ctx) from error
        except click.BadOptionUsage as error:
            (option,) = (p for p in self.params if error.option_name in p.opts)
            text = f"{error.message} Such as: {error.option_name} {option.make_metavar(ctx)}"
            raise click.BadOptionUsage(error.option_name, text, ctx) from error
        if more and surplus:
            raise click.UsageError(
                f"got unexpected extra argument{'s' * (len(more) > 1)} {shlex.join(more)}. Did you "
                f"mean {self.surplus} {shlex.quote(more[0])}?",
                ctx,
            )
        return more

    def _told(self, error: click.NoSuchOption, given: list[str]) -> click.NoSuchOption:
        """Name what is meant: by another word, or with one dash in the place of two."""
        known = {name for parameter in self.params for name in parameter.opts}
        words = [word.partition("=")[0] for word in given]
        dashed = [f"-{word}" for word in words if word.startswith(error.option_name)]
        near = [name for name in dashed if name in known]
        if error.option_name in self.meant:
            near = [self.meant[error.option_name]]
        if not near:
            return error
        text = f"No such option {error.option_name!r}. Did you mean {near[0]!r}?"
        return click.NoSuchOption(error.option_name, text, ctx=error.ctx)

    def _lacking(self, argument: click.Argument, ctx: click.Context) -> str:
        """What to type for an argument that is not there; a bundle knows its recordings."""
        words, made_from = shlex.split(self.examples[0][1]), ""
        bundle = ctx.params.get("bundle")
        if bundle is not None:
            from emag_rt.bundle import load_bundle

            names = load_bundle(bundle).manifest.input_names
            made_from = f" {bundle} was made from {', '.join(names)}." if names else ""
            near = [str(p) if (p := Path(bundle).parent / n).exists() else n for n in names]
            words[2] = bundle
            if self.on_own and names:
                words[3:] = self.on_own(near)
        return (
            f"{argument.human_readable_name} is missing.{made_from} Such as: {command_line(words)}"
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write options group by group."""
        grouped = {name: title for title, names in self.groups.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in self.groups}
        rest: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            # The text above says what arguments are; some versions of click list them here too.
            if record is not None and isinstance(parameter, click.Option):
                rows.get(grouped.get(parameter.name or "", ""), rest).append(record)
        for title, records in [*rows.items(), ("Other options" if rows else "Options", rest)]:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections below the options."""
        with formatter.section("Examples"):
            for what, line in self.examples:
                margin = " " * formatter.current_indent
                formatter.write(f"{margin}# {what}\n{margin}{line}\n")  # whole, to be copied
        with formatter.section("Exit status"):
            formatter.write_dl([(str(code), text) for code, text in self.exits.items()])
        if self.see_also:
            with formatter.section("See also"):
                formatter.write_text(", ".join(self.see_also))


def _refuse_split(words: Sequence[str], ctx: click.Context) -> None:
    """A file's name with a space that came as two words."""
    for first, second in itertools.pairwise(words):
        name = f"{first} {second}"
        if not (first.startswith("-") or os.path.exists(first)) and os.path.isfile(name):
            raise click.UsageError(f"names with spaces need quotes: {shlex.quote(name)}", ctx)


class ManualGroup(Manual, click.Group):
    """A group of commands with the sections of a manual page; it knows what was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's, but a mistyped command is told its neighbours, those of plug-ins too."""
        name, known = args[0], self.list_commands(ctx)
        if name in known or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, known, n=3)
        meant = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(known)}."
        raise click.UsageError(f"no such command {name!r}. {meant}", ctx)
