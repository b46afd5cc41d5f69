"""The ports that LSL's outlets listen on."""

from __future__ import annotations

import contextlib
import socket

PORTS = range(16572, 16605)
"""liblsl's own range: each outlet takes one TCP and one UDP port of it, for each version of IP."""


def used_up(ports: range = PORTS) -> str:
    """What is to be known of a host whose LSL ports are taken, and the remedy; else empty.

    An outlet then takes any other port, or fails where settings forbid that.
    """
    for kind, protocol in ((socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")):
        if not any(_is_free(port, kind) for port in ports):
            return (
                f"all LSL ports of this host ({protocol} {ports[0]}-{ports[-1]}) are taken: "
                "outlets take others, which firewalls stop and other hosts may not find. End "
                "programs that hold outlets (some 16 fit), or widen PortRange in lsl_api.cfg."
            )
    return ""


def _is_free(port: int, kind: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("", port))
        return True
    return False
