"""What operating systems do differently; names of drivers and libraries alone stand elsewhere."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import queue
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


TERMINATE = _signals("SIGTERM", "SIGBREAK")
"""What asks a process to end, besides Ctrl-C; Windows sends SIGBREAK."""
STOP_SIGNALS = (signal.SIGINT, *TERMINATE, *_signals("SIGHUP"))
"""Ctrl-C, the same, and a terminal that closes."""

SAVE_AND_UNDO = _signals("SIGUSR1", "SIGUSR2")
"""What asks a daemon to save what it has adapted, and to undo it; Windows has no such signals."""

# A pipe without a reader would be waited for; Windows would write \r\n for \n.
OPEN_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags of ``os.open`` for a file or pipe that is written as it is, without waiting."""

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""Errors of a system that gives this process no more files, memory or threads."""

yield_core: Callable[[], None] = getattr(os, "sched_yield", lambda: None)
"""Let another thread of this core go first."""

_PR_SET_TIMERSLACK = 29
_NICE = 10


def flush_to_disk(path: Path) -> None:
    """Wait until what a file holds is on the disk; Windows asks for the right to write."""
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, too; Windows has no such request."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse; the files themselves are there
        pass
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Take an open file for this process alone, without waiting, until it is closed.

    Between containers that share a folder a lock holds, and a process id means nothing.

    Parameters
    ----------
    descriptor : int
        Of a file opened for writing.

    Returns
    -------
    bool
        False where another has it.

    Raises
    ------
    OSError
        If the file system knows no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def step_back(session: bool = False) -> None:
    """Let every other process of this machine go first, the daemon above all.

    A process that is merely nice is not always put aside at once when the daemon wakes up, so
    the first process of a session becomes an idle one. Linux shares cores among sessions first:
    alone in its own it has as much as any. Beside others in theirs it might never run.

    Parameters
    ----------
    session : bool
        That session, too: it has a ninth of another's share, so that on a machine without a free
        core it gets on slowly.
    """
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.IDLE_PRIORITY_CLASS)
        return
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another libc, or not allowed
            if os.getsid(0) == os.getpid():
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                if session:
                    with contextlib.suppress(OSError):
                        Path("/proc/self/autogroup").write_text(str(_NICE))
                return
    os.nice(_NICE)


def precise_timers() -> bool:
    """Ask the system not to round sleeps up: by 50 µs on Linux, by 15 ms on Windows.

    Returns
    -------
    bool
        Whether it agreed.
    """
    try:
        if sys.platform == "win32":
            return int(ctypes.WinDLL("winmm").timeBeginPeriod(1)) == 0
        return int(ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)) == 0
    except (OSError, AttributeError, TypeError):
        return False


def command_line(words: Sequence[str]) -> str:
    """Words as somebody would type them into the shell of this system."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def own_group() -> dict[str, Any]:
    """Options of :class:`subprocess.Popen` for a child that Ctrl-C does not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def endable() -> dict[str, Any]:
    """Options of :class:`subprocess.Popen` for a child that :func:`ask_to_end` can ask.

    Windows asks whole groups, so that it must be in one of its own.
    """
    return own_group() if sys.platform == "win32" else {}


def ask_to_end(process: subprocess.Popen[Any]) -> None:
    """Let a child save and go; on Windows ``terminate()`` would kill it."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):  # without a console there is nothing to ask with
            process.send_signal(signal.CTRL_BREAK_EVENT)
            return
    process.terminate()


def inheriting(sock: socket.socket) -> dict[str, Any]:
    """Options of :class:`subprocess.Popen` for a child that gets a socket, by the same number."""
    if sys.platform == "win32":
        sock.set_inheritable(True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [sock.fileno()]})
        return {"startupinfo": startup}
    return {"pass_fds": (sock.fileno(),)}


def server_socket(address: tuple[Any, ...], family: int, backlog: int) -> socket.socket:
    """A listening TCP socket, alone at its port.

    An address that was just let go is free again. On Windows the option that says so would let
    two servers share a port; another one forbids it.
    """
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    if exclusive is None:
        return socket.create_server(address[:2], family=family, backlog=backlog)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def has_room(descriptor: int) -> bool:
    """Whether a pipe takes a line now; Windows does not tell, and writing to it may wait."""
    if sys.platform == "win32" or not hasattr(select, "poll"):
        return True
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    return bool(room.poll(0))


def too_tight_limit() -> str:
    """Which limit of this process (``ulimit``) is too low to serve, and the remedy; else empty."""
    if sys.platform == "win32":
        return ""
    import resource

    wanted = {"n": ("RLIMIT_NOFILE", 128, 1, "files"), "v": ("RLIMIT_AS", 2 << 20, 1024, "KiB")}
    for option, (name, least, unit, what) in wanted.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY and limit < least * unit:
            return (
                f"ulimit -{option} must be at least {least} {what}, got {limit // unit}. "
                f"Raise it: ulimit -{option} {least}."
            )
    try:  # what ulimit -u bounds are threads, of all processes of this user
        threads = [threading.Thread(target=threading.Event().wait, args=(0.02,)) for _ in range(8)]
        for thread in threads:
            thread.start()
    except RuntimeError:
        return "ulimit -u must allow 8 more threads, it does not. Raise it, or end other programs."
    return ""


@contextlib.contextmanager
def typed_keys(descriptor: int, terminal: bool) -> Iterator[Callable[[], bytes | None]]:
    """What comes in on standard input, without waiting for it.

    Parameters
    ----------
    descriptor : int
        Of standard input.
    terminal : bool
        Whether it is one: keys then come without Enter, and are not shown.

    Yields
    ------
    callable
        Returns the bytes since the last call, None where it has ended.
    """
    if sys.platform == "win32":
        yield _console_keys if terminal else _read_ahead(descriptor)
        return

    def read() -> bytes | None:
        if not select.select([descriptor], [], [], 0.0)[0]:
            return b""
        return os.read(descriptor, 256) or None

    with _one_by_one(descriptor) if terminal else contextlib.nullcontext():
        yield read


@contextlib.contextmanager
def _one_by_one(descriptor: int) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _console_keys() -> bytes:
    pressed = b""
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            pressed += msvcrt.getch()
    return pressed


def _read_ahead(descriptor: int) -> Callable[[], bytes | None]:
    """A thread waits for a pipe: Windows cannot say whether something is in it."""
    came: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def watch() -> None:
        while data := os.read(descriptor, 256):
            came.put(data)
        came.put(b"")

    threading.Thread(target=watch, name="standard input", daemon=True).start()
    ended = False

    def read() -> bytes | None:
        nonlocal ended
        data = b""
        while not ended and not came.empty():
            piece = came.get()
            data, ended = data + piece, not piece
        return data or (None if ended else b"")

    return read
