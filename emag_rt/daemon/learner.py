"""A process beside the daemon that learns the wearer's state; what it is told, and what it tells.

It is `emag-rt adapt` behind two pipes: finding sources takes seconds of Python, for which a thread
of the daemon would hold the interpreter. Two threads here do nothing but wait for the pipes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.daemon.settings import AdaptSettings
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import OutputError
from emag_rt.system import own_group

log = logging.getLogger(__name__)

_END_S = 1.0
_MOST_WAITING = 64
"""Blocks that wait for a process that gets no core: two minutes."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What LD tells of the present state.

    Attributes
    ----------
    era : int
        Of the blocks that it was learned from.
    seconds : float
        Of LD.
    power_db : tuple of (float, float, float)
        Band from and to in Hz, and LD power there over the session's, in dB.
    share : float
        Root mean square of what is rendered differently, over what is rendered.
    change : ndarray, shape (1, n_out, n_taps * n_ld), or None
        Of the weights; None where the state is the session's.
    """

    era: int
    seconds: float
    power_db: tuple[tuple[float, float, float], ...]
    share: float = 0.0
    change: FloatArray | None = None


@dataclass(frozen=True)
class Saved:
    """Where the adapted bundle was saved, or why it could not be."""

    path: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Ended:
    """It has ended, and will tell no more."""

    reason: str


News = Learned | Saved | Ended


class Learns(Protocol):
    """Learns from blocks of LD, somewhere else."""

    def add(self, block: FloatArray, era: int) -> None:
        """Take two seconds of filtered, reference-free LD, shape (n_times, n_ld), in µV."""
        ...

    def save(self) -> None:
        """Save the bundle as it was adapted last, beside the first."""
        ...

    def news(self, timeout_s: float = 0.0) -> News | None:
        """What has come since, one at a time."""
        ...


def send(stream: IO[bytes], kind: str, details: object, *arrays: FloatArray) -> None:
    """Write a message: a line of JSON, then the numbers of arrays, in float64."""
    header = {"kind": kind, "details": details, "shapes": [a.shape for a in arrays]}
    stream.write(json.dumps(header).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[str, Any, list[FloatArray]] | None:
    """Read a message as :func:`send` wrote it; None at the end, also in the midst of one."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    arrays = []
    for shape in header["shapes"]:
        n_bytes = 8 * int(np.prod(shape, dtype=np.int64))
        data = stream.read(n_bytes)
        if len(data) < n_bytes:
            return None
        arrays.append(np.frombuffer(data, dtype=np.float64).reshape(shape))
    return header["kind"], header["details"], arrays


def tell(stream: IO[bytes], news: News) -> None:
    """Write news as a message."""
    details = vars(news).copy()
    change = details.pop("change", None)
    send(stream, type(news).__name__, details, *(() if change is None else (change,)))


def hear(stream: IO[bytes]) -> News | None:
    """Read news as :func:`tell` wrote them; None at the end."""
    message = receive(stream)
    if message is None:
        return None
    kind, details, arrays = message
    if kind == "Learned":
        details["power_db"] = tuple((a, b, db) for a, b, db in details["power_db"])
        return Learned(**details, change=arrays[0] if arrays else None)
    return Saved(**details) if kind == "Saved" else Ended(**details)


class LearnerProcess:
    """Learns in a process of its own.

    Parameters
    ----------
    bundle_path : str
        What is served.
    upsampler : Upsampler
        Renders it.
    wanted : AdaptSettings
        When to learn, and where to save.

    Raises
    ------
    OutputError
        If the process cannot be started.
    """

    def __init__(self, bundle_path: str, upsampler: Upsampler, wanted: AdaptSettings) -> None:
        command = [sys.executable, "-m", "emag_rt", "adapt", f"--live={bundle_path}"]
        try:
            self._child = subprocess.Popen(  # noqa: S603 - this program, by this interpreter
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **own_group()
            )
        except OSError as error:
            raise OutputError(f"adapt: its process cannot be started: {error.strerror}.") from error
        self._to_send: queue.Queue[tuple[str, object, Sequence[FloatArray]] | None]
        self._to_send = queue.Queue(_MOST_WAITING)
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._closing = False
        operator, positions_mm = upsampler.fading.estimate
        details = {
            "sha256": upsampler.bundle.sha256,
            "after_s": wanted.after_s,
            "every_s": wanted.every_s,
            "rows": upsampler.fading.rendered,
            "save_in": wanted.save_in,
            "population": wanted.population,
        }
        self._put("begin", details, positions_mm, operator.taps, operator.weights)
        self._threads = [
            threading.Thread(target=work, name=f"adapt: {name}", daemon=True)
            for name, work in (("to", self._write), ("from", self._read))
        ]
        for thread in self._threads:
            thread.start()

    def add(self, block: FloatArray, era: int) -> None:
        """Hand over a block; see :class:`Learns`."""
        self._put("block", era, block)

    def save(self) -> None:
        """Have the adapted bundle saved."""
        if not self._put("save", None):
            self._news.put(Saved(why_not="the process that learns gets no core. Try again"))

    def news(self, timeout_s: float = 0.0) -> News | None:
        """What has come since, one at a time."""
        with contextlib.suppress(queue.Empty):
            return self._news.get(timeout_s > 0, timeout_s)
        return None

    def close(self) -> None:
        """End it: it goes when its standard input does."""
        self._closing = True
        with contextlib.suppress(queue.Full):
            self._to_send.put_nowait(None)
        try:
            self._child.wait(_END_S)
        except subprocess.TimeoutExpired:  # in the midst of computing, or it gets no core
            self._child.kill()
            self._child.wait()
        for thread in self._threads:
            thread.join(_END_S)
        assert self._child.stdout is not None
        self._child.stdout.close()

    def _put(self, kind: str, details: object, *arrays: FloatArray) -> bool:
        try:
            self._to_send.put_nowait((kind, details, arrays))
        except queue.Full:  # it gets no core: what it misses, it need not learn
            return False
        return True

    def _write(self) -> None:
        pipe = self._child.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # it has ended: the other thread says so
            while (message := self._to_send.get()) is not None:
                kind, details, arrays = message
                send(pipe, kind, details, *arrays)
        with contextlib.suppress(OSError):
            pipe.close()

    def _read(self) -> None:
        pipe = self._child.stdout
        assert pipe is not None
        while (news := hear(pipe)) is not None:
            self._news.put(news)
            if isinstance(news, Ended):
                return
        if not self._closing:
            self._news.put(Ended(f"exit {self._child.wait()}"))
