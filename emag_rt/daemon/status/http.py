"""``/metrics``, ``/healthz`` and ``/readyz``: a daemon seen over HTTP, read only."""

from __future__ import annotations

import http.server
import ipaddress
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from emag_rt.errors import OutputError

log = logging.getLogger(__name__)
Page = Callable[[], tuple[int, str, bytes]]
"""Makes a status, a content type and a body."""

TEXT = "text/plain; charset=utf-8"
_MAX_CONNECTIONS = 16
_DEADLINE_S = 5.0
_POLL_S = 0.25
_MAX_DRAIN = 65536


class PageServer:
    """Serves a few pages, each made anew for every request, from threads of its own.

    Clients can only read: GET and HEAD of known paths, whatever the query says. A request has
    five seconds from connecting to the answer, and of more than 16 connections the oldest is
    closed, so clients that dawdle keep nobody out.

    Parameters
    ----------
    host : str
        Name or address to listen on.
    port : int
        TCP port; 0 takes any free one.
    pages : dict of str to callable
        By path.

    Attributes
    ----------
    url : str
        Where it listens.

    Raises
    ------
    OutputError
        If it cannot listen there: the port is taken or not allowed, the host unknown.
    """

    def __init__(self, host: str, port: int, pages: dict[str, Page]) -> None:
        try:
            self._server = _Server(host, port, pages)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"http: {host} port {port} cannot be listened on: {reason}. Choose another "
                "--http-port or --http-host, or end what listens there."
            ) from error
        address = ipaddress.ip_address(str(self._server.server_address[0]).split("%")[0])
        name = f"[{address}]" if address.version == 6 else str(address)
        self.url = f"http://{name}:{self._server.server_address[1]}"
        if not address.is_loopback:
            log.warning(
                "%s can be read from other hosts: there is no authentication and no encryption",
                self.url,
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="http", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; answers under way are cut off."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.hang_up(older_than_s=0.0)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "emag-rt"
    sys_version = ""
    timeout = _DEADLINE_S
    error_content_type = TEXT
    error_message_format = "%(code)d %(message)s\n"

    def __getattr__(self, name: str) -> Any:
        # Every method there is or will be: http.server looks for do_POST and the like.
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if self.command not in ("GET", "HEAD"):
            self._drain()
            self._send(405, TEXT, b"405 only GET and HEAD\n")
        elif page is None:
            self._send(404, TEXT, f"404 there are {', '.join(self.server.pages)}\n".encode())
        else:
            self._send(*page())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drain(self) -> None:
        """Take in what was sent along: a connection closed on unread data loses the answer."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal():
            self.rfile.read(min(int(length), _MAX_DRAIN))

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %r", self.client_address[0], format % args)


class _Server(http.server.ThreadingHTTPServer):
    """One thread a connection, a bounded number of them, none for long."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, pages: dict[str, Page]) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.pages = pages
        self._lock = threading.Lock()
        self._since: dict[Any, float] = {}  # by connection, the oldest first
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(found[0][4][:2], _Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        # http.server's own asks the network for the host's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def hang_up(self, *, older_than_s: float, at_most: int = _MAX_CONNECTIONS) -> None:
        """End connections, the oldest first; their threads then read the end and leave."""
        now = time.monotonic()
        with self._lock:
            old = [c for c, since in self._since.items() if now - since >= older_than_s]
        for connection in old[:at_most]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # gone already
                continue

    def service_actions(self) -> None:
        # A timeout alone never ends a client that sends a byte now and then.
        self.hang_up(older_than_s=_DEADLINE_S)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.hang_up(older_than_s=0.0, at_most=1)
            if not self._slots.acquire(timeout=_POLL_S):
                self.shutdown_request(request)
                return
        with self._lock:
            self._since[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, request: Any) -> None:
        with self._lock:
            self._since.pop(request, None)
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, OSError):  # a client that went away
            log.debug("%s: %s", client_address[0], error)
        else:
            log.error("http: an answer failed", exc_info=error)
