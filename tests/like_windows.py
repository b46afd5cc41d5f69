"""Makes this Python as poor as one on Windows, as far as our own code can tell."""

from __future__ import annotations

import errno
import importlib
import os
import platform
import select
import signal
import socket
import sys
import types

GONE = {
    os: "fork forkpty nice sched_yield sched_setscheduler sched_param SCHED_IDLE sched_getaffinity "
    "getuid geteuid getgid getegid setsid getpgid killpg getpriority setpriority getloadavg mkfifo "
    "chown uname sysconf statvfs openpty pread pwrite sendfile posix_fadvise posix_spawn wait3 "
    "O_NONBLOCK O_CLOEXEC O_NOCTTY O_DIRECTORY O_NOFOLLOW O_SYNC",
    signal: "SIGHUP SIGKILL SIGSTOP SIGCONT SIGUSR1 SIGUSR2 SIGPIPE SIGALRM SIGCHLD SIGQUIT alarm "
    "pause setitimer sigwait pthread_sigmask pthread_kill",
    select: "poll epoll",
    socket: "AF_UNIX SO_REUSEPORT",
}
MODULES = ("fcntl", "termios", "tty", "pty", "pwd", "grp", "resource", "syslog")
OURS = ("emag_rt", "calibration", "tests.factories")


def become_windows() -> None:
    """Take away what Windows has not; modules of others that are imported keep what they have."""
    import fcntl

    access, sync, send, pair = fcntl.fcntl, os.fsync, os.kill, socket.socketpair
    pair_family = socket.AF_UNIX
    platform.platform()  # asked now, it is remembered

    def fsync(descriptor: int) -> None:
        if access(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        sync(descriptor)

    def kill(pid: int, number: int) -> None:
        if sys._getframe(1).f_globals["__name__"].startswith("psutil"):  # has another way there
            return send(pid, number)
        raise AssertionError(f"would send Ctrl-C to process {pid}, or end it ({number})")

    def select_sockets(*_args: object) -> None:
        raise OSError(10038, "an operation was attempted on something that is not a socket")

    for name in [n for n in sys.modules if n.startswith(OURS)]:
        del sys.modules[name]
    for module, names in GONE.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # makes its import fail
    os.fsync, os.kill, select.select = fsync, kill, select_sockets  # type: ignore[assignment]
    socket.socketpair = lambda *_args: pair(pair_family)  # made by TCP there
    flock, alone = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB
    sys.modules["msvcrt"] = types.SimpleNamespace(  # type: ignore[assignment]
        kbhit=lambda: False,
        getch=lambda: b"q",
        LK_NBLCK=2,
        locking=lambda descriptor, _mode, _n_bytes: flock(descriptor, alone),
    )
    sys.platform = "win32"


def import_all(names: list[str]) -> list[str]:
    """Import modules; returns those that fail, with why."""
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed.append(f"{name}: {error!r}")
    return failed
