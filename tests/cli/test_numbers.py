"""Every number on every command line: refused in one line with option, value and range."""

import click
import pytest

from emag_rt.cli.main import cli
from emag_rt.cli.options import FiniteFloat, Whole

BAD = ("nan", "-nan", "inf", "-inf", "-1", "-0.001", "1e300", "9" * 30, "9" * 5000, "", "abc",
       "0x10", "1,5", "٣x", "True")  # fmt: skip


def numbers(command, path):
    """(command line so far, command, option) of every option that takes a number."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from numbers(command.get_command(context, name), (*path, name))
    for option in command.params:
        number = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
        if number and not getattr(option, "count", False):
            yield " ".join(path), command, option


OPTIONS = list(numbers(cli, ("emag-rt",)))


def refusal(command, option, text):
    arguments = [option.opts[-1], *[text] * option.nargs]
    with pytest.raises(click.BadParameter) as caught:
        command.make_context("emag-rt", arguments)
    return caught.value.format_message()


def test_the_whole_tree_is_seen():
    seen = {(path, option.opts[0]) for path, _, option in OPTIONS}
    assert {("emag-rt serve", "--hop"), ("emag-rt bench soak", "--hours")} <= seen
    assert {("emag-rt calibrate", "--band"), ("emag-rt import-checkpoint", "--sfreq")} <= seen
    assert len(seen) > 45


@pytest.mark.parametrize(
    ("command", "option"),
    [pytest.param(c, o, id=f"{path} {o.opts[0]}") for path, c, o in OPTIONS],
)
def test_numbers_out_of_range_are_refused_in_one_line(command, option):
    assert isinstance(option.type, FiniteFloat | Whole), "bounds on both sides, named in its error"
    low, high = option.type.min, option.type.max
    beyond = [str(high + 1), "1.5"] if isinstance(option.type, Whole) else [repr(high * 1.001)]
    if option.type.min_open:
        beyond.append(str(low))
    for text in (*BAD, *beyond):
        message = refusal(command, option, text)
        assert message.startswith(f"Invalid value for '{option.opts[0]}': must be ")
        assert option.type.allowed in message
        assert "\n" not in message
        assert len(message) < 250
        assert (repr(text) if len(text) < 60 else text[:20]) in message
    assert option.type.convert(str(high), option, None) == high


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_ranges_hold_in_python_as_well(value):
    with pytest.raises(click.BadParameter, match="must be from 0 to 1, got"):
        FiniteFloat(0, 1).convert(value, None, None)
