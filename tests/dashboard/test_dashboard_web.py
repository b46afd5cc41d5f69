"""The web side: who may read, and that nobody can do more, or make it remember more."""

from __future__ import annotations

import asyncio
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra 'dashboard' is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.websockets import WebSocketDisconnect

from emag_rt import dashboard
from emag_rt.dashboard import hub as hub_module
from emag_rt.dashboard.app import make_app
from emag_rt.dashboard.guard import same_origin
from emag_rt.dashboard.hub import Hub, Viewer
from emag_rt.dashboard.wire import SAMPLES, Drawing
from tests.dashboard.conftest import HD
from tests.factories import LD
from tests.test_web import HOSTS

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Using `httpx` with")
    from starlette.testclient import TestClient

URL = "http://127.0.0.1:8050"
SOCKET = "ws://127.0.0.1:8050/ws"


@pytest.fixture
def client(daemon):
    with TestClient(make_app(daemon.board), base_url=URL) as client:
        yield client


def test_the_page_and_its_files_are_there(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    files = [p.name for p in (Path(dashboard.__file__).parent / "static").iterdir()]
    files.remove("index.html")
    for name in files:
        assert client.get(f"/{name}").status_code == 200
    # Everything comes from here: no other host is named anywhere.
    for name in ("", *files):
        text = client.get(f"/{name}").text.replace("http://www.w3.org/", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text
    assert " style=" not in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("path", ["/nothing", "/app.py", "/..%2fapp.py", "/static/app.js", "/docs"])
def test_other_paths_are_not_there(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(client, method):
    answer = client.request(method, "/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/app.js", "/nothing"])
def test_headers_are_strict_everywhere(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(("host", "own"), HOSTS)
def test_only_names_that_mean_this_machine_are_answered(client, host, own):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == (200 if own else 403)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    if not own:
        assert "<html" not in answer.text


def test_the_name_that_is_listened_on_is_answered(daemon):
    with TestClient(make_app(daemon.board, "Lab.example.org"), base_url=URL) as client:
        assert client.get("/", headers={"host": "lab.example.org:8050"}).status_code == 200
        assert client.get("/", headers={"host": "evil.example:8050"}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:9999",
        "http://localhost:8050",
        "null",
        "file://",
        "http://[",
    ],
)
def test_pages_of_other_sites_get_no_websocket(client, origin):
    assert not same_origin(origin, "127.0.0.1:8050")
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect(SOCKET, headers={"origin": origin}),
    ):
        pass
    assert refused.value.code == 1008
    assert client.get("/", headers={"origin": origin}).status_code == 403


def test_a_name_that_was_made_to_mean_this_machine_gets_no_websocket(client):
    """DNS rebinding: Host and Origin agree with each other, and with nothing of ours."""
    headers = {"origin": "http://evil.example:8050"}
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://evil.example:8050/ws", headers=headers),
    ):
        pass


def receive(socket, wanted):
    """Messages until one satisfies ``wanted``."""
    for _ in range(200):
        message = socket.receive()
        text, blob = message.get("text"), message.get("bytes")
        found = json.loads(text) if text is not None else blob
        if found and wanted(found):
            return found
    pytest.fail("not among 200 messages")


def is_kind(kind):
    return lambda m: isinstance(m, bytes) and np.frombuffer(m, "<u4", 1)[0] == kind


def test_a_browser_gets_layout_maps_state_and_samples(client, daemon, wait_until):
    daemon.open()
    with client.websocket_connect(SOCKET, headers={"origin": URL}) as socket:
        layout = receive(socket, lambda m: isinstance(m, dict) and m.get("run") == 1)
        assert layout["hd"]["labels"] == list(HD)
        assert layout["ld"]["labels"] == list(LD)
        assert layout["ld"]["same"] == list(range(len(LD)))
        for kind in (2, 3):
            assert len(receive(socket, is_kind(kind))) > 100_000
        daemon.rows(3)
        state = receive(socket, lambda m: isinstance(m, dict) and m.get("state") == "running")
        assert [c["bad"] for c in state["quality"]] == [False] * len(LD)
        daemon.rows(2)
        blob = receive(socket, is_kind(SAMPLES))
        n_hd, n_ld = np.frombuffer(blob, "<u4", 4)[2:]
        assert n_hd == n_ld > 0
        values = np.frombuffer(blob, "<f4", -1, 16 + 8 * (n_hd + n_ld))
        np.testing.assert_array_equal(values[: len(HD)], np.arange(len(HD)))
    wait_until(lambda: not client.app.state.hub.viewers, 30, "the browser to be forgotten")


def test_whoever_says_anything_is_hung_up_on(client):
    with client.websocket_connect(SOCKET) as socket:
        socket.send_text("set")
        for _ in range(100):
            message = socket.receive()
            if message["type"] == "websocket.close":
                break
    assert (message["type"], message["code"]) == ("websocket.close", 1008)


def test_the_number_of_browsers_is_bounded(client, monkeypatch):
    monkeypatch.setattr(hub_module, "MAX_VIEWERS", 1)
    with client.websocket_connect(SOCKET), client.websocket_connect(SOCKET) as second:
        with pytest.raises(WebSocketDisconnect) as refused:
            second.receive_text()
        assert refused.value.code == 1013
        assert "too many" in refused.value.reason


def test_a_slow_browser_loses_frames_and_nothing_piles_up():
    async def run():
        viewer = Viewer()
        viewer.show(Drawing(1, "old", (b"map",)))
        viewer.show(Drawing(2, "new", (b"map 2",)))
        for i in range(1000):
            viewer.offer(b"%d" % i)
            viewer.say(f"state {i}")
            viewer.show_spectra(b"spectra %d" % i)
        return await viewer.next(), viewer.dropped

    found, dropped = asyncio.run(run())
    assert found[:4] == ["new", b"map 2", "state 999", b"spectra 999"]
    assert json.loads(found[4]) == {"type": "dropped", "frames": dropped}
    assert found[5:] == [b"%d" % i for i in range(994, 1000)]
    assert dropped == 994


def test_without_browsers_nothing_is_kept(daemon, monkeypatch):
    daemon.open()
    taken, take_rows = [], daemon.board.take_rows

    def take():
        found = take_rows()
        taken.append(len(found[1][1]))
        return found

    monkeypatch.setattr(daemon.board, "take_rows", take)

    async def run():
        hub = Hub(daemon.board)
        beat = asyncio.create_task(hub.run())
        for n in range(50, 251, 50):
            daemon.rows(50)
            async with asyncio.timeout(30.0):  # a busy machine may beat late
                while sum(taken) < n:
                    await asyncio.sleep(0.02)
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)

    asyncio.run(run())
    assert sum(taken) == 250


def test_an_error_is_said_to_viewers_and_tried_again(daemon, monkeypatch, caplog):
    monkeypatch.setattr(hub_module, "_AGAIN_S", 0.01)
    daemon.open()
    real, failures = daemon.board.state, [1, 2, 3]

    def state():
        if failures:
            failures.pop()
            raise ValueError("a bug")
        return real()

    monkeypatch.setattr(daemon.board, "state", state)

    async def run():
        hub = Hub(daemon.board)
        viewer = hub.join()
        beat = asyncio.create_task(hub.run())
        kinds = []
        while "state" not in kinds:
            texts = [m for m in await asyncio.wait_for(viewer.next(), 20) if isinstance(m, str)]
            kinds += [json.loads(text)["type"] for text in texts]
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
        return kinds

    kinds = asyncio.run(run())
    assert "error" in kinds
    assert kinds[-1] == "state"
    assert caplog.text.count("ValueError: a bug") == 1
