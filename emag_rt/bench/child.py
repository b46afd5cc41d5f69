"""What amplifier, relay and consumer share: quiet, precise, and they end when told to."""

from __future__ import annotations

import argparse
import gc
import signal

import numpy as np
from numpy.typing import NDArray

from emag_rt.files import replacing
from emag_rt.streams.lsl import configure
from emag_rt.system import TERMINATE, precise_timers


class Stop:
    """True once SIGINT, SIGTERM or SIGBREAK came."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, *TERMINATE):
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
