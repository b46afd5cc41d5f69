"""Ending a recording: Ctrl-C once to stop early, twice to give up; never amid a file."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from emag_rt.system import STOP_SIGNALS


class StopRequest:
    """What the user has asked for so far.

    Attributes
    ----------
    requested : bool
        Stop recording.
    abandoned : bool
        And do not fit: SIGINT came twice, or a signal that ends the process.
    signal : int or None
        The signal to end by, once all is saved.
    """

    def __init__(self) -> None:
        self.requested = self.abandoned = False
        self.signal: int | None = None

    def heard(self, number: int) -> None:
        """Take note of a signal."""
        if number != signal.SIGINT or self.requested:
            self.abandoned, self.signal = True, number
        self.requested = True


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn signals into a request that the recording looks at.

    Outside the main thread signals belong to the host.

    Yields
    ------
    StopRequest
        The request.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {n: signal.signal(n, lambda number, _frame: stop.heard(number)) for n in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_as_asked(stop: StopRequest) -> None:
    """End by the signal that asked for it, as any other command does; nothing without one.

    Raises
    ------
    KeyboardInterrupt
        After SIGINT, and SIGTERM as the command line takes it.
    """
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
