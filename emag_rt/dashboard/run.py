"""The dashboard's process: streams in, pages out, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import uvicorn
from starlette.applications import Starlette

from emag_rt.array_types import FloatArray
from emag_rt.bundle import load_bundle
from emag_rt.dashboard.app import make_app
from emag_rt.dashboard.board import Board
from emag_rt.dashboard.feed import Feed
from emag_rt.errors import EmagError
from emag_rt.streams.config import Scope
from emag_rt.streams.lsl import configure

_POLL_S = 0.1


@dataclass(frozen=True)
class Options:
    """What to show, and how to find it.

    Attributes
    ----------
    name : str
        The daemon's HD outlet.
    bundle : str or None
        Its bundle, for electrode positions before the outlet is there.
    source : str
        What the daemon reads, for show.
    unit : str or None
        Unit of the LD stream, over what it declares.
    scope, session_id : str or None
        LSL's reach.
    host : str
        The host that is listened on.
    launched : bool
        Whether a daemon started this process, which then ends with it.
    """

    name: str
    bundle: str | None = None
    source: str = ""
    unit: str | None = None
    scope: Scope | None = None
    session_id: str | None = None
    host: str = "127.0.0.1"
    launched: bool = False


def run_dashboard(options: Options, sock: socket.socket, stop: threading.Event) -> None:
    """Show a daemon until told to stop.

    Parameters
    ----------
    options : Options
        What to show.
    sock : socket.socket
        Where browsers connect; listening.
    stop : threading.Event
        Ends it when set.

    Raises
    ------
    EmagError
        If the bundle cannot be read, or LSL not be set up.
    """
    labels, places, sha256 = _electrodes(options)
    configure(options.scope, options.session_id)
    board = Board(options.name, options.source, options.launched, labels, places)
    known = dict(zip(labels, places, strict=True))
    # A daemon shows itself, and no other of its name.
    hostname = socket.gethostname() if options.launched else None
    feed = Feed(
        board, options.name, options.unit, known, hostname, sha256 if options.launched else None
    )
    if options.launched:
        threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    feed.start()
    try:
        _serve(make_app(board, options.host), sock, stop.is_set)
    finally:
        feed.stop()


def _electrodes(options: Options) -> tuple[tuple[str, ...], FloatArray, str | None]:
    if options.bundle is None:
        return (), np.empty((0, 3)), None
    try:
        bundle = load_bundle(options.bundle)
    except EmagError:
        if options.launched:  # the daemon says so itself
            return (), np.empty((0, 3)), None
        raise
    ld = bundle.manifest.ld
    places = np.array([e.position_mm for e in ld], dtype=np.float64).reshape(-1, 3)
    return tuple(e.label for e in ld), places, bundle.sha256


def _end_with_parent(stop: threading.Event) -> None:
    """The daemon holds the other end of standard input, and never writes."""
    while os.read(sys.stdin.fileno(), 64):
        pass
    stop.set()


class _Server(uvicorn.Server):
    """Signals are ours to hear."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _serve(app: Starlette, sock: socket.socket, stopped: Callable[[], bool]) -> None:
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="websockets-sansio",
        ws_max_size=1024,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        log_level="warning",  # below, it logs what is sent: EEG
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)

    async def until_stopped() -> None:
        while not stopped():
            await asyncio.sleep(_POLL_S)
        server.should_exit = True

    async def both() -> None:
        waiting = asyncio.create_task(until_stopped())
        try:
            await server.serve(sockets=[sock])
        finally:
            waiting.cancel()

    asyncio.run(both())
