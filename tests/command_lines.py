"""Command lines in texts: read as the command line reads them, without running anything."""

from __future__ import annotations

import re
import shlex

import click

from emag_rt.cli.main import cli

_END = re.compile(r"\s[|>&;]|\s#|\)\"")


def found(text):
    """All ``emag-rt ...`` in a shell snippet, a line each, up to pipes and comments."""
    for line in text.replace("\\\n", " ").splitlines():
        for piece in re.split(r"\s*(?:&&|;)\s*|\$\(", line):
            start = piece.strip()
            if start.startswith("emag-rt "):
                yield _END.split(f"{start} ")[0].rstrip()


def parse(text):
    """Parse every command of a snippet.

    Raises
    ------
    click.UsageError
        If a command, an option or a value is not known.
    """
    lines = list(found(text))
    assert lines, text
    for line in lines:
        words = shlex.split(line)[1:]
        wanted_help = {"--help", "--version"} & set(words)
        words = [word for word in words if word not in wanted_help]
        command: click.Command = cli
        context = cli.make_context("emag-rt", words, resilient_parsing=bool(wanted_help))
        while isinstance(command, click.Group) and _rest(context):
            name, found_one, rest = command.resolve_command(context, _rest(context))
            assert found_one is not None
            command = found_one
            context = command.make_context(
                name, rest, parent=context, resilient_parsing=bool(wanted_help)
            )


def _rest(context):
    """What a group leaves to its commands."""
    return [*getattr(context, "_protected_args", ()), *context.args]
