"""Where our pages listen, and which Host headers can only mean this machine."""

from __future__ import annotations

import socket

import pytest

from emag_rt.errors import OutputError
from emag_rt.web import listen, own_host

HOSTS = [
    ("127.0.0.1:8050", True),
    ("localhost:8050", True),
    ("LOCALHOST", True),
    ("[::1]:8050", True),
    ("192.168.7.5:8050", True),
    ("evil.example:8050", False),
    ("127.0.0.1.evil.example:8050", False),
    ("localhost.evil.example", False),
    ("127.0.0.1@evil.example", False),
    ("[::1", False),
    ("[::1;x]", False),
    ("localhost:1; script-src *", False),
    ("localhost\t", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "own"), HOSTS)
def test_only_names_that_mean_this_machine_are_its_own(host, own):
    assert own_host(host) == own
    assert own_host(host, "127.0.0.1") == own


def test_this_machines_name_and_the_one_listened_on_are_its_own():
    assert own_host(f"{socket.gethostname().upper()}:9464")
    assert own_host("Lab-PC.example.org:9464", "lab-pc.example.org")
    assert not own_host("other.example.org:9464", "lab-pc.example.org")


def test_a_taken_port_an_unknown_host_and_a_public_address_are_said(caplog):
    sock, url = listen("127.0.0.1", 0, "http")
    with sock:
        port = sock.getsockname()[1]
        assert url == f"http://127.0.0.1:{port}"
        with pytest.raises(OutputError, match=r"^dashboard: .* in use.*--dashboard-port") as caught:
            listen("127.0.0.1", port, "dashboard")
    assert caught.value.exit_code == 9
    with pytest.raises(OutputError, match=r"http: 256\.1\.1\.1 port 0 cannot be listened on"):
        listen("256.1.1.1", 0, "http")
    assert not caplog.text
    sock, _ = listen("0.0.0.0", 0, "http")
    sock.close()
    assert "http: http://0.0.0.0:" in caplog.text
    assert "no authentication" in caplog.text
