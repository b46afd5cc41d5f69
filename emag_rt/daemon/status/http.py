"""A small HTTP server that only reads out: WSGI applications by path, and a bound on clients."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from emag_rt.web import listen, own_host

log = logging.getLogger(__name__)
Answer = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers, body."""

_MAX_CONNECTIONS = 16
_DEADLINE_S = 5.0
_POLL_S = 0.25
_MAX_DRAIN = 65536


class PageServer:
    """Serves a few pages, each made anew for every request, from threads of its own.

    Clients can only read: GET and HEAD of known paths, under a name that can only mean this
    machine. A request has five seconds from connecting to the answer, and of more than 16
    connections the oldest is closed, so clients that dawdle keep nobody out.

    Parameters
    ----------
    host : str
        Name or address to listen on.
    port : int
        TCP port; 0 takes any free one.
    pages : mapping of str to WSGI application
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

    def __init__(self, host: str, port: int, pages: Mapping[str, WSGIApplication]) -> None:
        sock, self.url = listen(host, port, "http")
        self._server = _Server(sock, read_only(pages, host))
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


def text_page(make: Callable[[], tuple[str, str]]) -> WSGIApplication:
    """A page of plain text; ``make`` gives a status line and the text."""

    def page(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        status, headers, body = _plain(*make())
        start_response(status, headers)
        return [body]

    return page


def read_only(pages: Mapping[str, WSGIApplication], host: str) -> WSGIApplication:
    """Pages by path for those who may ask, and nothing else.

    Parameters
    ----------
    pages : mapping of str to WSGI application
        Each is asked with GET, for HEAD as well.
    host : str
        What is listened on; requests may name it.

    Returns
    -------
    WSGI application
        Answers 403, 404, 405 or 500 where there is nothing to read.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        try:
            refused = _refusal(environ, pages, host)
            status, headers, body = refused or _ask(pages[environ["PATH_INFO"]], environ)
        except Exception:
            log.exception("http: an answer failed")
            status, headers, body = _plain("500 Internal Server Error", "500 this page failed\n")
        headers += [
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Server", _Handler.server_version),
        ]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return answer


def _refusal(
    environ: WSGIEnvironment, pages: Mapping[str, WSGIApplication], host: str
) -> Answer | None:
    named = environ.get("HTTP_HOST")
    if named is not None and not own_host(named, host):  # every browser sends one
        text = "403 this Host is not ours: use the address in numbers, localhost, or the name "
        return _plain("403 Forbidden", text + "that --http-host gives\n")
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        # Take in what was sent along: a connection closed on unread data loses the answer.
        length = environ.get("CONTENT_LENGTH", "")
        if length.isdecimal():
            environ["wsgi.input"].read(min(int(length), _MAX_DRAIN))
        status, headers, body = _plain("405 Method Not Allowed", "405 only GET and HEAD\n")
        return status, [*headers, ("Allow", "GET, HEAD")], body
    if environ["PATH_INFO"] not in pages:
        return _plain("404 Not Found", f"404 there are {', '.join(pages)}\n")
    return None


def _ask(page: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    told: list[tuple[str, list[tuple[str, str]]]] = []

    def start(
        status: str, headers: list[tuple[str, str]], _error: object = None, /
    ) -> Callable[[bytes], object]:
        told.append((status, list(headers)))
        return lambda _body: None

    body = b"".join(page({**environ, "REQUEST_METHOD": "GET"}, start))
    return *told[-1], body


def _plain(status: str, text: str) -> Answer:
    return status, [("Content-Type", "text/plain; charset=utf-8")], text.encode()


class _Handler(WSGIRequestHandler):
    server_version = "emag-rt"
    sys_version = ""
    timeout = _DEADLINE_S
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def log_message(self, format: str, *args: object) -> None:
        log.debug("%s %r", self.client_address[0], format % args)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread a connection, a bounded number of them, none for long."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: socket.socket, application: WSGIApplication) -> None:
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}  # the oldest first
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        host, port = sock.getsockname()[:2]
        # Bound already: http.server would ask the network for the host's name, for seconds.
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.server_name, self.server_port = host, port
        self.setup_environ()
        self.set_app(application)

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

    def process_request(  # type: ignore[override]  # TCP: a request is a connection
        self, request: socket.socket, client_address: tuple[str, int]
    ) -> None:
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

    def process_request_thread(  # type: ignore[override]
        self, request: socket.socket, client_address: tuple[str, int]
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._since.pop(connection, None)
        self._slots.release()

    def handle_error(self, request: object, client_address: tuple[str, int]) -> None:
        error = sys.exception()
        if isinstance(error, OSError):  # a client that went away
            log.debug("%s: %s", client_address[0], error)
        else:
            log.error("http: an answer failed", exc_info=error)
