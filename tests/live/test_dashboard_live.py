"""The dashboard as a user sees it: real processes, real LSL, a real browser."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import psutil
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from tests.live.conftest import SFREQ
from tests.live.test_serve import start_daemon, start_player

pytest.importorskip("uvicorn", reason="the extra 'dashboard' is not installed")
pytestmark = [pytest.mark.lsl, pytest.mark.timeout(150)]
DEADLINE_MS = 40_000
# Of every canvas, a number that changes when its pixels do.
PIXELS = """(id) => {
  const c = document.getElementById(id);
  const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  let sum = 0;
  for (let i = 0; i < d.length; i += 97) sum = (sum * 31 + d[i]) | 0;
  return sum;
}"""


def wait_in(page, script, arg=None):
    """Poll from here: Playwright's own polling calls eval in the page, which its policy forbids."""
    end = time.monotonic() + 30.0
    while not page.evaluate(script, arg):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(DEADLINE_MS)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if "Content Security" in m.text else None)
    yield page
    page.close()
    assert problems == []


def until(page, state):
    wait_in(page, "s => document.body.dataset.state === s", arg=state)
    return page.inner_text("#title"), page.inner_text("#words")


def until_pixels_change(page, canvas):
    before = page.evaluate(PIXELS, canvas)
    wait_in(page, f"([id, was]) => ({PIXELS})(id) !== was", arg=[canvas, before])


def address(process):
    return process.wait_for("dashboard: http://127.0.0.1:", 60).split(": ", 1)[1]


def test_from_waiting_to_the_end_in_a_browser(cli, subject, unique_id, page, record_property):
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}"),
        *("--wait", "--dashboard", "--dashboard-port", "0"),
    )
    page.goto(address(daemon))
    title, words = until(page, "waiting")
    assert title == "Waiting for the source"
    assert unique_id in words
    player = start_player(cli, subject, unique_id, "--loop")
    assert until(page, "running")[0] == "Running"
    for canvas in ("hd-map", "ld-map", "all", "trace", "spectrum"):
        until_pixels_change(page, canvas)
    page.click("#tabs [data-tab=latency]")
    until_pixels_change(page, "histogram")
    wait_in(page, "emagDashboard.fps > 0")
    wait_in(page, "document.querySelectorAll('#quality-list .good').length === 8")
    _keys(page)
    player.kill()
    title, words = until(page, "silent")
    assert title == "Source silent"
    assert "No samples from the amplifier" in words
    wait_in(page, "document.querySelector('#events').innerText.includes('silent')")
    start_player(cli, subject, unique_id, "--loop")
    until(page, "running")
    until_pixels_change(page, "hd-map")
    wait_in(page, "document.querySelector('#events').innerText.includes('recovered')")
    until_pixels_change(page, "ld-map")
    record_property("frames_per_s", page.evaluate("emagDashboard.fps"))
    print("frames/s", page.evaluate("emagDashboard.fps"))
    assert daemon.terminate() == 0, daemon.output
    assert until(page, "stopped")[0] == "Stopped"
    assert "the dashboard has ended" not in daemon.output


def _keys(page):
    """What the keyboard does."""
    page.focus("#all")
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "false"
    page.keyboard.press(".")
    assert page.eval_on_selector("#range", "e => e.value") != "auto"
    page.keyboard.press("a")
    assert page.eval_on_selector("#range", "e => e.value") == "auto"
    page.keyboard.press("n")
    assert page.is_checked("#names")
    page.keyboard.press("2")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "Channel of trace 2"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")


@pytest.fixture(scope="module")
def flat(subject):
    """The play with one LD channel flat from its start, and that channel's name."""
    recording = read_recording(subject.play)
    label = load_bundle(subject.bundle).manifest.ld[2].label
    data = np.array(recording.data_uv)
    data[:, recording.labels.index(label)] = 7.0
    path = subject.folder / "flat_raw.fif"
    write_raw(path, data, recording.labels, SFREQ, recording.montage().positions_mm)
    return path, label


def messages(connection, *wanted):
    """JSON messages until there was one for each of ``wanted``; the newest ones."""
    found = {}
    end = time.monotonic() + 40
    while len(found) < len(wanted):
        assert time.monotonic() < end, "not within 40 s"
        text = connection.recv(timeout=40)
        message = json.loads(text) if isinstance(text, str) else {}
        found |= {i: message for i, test in enumerate(wanted) if test(message)}
    return [found[i] for i in range(len(wanted))]


def test_attached_by_hand_it_knows_what_was_before_and_its_death_harms_nobody(
    cli, subject, flat, unique_id
):
    from websockets.sync.client import connect

    path, label = flat
    name = f"hd-{unique_id}"
    player = cli(
        *("simulate", "--recording", path, "--channels", f"ld:{subject.bundle}", "--loop"),
        *("--source-id", unique_id, "--name", f"amp-{unique_id}"),
    )
    player.wait_for("playing", 60)
    daemon = start_daemon(cli, subject, unique_id, "--dashboard", "--dashboard-port", "0")
    daemon.wait_for(f"channel {label} is bad", 30)
    by_hand = cli("dashboard", name, "--dashboard-port", "0")
    with connect(address(by_hand).replace("http", "ws") + "ws", open_timeout=40) as socket:
        state, layout = messages(
            socket,
            lambda m: any(channel["bad"] for channel in m.get("quality", ())),
            lambda m: m.get("type") == "layout" and True in m["ld"]["bad"],
        )
        assert [q["reason"] for q in state["quality"] if q["label"] == label] == ["flat"]
        assert state["state"] == "running"
        assert layout["hd"]["map"]
        assert layout["ld"]["map"]
        (child,) = psutil.Process(daemon.process.pid).children()
        if hasattr(os, "SCHED_IDLE"):  # an idle process beside busy ones might never run
            assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE
            assert os.sched_getscheduler(by_hand.process.pid) == os.SCHED_OTHER
            assert psutil.Process(by_hand.process.pid).nice() >= 10
        os.kill(child.pid, signal.SIGKILL)
        daemon.wait_for("the dashboard has ended (exit -9): serving goes on", 20)
        messages(socket, lambda m: m.get("state") == "running")
        (served,) = messages(socket, lambda m: m.get("numbers", {}).get("samples_out"))
        before = served["numbers"]["samples_out"]
        messages(socket, lambda m: m.get("numbers", {}).get("samples_out", 0) > before)
        daemon.kill()
        (state,) = messages(socket, lambda m: m.get("state") == "stopped")
        assert "outlet has gone" in state["text"]
    assert by_hand.terminate() == 0, by_hand.output
    assert daemon.output.count("the dashboard has ended") == 1


def test_a_daemon_that_is_killed_takes_its_dashboard_along(cli, subject, unique_id, wait_until):
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--wait"),
        *("--name", f"hd-{unique_id}", "--dashboard", "--dashboard-port", "0"),
    )
    address(daemon)
    (child,) = psutil.Process(daemon.process.pid).children()
    daemon.kill()
    wait_until(lambda: not child.is_running() or child.status() == "zombie", 30, "its end")
