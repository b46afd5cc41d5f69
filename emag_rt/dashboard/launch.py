"""Starting the dashboard as a process beside the daemon; imports nothing of the web side."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from emag_rt.errors import OutputError, SettingsError
from emag_rt.system import ask_to_end, inheriting, own_group
from emag_rt.web import listen

log = logging.getLogger(__name__)
_NEEDED = ("starlette", "uvicorn", "websockets")
_END_S = 5.0


def has_extra() -> bool:
    """Whether the packages of the extra are installed."""
    return not _missing()


def require_extra() -> None:
    """Refuse, before anything starts, where the web side cannot.

    Raises
    ------
    SettingsError
        If a package of the extra is not installed; names it and the extra.
    """
    missing = _missing()
    if missing:
        raise SettingsError(
            f"dashboard: {', '.join(missing)} must be installed, which the extra 'dashboard' "
            "brings: pip install 'emag-rt[dashboard]'. Or serve without --dashboard."
        )


def _missing() -> list[str]:
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


@contextlib.contextmanager
def beside(arguments: Sequence[str], host: str, port: int) -> Iterator[str]:
    """Run ``emag-rt dashboard`` as a child for as long as the context lasts.

    Should it end by itself, that is logged once, and nothing else happens.

    Parameters
    ----------
    arguments : sequence of str
        For the subcommand.
    host, port : str, int
        Where it listens.

    Yields
    ------
    str
        Its URL.

    Raises
    ------
    SettingsError
        If the extra is not installed.
    OutputError
        If the port cannot be listened on, or the process not be started.
    """
    require_extra()
    sock, url = listen(host, port, "dashboard")
    with sock:
        listening = [f"--listen-fd={sock.fileno()}", f"--dashboard-host={host}"]
        command = [sys.executable, "-m", "emag_rt", "dashboard", *listening, *arguments]
        try:
            # Ctrl-C is the daemon's to answer. The child ends when its standard input does,
            # whatever happens to us.
            child = subprocess.Popen(  # noqa: S603 - this program, by this interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                **inheriting(sock),
                **own_group(),
            )
        except OSError as error:
            raise OutputError(f"dashboard: cannot be started: {error.strerror}.") from error
    ending = threading.Event()
    watcher = threading.Thread(target=_watch, args=(child, ending), daemon=True, name="dashboard")
    watcher.start()
    try:
        yield f"{url}/"
    finally:
        ending.set()
        ask_to_end(child)
        watcher.join(_END_S)
        if watcher.is_alive():
            child.kill()
            watcher.join(_END_S)
        if child.stdin is not None:
            child.stdin.close()


def _watch(child: subprocess.Popen[bytes], ending: threading.Event) -> None:
    status = child.wait()
    if not ending.is_set():
        log.warning(
            "the dashboard has ended (exit %d): serving goes on without it. `emag-rt dashboard` "
            "attaches another",
            status,
        )
