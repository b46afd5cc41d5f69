"""A status file: one JSON line for each status."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import sys
import time
from types import TracebackType
from typing import Self

from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.errors import OutputError
from emag_rt.system import OPEN_FLAGS, has_room

log = logging.getLogger(__name__)


class StatusFile:
    """One JSON line for each status, and a last one with ``"summary": true``.

    Whatever happens to the file, the experiment goes on: lines that a full disk or a reader that
    stalls does not take are counted, and the file never holds part of one.

    Parameters
    ----------
    path : str
        File to write, or ``-`` for standard output. What it held before is gone.

    Raises
    ------
    OutputError
        If the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._own = path != "-"
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | OPEN_FLAGS
        try:
            self._file = os.open(path, flags, 0o666) if self._own else sys.stdout.fileno()
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        except (OSError, AttributeError) as error:  # AttributeError: started without a stdout
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"--status-json {path}: cannot be written: {reason}. Name another file."
            ) from error
        self._failing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own:
            with contextlib.suppress(OSError):
                os.close(self._file)

    def __call__(self, status: ServerStatus) -> None:
        """Write a line."""
        self._write(status, summary=False)

    def finish(self, status: ServerStatus) -> None:
        """Write the last line."""
        self._write(status, summary=True)

    def _write(self, status: ServerStatus, summary: bool) -> None:
        now = round(time.time(), 3)
        line = json.dumps({"time": now, "summary": summary, **status.as_dict()}) + "\n"
        try:
            self._append(line.encode())
        except OSError as error:
            status.counters.status_lost += 1
            if not self._failing:
                log.warning(
                    "--status-json %s: cannot be written: %s; serving goes on, lines are lost",
                    self._path,
                    error.strerror or error,
                )
            self._failing = True
            return
        if self._failing:
            log.warning("--status-json %s: can be written again", self._path)
        self._failing = False

    def _append(self, line: bytes) -> None:
        if not self._regular and not has_room(self._file):
            raise BlockingIOError(errno.EAGAIN, "its reader does not keep up")
        written = os.write(self._file, line)
        if written == len(line):
            return
        if self._regular:
            end = os.lseek(self._file, -written, os.SEEK_CUR)
            os.ftruncate(self._file, end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
