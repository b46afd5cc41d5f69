"""What everything of ours that answers browsers shares: where it listens, and to whom."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from urllib.parse import urlsplit

from emag_rt.errors import OutputError
from emag_rt.system import server_socket

log = logging.getLogger(__name__)
_BACKLOG = 64
_PLAIN = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def listen(host: str, port: int, what: str) -> tuple[socket.socket, str]:
    """A socket that browsers can connect to, and its URL.

    Parameters
    ----------
    host : str
        Name or address to listen on; one that other hosts can reach gets a warning.
    port : int
        TCP port; 0 takes any free one.
    what : str
        What listens; options ``--WHAT-port`` and ``--WHAT-host`` choose where.

    Returns
    -------
    socket : socket.socket
        Bound and listening.
    url : str
        Where, in numbers, without a path.

    Raises
    ------
    OutputError
        If it cannot listen there: the port is taken or not allowed, the host unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        sock = server_socket(address, family, _BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{what}: {host} port {port} cannot be listened on: {reason}. Choose another "
            f"--{what}-port or --{what}-host, or end what listens there."
        ) from error
    bound, number = sock.getsockname()[:2]
    own = ipaddress.ip_address(bound.split("%")[0])
    url = f"http://[{own}]:{number}" if own.version == 6 else f"http://{own}:{number}"
    if not own.is_loopback:
        log.warning(
            "%s: %s can be read from other hosts: there is no authentication and no encryption",
            what,
            url,
        )
    return sock, url


def own_host(header: str, listening: str = "") -> bool:
    """Whether a Host header can only mean this machine.

    A page of another site can make a browser ask a server on the same machine under the site's
    own name, once that name is made to mean 127.0.0.1 (DNS rebinding). Numbers cannot be made to
    mean anything else.

    Parameters
    ----------
    header : str
        ``name`` or ``name:port``.
    listening : str
        The host that was asked to listen on.

    Returns
    -------
    bool
        True for an address in numbers, ``localhost``, this machine's name, and ``listening``.
    """
    if not _PLAIN.fullmatch(header):  # it may be repeated in an answer
        return False
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name and name in ("localhost", socket.gethostname().lower(), listening.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
