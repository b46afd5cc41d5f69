"""Child processes: started in a private LSL session, listened to, ended by their own id."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import psutil

from emag_rt.errors import StreamError
from emag_rt.system import ask_to_end, endable

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_END_S = 20.0


def new_session() -> str:
    """An LSL session id that nobody else has."""
    return f"bench-{uuid.uuid4().hex[:12]}"


def child_environment() -> dict[str, str]:
    """Of all children: one BLAS thread, no LSL settings but ours."""
    ours = ("LSLAPICFG", "EMAG_RT_LSL_SCOPE", "EMAG_RT_SESSION_ID")
    env = {key: value for key, value in os.environ.items() if key not in ours}
    for name in THREADS:
        env.setdefault(name, "1")
    return {**env, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


class Child:
    """A child process whose lines are read as they come, with the time of each.

    Parameters
    ----------
    what : str
        Names it in messages.
    arguments : sequence of str
        For this Python.

    Attributes
    ----------
    process : psutil.Process
        For its CPU time and memory.
    started : float
        ``time.monotonic()`` before the start.
    """

    def __init__(self, what: str, *arguments: str) -> None:
        self.what = what
        self.started = time.monotonic()
        self._popen = subprocess.Popen(  # noqa: S603 - our own modules, by this interpreter
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=child_environment(),
            **endable(),
        )
        self.process = psutil.Process(self._popen.pid)
        self.lines: list[tuple[float, str]] = []
        self._news = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        # Closed here: grandchildren that live on hold the pipe open, and this thread in it.
        with self._popen.stdout as lines:
            for line in lines:
                with self._news:
                    self.lines.append((time.monotonic(), line.rstrip("\n")))
                    self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def wait_for(self, word: str, timeout_s: float, after: int = 0) -> tuple[float, str]:
        """Wait for a line that begins with ``word``.

        Parameters
        ----------
        word : str
            Beginning of the line.
        timeout_s : float
            Longest wait.
        after : int
            Lines to pass over.

        Returns
        -------
        when : float
            ``time.monotonic()`` of the line.
        line : str
            All of it.

        Raises
        ------
        StreamError
            If the child ends or the time runs out before, with what it said.
        """
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                for when, line in self.lines[after:]:
                    if line.startswith(word):
                        return when, line
                left = deadline - time.monotonic()
                if self._over or left <= 0:
                    break
                self._news.wait(left)
        said = "\n".join(line for _, line in self.lines[-15:]) or "nothing"
        state = "ended" if self._over else f"said nothing for {timeout_s:g} s"
        raise StreamError(
            f"{self.what} must say {word!r}, it {state}. What it said:\n{said}\nA machine that is "
            "too busy, or a firewall that blocks LSL on this host, looks like that."
        )

    def cpu_s(self) -> float:
        """User and system time so far, in s."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Resident memory in MB."""
        return float(self.process.memory_info().rss / 1e6)

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()

    def end(self) -> None:
        """Ask it to end and wait until it has; kill it when it does not."""
        ask_to_end(self._popen)
        try:
            self._popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._reader.join(5.0)


@contextlib.contextmanager
def all_of(*children: Child) -> Iterator[None]:
    """End all of them at the end, whatever happened."""
    with contextlib.ExitStack() as stack:
        for child in children:
            stack.callback(child.end)
        yield
