"""The web side: a page of our own, and one websocket that only sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib import resources

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from emag_rt.dashboard.board import Board
from emag_rt.dashboard.guard import Guard
from emag_rt.dashboard.hub import Hub, Viewer

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A browser that takes nothing for so long has gone, whatever TCP says.
_SEND_S = 10.0


def make_app(board: Board, listening: str = "127.0.0.1") -> Starlette:
    """The dashboard as an ASGI application.

    Parameters
    ----------
    board : Board
        What it shows.
    listening : str
        The host that is listened on, which requests may name.

    Returns
    -------
    Starlette
        ``/`` and the files of the page, read once, and ``/ws``.
    """
    hub = Hub(board)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        beat = asyncio.create_task(hub.run())
        yield
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat

    async def watch(websocket: WebSocket) -> None:
        await _watch(websocket, hub)

    routes = [*_pages(), WebSocketRoute("/ws", watch)]
    guard = [Middleware(Guard, listening=listening)]
    app = Starlette(routes=routes, middleware=guard, lifespan=lifespan)
    app.state.hub = hub
    return app


def _pages() -> list[Route]:
    routes = []
    folder = resources.files("emag_rt.dashboard") / "static"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            routes.append(Route(path, _page(file.read_bytes(), _TYPES[suffix]), methods=["GET"]))
    return routes


def _page(body: bytes, media_type: str):  # type: ignore[no-untyped-def]
    async def answer(_request: Request) -> Response:
        return Response(body, media_type=media_type)

    return answer


async def _watch(websocket: WebSocket, hub: Hub) -> None:
    viewer = hub.join()
    if viewer is None:
        await websocket.accept()
        await websocket.close(1013, "too many browsers look on: close one")
        return
    await websocket.accept()
    try:
        async with anyio.create_task_group() as both:

            async def send() -> None:
                await _send(websocket, viewer)
                both.cancel_scope.cancel()

            both.start_soon(send)
            await _listen(websocket)
            both.cancel_scope.cancel()
    finally:
        hub.leave(viewer)


async def _send(websocket: WebSocket, viewer: Viewer) -> None:
    with contextlib.suppress(WebSocketDisconnect, TimeoutError, RuntimeError):
        while True:
            for message in await viewer.next():
                with anyio.fail_after(_SEND_S):
                    if isinstance(message, str):
                        await websocket.send_text(message)
                    else:
                        await websocket.send_bytes(message)


async def _listen(websocket: WebSocket) -> None:
    """Nothing is taken from browsers: the first thing one says ends the connection."""
    message = await websocket.receive()
    if message["type"] != "websocket.disconnect":
        with contextlib.suppress(RuntimeError):
            await websocket.close(1008, "this is read only")
