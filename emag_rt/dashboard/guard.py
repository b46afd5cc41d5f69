"""Who may ask: this page alone, under a name that no other site can borrow; and only to read."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emag_rt.web import own_host

log = logging.getLogger(__name__)


class Guard:
    """Checks Host and Origin, refuses all but reading, and sets strict headers.

    A page of another site can make a browser ask a dashboard on the same machine. It can do so
    under its own name when that name is made to mean 127.0.0.1 (DNS rebinding): then Host is that
    name, which is refused. It can open a websocket from afar: then Origin is another's.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    listening : str
        The host that is listened on; requests may name it.
    """

    def __init__(self, app: ASGIApp, listening: str) -> None:
        self._app, self._listening = app, listening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        refused = ""
        own = own_host(host, self._listening)
        if not own:
            refused = (
                "this Host is not the dashboard's: use its address in numbers, localhost, or the "
                "name that --dashboard-host gives"
            )
        elif origin is not None and not same_origin(origin, host):
            refused = "another site's page may not read this"
        if scope["type"] == "websocket":
            if refused:
                log.warning("a websocket was refused: host %r, origin %r", host, origin)
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": refused})
                return
            await self._app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message), host if own else "")
            await send(message)

        if refused:
            await PlainTextResponse(f"403 {refused}\n", 403)(scope, receive, strict)
        elif scope["method"] not in ("GET", "HEAD"):
            answer = PlainTextResponse("405 only GET and HEAD\n", 405, {"Allow": "GET, HEAD"})
            await answer(scope, receive, strict)
        else:
            await self._app(scope, receive, strict)


def same_origin(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` came from ``host``."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _harden(headers: MutableHeaders, host: str) -> None:
    # Not all browsers count a websocket to the page's own host as 'self'.
    sockets = f" ws://{host}" if host else ""
    headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{sockets}; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cache-Control"] = "no-store"
