"""Help that is as complete as a manual page, for every command."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from emag_rt.cli.main import cli
from emag_rt.cli.manual import EXITS, Manual
from tests.command_lines import parse

ROOT = Path(__file__).parents[2]


def tree(command, path=("emag-rt",)):
    """Every command below one, with its words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from tree(command.get_command(context, name), (*path, name))


COMMANDS = list(tree(cli))
every = pytest.mark.parametrize(
    ("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS]
)


def help_of(path, command):
    parent = click.Context(cli, info_name="emag-rt", **cli.context_settings)
    context = click.Context(command, info_name=" ".join(path[1:]), parent=parent)
    return command.get_help(context)


def test_the_walk_meets_all_commands():
    names = {path[-1] for path, _ in COMMANDS}
    assert {"serve", "calibrate", "latency", "import-checkpoint"} <= names
    assert len(COMMANDS) >= 15


@every
def test_every_command_says_what_it_is_for(path, command):
    assert isinstance(command, Manual)
    first, *more = (command.help or "").strip().split("\n\n")
    assert first
    assert first.endswith((".", "?"))
    assert len(first.splitlines()) <= 2, "one line of purpose, or nearly"
    assert more, "a paragraph after it"


@every
def test_every_option_has_help(path, command):
    silent = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and len(parameter.help or "") < 5
    ]
    assert silent == []


@every
def test_every_number_has_bounds_and_a_unit(path, command):
    for parameter in command.params:
        kind = getattr(parameter, "type", None)
        if isinstance(parameter, click.Option) and isinstance(
            kind, (click.types.FloatParamType, click.types.IntParamType)
        ):
            bounded = getattr(kind, "min", None) is not None or parameter.count
            assert bounded, parameter.name
            assert parameter.metavar or parameter.count, f"{parameter.name}: a metavar (S, HZ, N)"


@every
def test_sections_are_there(path, command):
    text = help_of(path, command)
    for title in ("Usage:", "Examples:", "Exit status:"):
        assert f"\n{title}\n" in text or text.startswith(title)
    for code, meaning in command.exits.items():
        assert f"  {code}" in text
        assert meaning
    assert 0 in command.exits
    assert set(command.exits) <= set(EXITS)


@every
def test_examples_are_commands_that_exist(path, command):
    assert command.examples
    for what, line in command.examples:
        assert what
        assert line in help_of(path, command), "whole, so that it can be copied"
        parse(line)
    own = " ".join(path)
    assert any(own in line for _, line in command.examples), own


@every
def test_see_also_leads_somewhere(path, command):
    known = {" ".join(words) for words, _ in COMMANDS}
    for name in command.see_also:
        if name.startswith("docs/"):
            assert (ROOT / name).is_file(), name
        else:
            assert " ".join(shlex.split(name.split(" --")[0])) in known, name


def test_groups_must_name_parameters():
    with pytest.raises(TypeError, match="no parameter"):
        Manual("x", examples=[("a", "b")], groups={"One": ["absent"]})


def test_a_line_that_the_command_does_not_know_is_refused():
    with pytest.raises(click.UsageError):
        parse("emag-rt serve s01.emag --no-such-option")
    with pytest.raises(click.UsageError):
        parse("emag-rt no-such-command")


def test_an_amplifier_without_its_option_is_told_the_option():
    with pytest.raises(click.UsageError, match="mean --source-id AMP-1234"):
        parse("emag-rt serve s01.emag AMP-1234 --dashboard")


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["evaluatee"], "evaluate?"), (["bench", "latncy"], "latency?"), (["xyz"], "There are adapt")],
)
def test_a_mistyped_command_is_told_its_neighbours(words, meant):
    with pytest.raises(click.UsageError, match="no such command") as error:
        cli.main(words, standalone_mode=False)
    assert meant in error.value.message
