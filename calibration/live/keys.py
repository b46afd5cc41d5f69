"""Keys pressed while a recording runs."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator

from emag_rt.errors import SettingsError

ReadKeys = Callable[[], str]
"""Returns what was typed since the last call."""

START_KEYS = frozenset("\n\r ")
STOP_KEYS = frozenset("qQ")


@contextlib.contextmanager
def read_keys(needed: bool) -> Iterator[ReadKeys]:
    """Read keys as they are pressed.

    A pipe as standard input counts only where keys are needed: it may be meant for others.

    Parameters
    ----------
    needed : bool
        Whether somebody must press a key.

    Yields
    ------
    callable
        Returns what was typed since the last call, without waiting.

    Raises
    ------
    SettingsError
        By the callable, if a start key is needed and standard input has ended before one.
    """
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # closed, or a test's
        descriptor = -1
    terminal = descriptor >= 0 and os.isatty(descriptor)
    if descriptor < 0 or not (terminal or needed):
        yield _nobody(needed)
        return

    waiting = needed

    def read() -> str:
        nonlocal waiting
        if not select.select([descriptor], [], [], 0.0)[0]:
            return ""
        typed = os.read(descriptor, 256).decode("utf-8", "replace")
        if not typed and waiting:
            raise _nobody_there()
        waiting = waiting and not START_KEYS & set(typed)
        return typed

    with _one_by_one(descriptor) if terminal else contextlib.nullcontext():
        yield read


@contextlib.contextmanager
def _one_by_one(descriptor: int) -> Iterator[None]:
    """Let a terminal hand over keys without Enter and without showing them."""
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _nobody(needed: bool) -> ReadKeys:
    def read() -> str:
        if needed:
            raise _nobody_there()
        return ""

    return read


def _nobody_there() -> SettingsError:
    return SettingsError(
        "--wait-for-key must have a terminal or a pipe to read a key from, standard input has "
        "ended. Use --start-marker, or leave it out."
    )
