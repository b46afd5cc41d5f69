"""Two network namespaces joined by a line with delay, jitter, loss and outages, without netem.

Each namespace has a TAP device; this program, in a namespace of its own, hands Ethernet frames
from one to the other when they are due. Run by the tests as ``network.py NAMESPACE NAMESPACE``;
standard input changes the line: ``delay_ms=20 jitter_ms=5 loss=0.05 down=0``.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from emag_rt.streams.config import lsl_config_text

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
ADDRESSES = ("10.77.0.1", "10.77.0.2")
HOSTS = ("lsl-left", "lsl-right")


def why_not() -> str:
    """Why there can be no namespaces here; empty where they can be."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    try:
        done = subprocess.run(["unshare", "-n", "ip", "link"], capture_output=True, check=False)
    except OSError:
        return "no unshare or no ip command"
    return "" if done.returncode == 0 else "no right to make network namespaces"


class Line:
    """Frames on their way; those of one direction keep their order."""

    def __init__(self, seed: int = 0) -> None:
        self.values = {"delay_ms": 0.0, "jitter_ms": 0.0, "loss": 0.0, "down": 0.0}
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._last = [0.0, 0.0]
        self._count = 0

    def take(self, way: int, frame: bytes, now: float) -> None:
        """A frame that was sent at ``now``."""
        v = self.values
        if v["down"] or self._random.random() < v["loss"]:
            return
        due = now + (v["delay_ms"] + v["jitter_ms"] * self._random.random()) / 1e3
        self._last[way] = due = max(due, self._last[way])
        self._count += 1
        heapq.heappush(self._queue, (due, self._count, way, frame))

    def due(self, now: float) -> list[tuple[int, bytes]]:
        """Frames that are due, in order."""
        out = []
        while self._queue and self._queue[0][0] <= now:
            _, _, way, frame = heapq.heappop(self._queue)
            out.append((way, frame))
        return out

    def wait_s(self, now: float) -> float | None:
        """Seconds to the next frame; None when there is none."""
        return max(0.0, self._queue[0][0] - now) if self._queue else None


def _tap(name: str, namespace: str, address: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
    inside = ["ip", "-n", namespace]
    for command in (
        ["ip", "link", "set", name, "netns", namespace],
        [*inside, "addr", "add", f"{address}/24", "dev", name],
        [*inside, "link", "set", name, "up", "multicast", "on"],
        [*inside, "link", "set", "lo", "up"],
        [*inside, "route", "add", "224.0.0.0/4", "dev", name],
    ):
        subprocess.run(command, check=True)
    return fd


def emulate(namespaces: list[str]) -> None:
    """Hand frames over until standard input ends."""
    fds = [_tap(f"tap{i}", namespaces[i], ADDRESSES[i]) for i in range(2)]
    line = Line()
    print("up", flush=True)
    while True:
        ready, _, _ = select.select([*fds, 0], [], [], line.wait_s(time.monotonic()))
        now = time.monotonic()
        if 0 in ready:
            text = os.read(0, 4096).decode()
            if not text:
                return
            for word in text.split():
                key, value = word.split("=")
                line.values[key] = float(value)
        for way, fd in enumerate(fds):
            while fd in ready:
                try:
                    line.take(way, os.read(fd, 65536), now)
                except BlockingIOError:
                    break
        for way, frame in line.due(time.monotonic()):
            with contextlib.suppress(OSError):  # the other end is not up yet
                os.write(fds[1 - way], frame)


class Network:
    """Two hosts and the line between them; a context manager."""

    def __init__(self, folder: Path) -> None:
        run = uuid.uuid4().hex[:8]
        self.names = [f"emag-{run}-{side}" for side in "lr"]
        self._config = folder / "lsl_network.cfg"
        peers = ", ".join(ADDRESSES)
        base = f"[ports]\nIPv6=disable\n[lab]\nKnownPeers={{{peers}}}\n"
        self._config.write_text(lsl_config_text("link", f"net-{run}", -3, base))

    def __enter__(self) -> Network:
        for name in self.names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        self._emulator = subprocess.Popen(
            ["unshare", "-n", sys.executable, __file__, *self.names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._emulator.stdout is not None
        if self._emulator.stdout.readline().strip() != "up":
            self.__exit__()
            raise OSError("the line between the namespaces could not be made")
        return self

    def __exit__(self, *_error: Any) -> None:
        assert self._emulator.stdin is not None
        self._emulator.stdin.close()
        self._emulator.wait(10)
        assert self._emulator.stdout is not None
        self._emulator.stdout.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=True)

    def set(self, **values: float) -> None:
        """Change the line: ``delay_ms``, ``jitter_ms``, ``loss`` (share), ``down`` (0 or 1)."""
        assert self._emulator.stdin is not None
        text = " ".join(f"{key}={value}" for key, value in values.items())
        self._emulator.stdin.write(text + "\n")
        self._emulator.stdin.flush()

    def command(self, host: int, *arguments: object, clock_s: int = 0) -> list[str]:
        """The command line that runs this Python on a host, whose name is its own.

        ``clock_s`` sets the host's monotonic clock, which is LSL's, ahead of this machine's.
        """
        script = f'hostname {HOSTS[host]} && exec "$0" "$@"'
        inside = ["ip", "netns", "exec", self.names[host], "unshare", "-u"]
        if clock_s:
            inside += ["-T", "--monotonic", str(clock_s), "--fork", "--kill-child"]
        return [*inside, "sh", "-c", script, sys.executable, *map(str, arguments)]

    @property
    def env(self) -> dict[str, str]:
        """Environment of the processes on the hosts."""
        return {"LSLAPICFG": str(self._config)}


if __name__ == "__main__":
    emulate(sys.argv[1:])
