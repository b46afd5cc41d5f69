"""How long a stream's description is, before liblsl takes it in."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import Any

from emag_rt.errors import StreamMismatch
from emag_rt.streams.description import MAX_BYTES

_FULL_INFO = b"LSL:fullinfo\r\n"
_DATA_PORT = re.compile(r"<v4data_port>(\d{1,5})</v4data_port>")


def port_here(info: Any) -> int:
    """TCP port of a stream of this host; 0 where it is another's, or has none."""
    found = _DATA_PORT.search(info.as_xml())
    return int(found[1]) if found and info.hostname() == socket.gethostname() else 0


def require_small(port: int, what: str, timeout_s: float) -> None:
    """Refuse a description that is too long, having read no more of it than may be.

    Raises
    ------
    StreamMismatch
        If it is longer than 8 MiB.
    """
    size, deadline = 0, time.monotonic() + timeout_s
    with (
        contextlib.suppress(OSError),  # liblsl says what is wrong
        socket.create_connection(("127.0.0.1", port), min(1.0, timeout_s)) as connection,
    ):
        connection.sendall(_FULL_INFO)
        while size <= MAX_BYTES and time.monotonic() < deadline:
            n = len(connection.recv(1 << 16))
            if not n:
                return
            size += n
    if size > MAX_BYTES:
        raise StreamMismatch(
            f"{what}: its description must be at most {MAX_BYTES >> 20} MiB, it is longer. Mend "
            "the amplifier's outlet."
        )
