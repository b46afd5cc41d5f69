"""Pages over real sockets: read only, and deaf to clients that dawdle."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest

from emag_rt.daemon.status import http as pages_module
from emag_rt.daemon.status.http import PageServer, text_page
from emag_rt.errors import OutputError
from tests.test_web import HOSTS


def port_of(server):
    return int(server.url.rsplit(":", 1)[1])


def ask(port, path="/a", method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


@pytest.fixture(scope="module")
def served():
    pages = {
        "/a": text_page(lambda: ("200 OK", "here\n")),
        "/broken": text_page(lambda: 1 / 0),
    }
    with PageServer("127.0.0.1", 0, pages) as server:
        yield server


def test_known_paths_can_be_read(served):
    port = port_of(served)
    answer, text = ask(port)
    assert (answer.status, text) == (200, "here\n")
    assert "Python" not in answer.headers["Server"]
    assert ask(port, "/a?b=../../etc&name[]=x")[1] == "here\n"
    answer, text = ask(port, method="HEAD")
    assert (answer.status, text, answer.headers["Content-Length"]) == (200, "", "5")


@pytest.mark.parametrize("path", ["/", "/A", "/a/", "/a/..", "/%2e%2e/a", "/etc/passwd"])
def test_other_paths_are_not_there(served, path):
    answer, text = ask(port_of(served), path)
    assert answer.status == 404
    assert "root" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NEW"])
@pytest.mark.parametrize("path", ["/a", "/other"])
def test_nothing_can_be_written(served, method, path):
    answer, _ = ask(port_of(served), path, method, b"x" * 1000)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"GET /a HTTP/1.0\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /a HTTP/1.0\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01 rubbish and more\r\n\r\n", b"400"),
    ],
)
def test_what_a_client_may_send_is_bounded(served, sent, status):
    with socket.create_connection(("127.0.0.1", port_of(served)), 20) as client:
        client.sendall(sent)
        assert status in client.recv(1000)


def test_a_page_that_fails_is_logged_and_the_rest_goes_on(served, caplog):
    answer, text = ask(port_of(served), "/broken")
    assert (answer.status, text) == (500, "500 this page failed\n")
    assert "ZeroDivisionError" in caplog.text
    assert ask(port_of(served))[0].status == 200


@pytest.mark.parametrize(("host", "own"), [h for h in HOSTS if "\t" not in h[0]])
@pytest.mark.parametrize("path", ["/a", "/none"])
def test_names_that_are_not_ours_get_nothing(served, host, own, path):
    """DNS rebinding: a browser asks under the name of another site."""
    answer, text = ask(port_of(served), path, Host=host)
    expected = {"/a": 200, "/none": 404}[path] if own else 403
    assert answer.status == expected
    assert (text == "here\n") == (expected == 200)


def test_the_name_that_is_listened_on_is_ours():
    with PageServer("localhost", 0, {"/a": text_page(lambda: ("200 OK", "here\n"))}) as server:
        assert ask(port_of(server), Host="LocalHost:1")[0].status == 200
        assert ask(port_of(server), Host="localhost.example")[0].status == 403


def test_a_probe_that_sends_no_host_is_answered(served):
    with socket.create_connection(("127.0.0.1", port_of(served)), 20) as client:
        client.sendall(b"GET /a HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"\r\n\r\nhere\n")


def test_clients_that_dawdle_block_nobody_and_do_not_pile_up(served, wait_until):
    before = threading.active_count()
    slow = []
    for _ in range(60):
        client = socket.create_connection(("127.0.0.1", port_of(served)), 20)
        client.sendall(b"GET /a HTTP/1.0\r\nx: ")
        slow.append(client)
    assert ask(port_of(served))[0].status == 200
    assert threading.active_count() <= before + pages_module._MAX_CONNECTIONS
    for client in slow:
        client.close()
    wait_until(lambda: threading.active_count() <= before, 20, "threads to end")


def test_a_byte_now_and_then_does_not_keep_a_connection(monkeypatch, served):
    monkeypatch.setattr(pages_module, "_DEADLINE_S", 0.3)
    with socket.create_connection(("127.0.0.1", port_of(served)), 20) as client:
        client.settimeout(0.05)
        for _ in range(1000):
            try:
                client.sendall(b"G")
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("never hung up")


def test_a_taken_port_and_an_unknown_host_are_said(served, caplog):
    with pytest.raises(OutputError, match=r"port \d+ cannot be listened on.*in use") as caught:
        PageServer("127.0.0.1", port_of(served), {})
    assert caught.value.exit_code == 9
    with pytest.raises(OutputError, match=r"http: 256\.1\.1\.1 port 0 cannot be listened on"):
        PageServer("256.1.1.1", 0, {})
    assert not caplog.text
    with PageServer("0.0.0.0", 0, {}):
        assert "no authentication" in caplog.text
