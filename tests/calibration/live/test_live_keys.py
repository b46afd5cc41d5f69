"""Keys from pipes and terminals; nothing is read that is meant for others."""

import os
import pty
import termios

import pytest

from calibration.live.keys import read_keys
from emag_rt.errors import SettingsError


@pytest.fixture
def stdin(monkeypatch):
    """Let standard input be a file descriptor."""
    opened = []

    def use(descriptor):
        opened.append(os.fdopen(descriptor))
        monkeypatch.setattr("sys.stdin", opened[-1])
        return opened[-1]

    yield use
    for file in opened:
        file.close()


def test_a_pipe_gives_keys_only_where_one_is_needed(stdin):
    reading, writing = os.pipe()
    stdin(reading)
    os.write(writing, b"\n")
    with read_keys(needed=False) as keys:
        assert keys() == "", "it may be meant for somebody else"
    with read_keys(needed=True) as keys:
        assert keys() == "\n"
        assert keys() == ""
        os.close(writing)
        assert keys() == "", "started: nothing else is needed"
    with read_keys(needed=True) as keys, pytest.raises(SettingsError, match="has ended"):
        keys()


def test_a_terminal_gives_keys_without_enter_and_is_left_as_it_was(stdin):
    ours, theirs = pty.openpty()
    stdin(theirs)
    before = termios.tcgetattr(theirs)
    with read_keys(needed=False) as keys:
        assert keys() == ""
        os.write(ours, b"q")
        assert keys() == "q"
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
