"""Telling systemd how it goes (``Type=notify``): a datagram to the socket it names."""

from __future__ import annotations

import logging
import os
import socket

from emag_rt.daemon.status.counters import ServerStatus

log = logging.getLogger(__name__)
# How long a manager that is busy is waited for where a message comes only once.
_PATIENCE_S = 1.0
_UNIX = getattr(socket, "AF_UNIX", 0)  # Windows has neither it nor systemd


class Notifier:
    """Reports readiness, signs of life and the end, as sd_notify(3) does.

    Parameters
    ----------
    address : str
        Of the socket: a path, or ``@`` and a name in the abstract namespace.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(_UNIX, socket.SOCK_DGRAM)
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = self._ended = False

    @classmethod
    def from_environment(cls, interval_s: float) -> Notifier | None:
        """The one that systemd asks for, or None.

        Parameters
        ----------
        interval_s : float
            Seconds between reports; a warning says so where the watchdog would not wait that long.
        """
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        if watchdog.isdecimal() and interval_s > int(watchdog) / 2e6:
            log.warning(
                "status.interval_s should be at most half of systemd's WatchdogSec (%g s), got "
                "%g s: the watchdog would end a healthy daemon",
                int(watchdog) / 1e6,
                interval_s,
            )
        return cls(address)

    def waiting(self) -> None:
        """Say what start-up waits for."""
        self._send("STATUS=waiting for the source")

    def ready(self) -> None:
        """Say that samples are served from now on."""
        self._send("READY=1\nSTATUS=serving", _PATIENCE_S)

    def __call__(self, status: ServerStatus) -> None:
        """Give a sign of life; it comes from the serving loop, so a stuck loop gives none."""
        c = status.counters
        self._send(
            f"WATCHDOG=1\nSTATUS={status.state}: in {c.samples_in}, out {c.samples_out}, "
            f"gaps {c.gaps}, skipped {c.skipped}"
        )

    def finish(self, status: ServerStatus) -> None:
        """Say how it ended."""
        self._ended = True
        self._send(
            f"STOPPING=1\nSTATUS={status.state}: out {status.counters.samples_out}", _PATIENCE_S
        )

    def close(self) -> None:
        """Say that the process ends, whether or not it ever served."""
        if not self._ended:
            self._send("STOPPING=1", _PATIENCE_S)
        self._socket.close()

    def _send(self, text: str, wait_s: float = 0.0) -> None:
        """Signs of life are never waited for: the next follows soon."""
        try:
            self._socket.settimeout(wait_s)
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be told how it goes (%s): going on without", error)
            self._failed = True
