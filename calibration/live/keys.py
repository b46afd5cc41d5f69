"""Keys pressed while a recording runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from emag_rt.errors import SettingsError
from emag_rt.system import typed_keys

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
        data = came()
        if data is None and waiting:
            raise _nobody_there()
        typed = (data or b"").decode("utf-8", "replace")
        waiting = waiting and not START_KEYS & set(typed)
        return typed

    with typed_keys(descriptor, terminal) as came:
        yield read


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
