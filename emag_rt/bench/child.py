"""What amplifier, relay and consumer share: quiet, precise, and they end when told to."""

from __future__ import annotations

import argparse
import ctypes
import gc
import signal
import sys

import numpy as np
from numpy.typing import NDArray

from emag_rt.files import replacing
from emag_rt.streams.lsl import configure

_PR_SET_TIMERSLACK = 29


class Stop:
    """True once SIGINT or SIGTERM came."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True


def parser(description: str | None) -> argparse.ArgumentParser:
    """Arguments that every child takes: the LSL session it is private to."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--session-id", required=True)
    return made


def settle(session_id: str) -> Stop:
    """Private LSL, timers to the microsecond where the system lets us, stop signals."""
    configure("machine", session_id)
    precise_timers()
    return Stop()


def precise_timers() -> bool:
    """Ask Linux not to round this thread's sleeps up by 50 µs; returns whether it agreed."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return int(ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


def freeze() -> None:
    """Keep the garbage collector from walking what lives as long as the process."""
    gc.collect()
    gc.freeze()


def say(line: str) -> None:
    """Tell the parent; it waits for such lines."""
    print(line, flush=True)


def save(path: str, **arrays: NDArray[np.generic]) -> None:
    """Write an ``.npz`` that appears whole or not at all."""
    with replacing(path) as beside:
        np.savez(beside, **arrays)  # type: ignore[arg-type]
