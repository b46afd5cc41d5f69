"""Asking a process to end: SIGINT, SIGTERM and a terminal that closes; SIGINT again: at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

from emag_rt.files import discard_unfinished
from emag_rt.system import STOP_SIGNALS

_INTERRUPTED = 130


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn signals into an event that loops look at.

    The first of ``STOP_SIGNALS`` (unless it is ignored, as under ``nohup``) sets the event.
    A SIGINT after that ends the process with status 130, wherever it is: a KeyboardInterrupt
    would wait for code in C, and get lost in a ``__del__``. Programs of which this is a part
    can use an event of their own instead.

    Outside the main thread signals belong to the host, and the event is never set.

    Yields
    ------
    threading.Event
        Set when the process was asked to end.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    with _impatience(numbers):
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def answering(numbers: Sequence[signal.Signals], *answers: Callable[[], None]) -> Iterator[None]:
    """Have signals call functions, in the main thread between two of its instructions.

    Outside the main thread signals belong to the host, and nothing is called.

    Parameters
    ----------
    numbers : sequence of signal
        Which; none where the system has none of them.
    *answers : callable
        One for each; to do no more than to note that it was asked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pairs = zip(numbers, answers, strict=False)
    before = {number: signal.signal(number, _calling(answer)) for number, answer in pairs}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _calling(answer: Callable[[], None]) -> Callable[[int, object], None]:
    return lambda *_: answer()


@contextlib.contextmanager
def _impatience(numbers: list[signal.Signals]) -> Iterator[None]:
    """Hear signals in a thread, wherever the main thread is, and obey the second SIGINT."""
    listener, teller = socket.socketpair()
    teller.setblocking(False)

    def watch() -> None:
        asked = False
        while signals := listener.recv(16):
            for number in signals:
                if number == signal.SIGINT and asked:
                    _end_now()
                asked = asked or number in numbers

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        teller.close()
        watcher.join()
        listener.close()


def _end_now() -> None:
    discard_unfinished()
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)
