"""The page in a real browser, at five sizes, fed without LSL."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra 'dashboard' is not installed")

import uvicorn

from emag_rt.dashboard.app import make_app
from emag_rt.web import listen
from tests.dashboard.conftest import HD, SFREQ, Daemon, hd_outlet
from tests.factories import LD

pytestmark = pytest.mark.timeout(120)
SIZES = [(390, 844), (768, 1024), (1366, 768), (1920, 1080), (2560, 1440)]
ALL_FITS = 1180  # from this width on
PANELS = ("traces", "few", "maps", "spectra", "info")


def box(page, panel):
    return page.evaluate(
        "id => (({x, y, right, bottom}) => [x, y, right, bottom])"
        "(document.getElementById(id).getBoundingClientRect())",
        panel,
    )


@pytest.fixture(scope="module")
def fed():
    """A dashboard, its daemon, and where the page is; rows come in all the time."""
    daemon = Daemon()
    daemon.hd = hd_outlet()
    board = daemon.board
    board._clock = time.monotonic
    daemon.open()
    sock, url = listen("127.0.0.1", 0, "dashboard")
    server = uvicorn.Server(
        uvicorn.Config(make_app(board), log_config=None, ws="websockets-sansio")
    )
    over = threading.Event()

    def feed():
        n = 0
        while not over.wait(0.02):
            t = n / SFREQ + np.arange(4) / SFREQ
            rows = 20.0 * np.sin(2 * np.pi * (3.0 * t[:, None] + np.arange(len(HD)) / 9.0))
            rows += 10.0 * np.sin(2 * np.pi * 11.0 * t)[:, None]
            board.ld_rows(rows[:, : len(LD)], t, rows[:, : len(LD)])
            board.hd_rows(rows.astype(np.float32), t, None)
            n += 4

    threads = [
        threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True),
        threading.Thread(target=feed, daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield daemon, url
    over.set()
    server.should_exit = True
    for thread in threads:
        thread.join(10.0)


@pytest.fixture(scope="module")
def page(browser, fed):
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(fed[1])
    wait_in(page, "emagDashboard.frames > 5 && document.body.dataset.state === 'running'")
    yield page
    page.close()
    assert problems == []


def wait_in(page, script):
    end = time.monotonic() + 30.0
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def test_at_five_sizes_everything_is_there_and_nothing_lies_on_another(page):
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = {panel: box(page, panel) for panel in PANELS}
        for name, (left, top, right, bottom) in boxes.items():
            assert right - left > 200, (name, width)
            assert bottom - top > 120, (name, width)
            assert 0 <= left < right <= width, (name, width)
            if width >= ALL_FITS:
                assert bottom <= height, (name, width)
            for other, (x, y, r, b) in boxes.items():
                apart = left >= r or x >= right or top >= b or y >= bottom
                assert other == name or apart, (name, other, width)
        if width >= ALL_FITS:
            covered = sum((r - x) * (b - y) for x, y, r, b in boxes.values())
            assert covered > 0.85 * width * (height - 85)


def test_keys_wheel_and_clicks_change_the_traces(page):
    lane = "parseFloat(document.getElementById('lane-uv').textContent)"
    wait_in(page, f"{lane} > 0")
    before = page.evaluate(lane)
    page.keyboard.press("-")
    wait_in(page, f"{lane} > {before}")
    page.keyboard.press("a")
    wait_in(page, f"{lane} === {before}")
    for _ in range(14):
        page.keyboard.press("]")
    shown = "document.getElementById('shown').textContent"
    wait_in(page, f"{shown}.startsWith('1 – ')")
    page.hover("#all")
    page.mouse.wheel(0, 100)
    wait_in(page, f"{shown}.startsWith('4 – ')")
    page.click("#all", position={"x": 300, "y": 30})
    assert page.evaluate("document.querySelector('#choosers select').value") == HD[3]
    page.keyboard.press("Home")
    page.keyboard.press("0")
    wait_in(page, f"{shown} === '{len(HD)}'")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "false"


def swipe(page, x, y, up):
    """One finger, by so many pixels in five moves."""
    cdp = page.context.new_cdp_session(page)
    point = {"x": x, "y": y}
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    for step in range(1, 6):
        moved = [{"x": x, "y": y - up * step / 5}]
        cdp.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": moved})
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)


def test_a_finger_moves_the_channels_and_the_page_where_there_are_no_more(browser, fed):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(fed[1])
    wait_in(page, "emagDashboard.frames > 5")
    page.evaluate("document.getElementById('all').scrollIntoView({block: 'center'})")
    for _ in range(5):
        page.keyboard.press("]")
    shown = "document.getElementById('shown').textContent"
    wait_in(page, f"{shown}.startsWith('1 – ')")
    left, top, right, bottom = box(page, "all")
    middle, where, before = (left + right) / 2, bottom - 40, page.evaluate("scrollY")
    swipe(page, middle, where, 150)
    first = f"parseInt({shown})"
    wait_in(page, f"{first} > 1")
    assert page.evaluate("scrollY") == before
    moved = page.evaluate(first)
    swipe(page, middle, top + 40, -150)
    wait_in(page, f"{first} < {moved}")
    for _ in range(4):
        swipe(page, middle, top + 40, -150)
    wait_in(page, f"{first} === 1")
    assert page.evaluate("scrollY") < before, "above the first channel is the page"
    context.close()


def test_virtual_channels_bands_and_red_states_are_said(page, fed):
    board = fed[0].board
    assert page.inner_text("#n-virtual") == "1 nobody wore this"
    wait_in(page, "document.querySelectorAll('#strengths tr').length === 4")
    board.status({f"bad:{label}": 0.0 for label in LD})
    wait_in(page, f"document.querySelectorAll('#quality-list .good').length === {len(LD)}")
    board.status({f"bad:{label}": 1.0 for label in LD})
    words = "document.getElementById('n-bad').textContent"
    wait_in(page, f"{words} === '{len(LD)} bad, filled'")
    board.event('{"event": "too_many_bad"}')
    wait_in(page, f"{words} === '{len(LD)} bad, not filled'")
    board.event('{"event": "enough_good"}')
    board.status({f"bad:{label}": 0.0 for label in LD})
    board.event('{"event": "amplifier_dead"}')
    wait_in(page, "document.body.dataset.state === 'no_eeg'")
    assert page.evaluate("document.querySelectorAll('#quality-list .good').length") == 0
    board.event('{"event": "amplifier_back"}')
    wait_in(page, "document.body.dataset.state === 'running'")


VIEW = """async ([filter, reference]) => {
  const { View } = await import("/view.js");
  const view = new View(3, 1, 2000, 200), n = 800;
  const t = Float64Array.from({ length: n }, (_, i) => i / 200);
  const hd = new Float32Array(3 * n), ld = new Float32Array(n);
  t.forEach((s, i) => {
    const slow = 30 * Math.sin(2 * Math.PI * 2 * s), alpha = 10 * Math.sin(2 * Math.PI * 10 * s);
    hd.set([slow + alpha, slow, slow - alpha], 3 * i);
    ld[i] = slow + alpha;
  });
  const none = { ldTimes: t.slice(0, 0), ld: ld.slice(0, 0) };
  view.add({ hdTimes: t.slice(0, 400), hd: hd.slice(0, 1200), ldTimes: t, ld });
  view.set(filter, reference);
  view.add({ hdTimes: t.slice(400), hd: hd.slice(1200), ...none });
  const rms = (ring, c) => {
    let sum = 0;
    for (let r = 600; r < 800; r++) sum += ring.row(r)[c] ** 2 / 200;
    return Math.sqrt(2 * sum);
  };
  return [rms(view.hd, 0), rms(view.hd, 1), rms(view.ld, 0), rms(view.raw.hd, 1)];
}"""


def test_filter_and_reference_are_of_the_view_alone(page):
    for filter_, reference, expected in (
        (0, -2, [31.6, 30.0, 31.6]),  # as served
        (5, -2, [10.0, 0.0, 10.0]),  # alpha
        (0, -1, [10.0, 0.0, 10.0]),  # average
        (0, 1, [10.0, 0.0, 10.0]),  # the second channel
        (5, -1, [10.0, 0.0, 10.0]),
    ):
        *found, served = page.evaluate(VIEW, [filter_, reference])
        assert served == pytest.approx(30.0, rel=0.01)
        assert found == pytest.approx(expected, rel=0.05, abs=0.5)
