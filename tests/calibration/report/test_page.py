"""The page itself, in a browser: self-contained, no errors, and the field plays."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from calibration.electrodes.head_view import head_map, map_positions
from calibration.report.heads import electrodes_figure
from calibration.report.write import report_of_calibration

SECTIONS = (
    "Verdict",
    "What to do",
    "The head",
    "Channels",
    "Bands",
    "Recordings",
    "For the curious",
)
FOLDED = (
    "Methods compared",
    "Longer recording, longer wait",
    "Electrodes",
    "Traces and spectra",
    "Gaussians of the field",
    "Provenance",
)
PICTURE = "document.getElementById('emag-canvas').toDataURL()"


@pytest.fixture(scope="module")
def written(subject, tmp_path_factory):
    """The subject's report, with all pictures and curves."""
    path = tmp_path_factory.mktemp("page") / "s01.html"
    verdict = report_of_calibration(subject.calibration, subject.digest, path)
    return SimpleNamespace(path=path, verdict=verdict)


@pytest.fixture(scope="module")
def page(browser, written):
    """The report, opened; whatever is asked for or goes wrong is collected."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(written.path.as_uri())
    yield page
    page.close()


def test_everything_is_inside_and_nothing_goes_wrong(page, written):
    assert tuple(page.get_by_role("navigation").get_by_role("link").all_inner_texts()) == SECTIONS
    assert tuple(page.locator("summary").all_inner_texts()) == FOLDED
    assert page.locator("details[open]").count() == 0
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    images = page.locator("figure img")
    assert images.count() >= 9
    for i in range(images.count()):
        assert images.nth(i).evaluate("i => i.complete && i.naturalWidth > 300")
        assert len(images.nth(i).get_attribute("alt")) > 20
    # Pictures inside are data: URLs; those are no requests.
    outside = [url for url in page.asked if not url.startswith("data:")]
    assert outside == [written.path.as_uri()]
    assert page.wrong == []


def test_play_moves_the_picture_and_pause_stops_it(page):
    before, first = page.evaluate(PICTURE), page.locator("#emag-now").inner_text()
    page.locator("#emag-play").click()
    page.wait_for_function("Number(document.getElementById('emag-time').value) > 3")
    assert page.locator("#emag-play").inner_text() == "Pause"
    page.locator("#emag-play").click()
    stopped = page.evaluate(PICTURE)
    assert stopped != before
    assert page.locator("#emag-now").inner_text() != first
    page.wait_for_timeout(150)
    assert page.evaluate(PICTURE) == stopped
    assert page.wrong == []


def test_the_heads_play_and_the_table_sorts(page):
    heads = "document.getElementById('heads-canvas').toDataURL()"
    before = page.evaluate(heads)
    page.locator("#heads-time").focus()
    page.keyboard.press("End")
    assert page.evaluate(heads) != before
    assert re.fullmatch(r"39\d\d ms|4000 ms", page.locator("#heads-now").inner_text())
    page.locator("#heads-play").click()  # from the end to the start
    page.wait_for_function("Number(document.getElementById('heads-time').value) < 100")
    page.locator("#heads-play").click()
    button = page.locator("#channels").get_by_role("button", name="error")
    assert "rendered wrongly" in button.get_attribute("title")
    cells = page.locator("#channels tbody td:nth-child(3)")
    button.click()
    rising = [float(text) for text in cells.all_inner_texts() if text != "–"]
    assert rising == sorted(rising)
    assert len(set(rising)) > 5
    button.click()
    falling = [float(text) for text in cells.all_inner_texts() if text != "–"]
    assert falling == rising[::-1]
    assert page.wrong == []


def test_an_electrode_of_a_head_is_named_under_the_pointer(page):
    canvas = page.locator("#heads-canvas")
    canvas.scroll_into_view_if_needed()
    data = json.loads(page.locator("#heads-data").text_content())
    box = canvas.bounding_box()
    radius = min(0.43 * box["width"] / 3, 0.4 * box["height"])
    for head, c in ((0, data["worn"].index(True)), (2, data["worn"].index(False))):
        x, y = data["places"][c]
        page.mouse.move(
            box["x"] + (head + 0.5) * box["width"] / 3 + x * radius,
            box["y"] + 0.55 * box["height"] - y * radius,
        )
        said = page.locator("#heads-channel").inner_text()
        what = "worn, " if data["worn"][c] else "measured -?[0-9.]+ µV, rendered "
        assert re.fullmatch(f"{data['labels'][c]}: {what}-?[0-9.]+ µV", said)
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert page.locator("#heads-channel").inner_text() == ""


def test_an_electrode_of_a_still_picture_is_named_under_the_pointer(page, evidence):
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    pictures = page.locator(".spots")
    assert pictures.count() >= 2, "electrodes, and errors by method"
    for i in range(pictures.count()):
        picture = pictures.nth(i)
        picture.scroll_into_view_if_needed()
        spots = json.loads(picture.get_attribute("data-spots"))
        assert {text.split(":")[0] for *_, text in spots} >= set(evidence.labels)
        box, told = picture.bounding_box(), picture.locator("+ p")
        asked = told.inner_text()
        assert "for its name" in asked
        x, y, text = spots[len(spots) // 2]
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        assert told.inner_text() == text
        assert picture.locator("i").is_visible()
        page.mouse.move(box["x"] + 1, box["y"] + 1)
        assert told.inner_text() == asked
        assert picture.locator("i").is_hidden()
    assert page.wrong == []


def test_spots_lie_where_electrodes_are_drawn(evidence):
    figure = electrodes_figure(evidence)
    spots = json.loads(html.unescape(re.search('data-spots="([^"]*)"', figure)[1]))
    drawing = base64.b64decode(re.search('base64,([^"]*)', figure)[1]).decode()
    width, height = map(float, re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', drawing).groups())
    assert {text.split(": ")[1].split(" ")[0] for *_, text in spots} == {"worn", "rendered"}
    for x, y, text in spots:
        label = text.split(":")[0]
        at = re.search(rf'x="([0-9.]+)" y="([0-9.]+)"[^>]*>{label}</text>', drawing)
        assert x * width == pytest.approx(float(at[1]), abs=1.0), label
        assert y * height == pytest.approx(float(at[2]), abs=4.0), label  # the words' lower edge


def test_maps_name_electrodes_where_mne_draws_them(evidence):
    montage = evidence.bundle.manifest.hd_montage
    axes = Figure().subplots()
    head_map(axes, montage, np.zeros(len(montage)), (0.0, 1.0), contours=0)
    dots = axes.collections[-1].get_offsets()
    np.testing.assert_allclose(map_positions(montage), dots, atol=1e-4)  # m


def test_every_picture_turns_dark_with_the_page(page):
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    pictures = page.locator("figure img, canvas.view")
    kinds = [src[:18] for src in pictures.evaluate_all("all => all.map((i) => i.src || '')")]
    assert kinds.count("data:image/svg+xml") >= 5, "drawings are strokes"
    assert kinds.count("data:image/png;bas") >= 2, "maps are pixels"
    corner = """i => {
      const c = document.createElement('canvas'), pen = c.getContext('2d');
      pen.drawImage(i, 0, 0); return [...pen.getImageData(1, 1, 1, 1).data];
    }"""
    filters = "all => all.map((i) => getComputedStyle(i).filter)"
    assert set(pictures.evaluate_all(filters)) == {"none"}
    for i in range(page.locator("figure img").count()):
        picture = page.locator("figure img").nth(i)
        assert picture.evaluate(corner)[3] == 0, "the page shows through"
    page.emulate_media(color_scheme="dark")
    assert all("invert" in found for found in pictures.evaluate_all(filters))
    page.emulate_media(color_scheme="light")


def test_scrubbing_views_and_keyboard(page):
    seen = [page.evaluate(PICTURE)]

    def moved():
        until = time.monotonic() + 3.0
        while (now := page.evaluate(PICTURE)) in seen and time.monotonic() < until:
            page.wait_for_timeout(20)
        new = now not in seen
        seen.append(now)
        return new

    page.locator("#emag-time").focus()
    page.keyboard.press("End")
    assert moved()
    assert re.fullmatch(r"19\d\d ms|2000 ms", page.locator("#emag-now").inner_text())
    page.locator("#emag-canvas").focus()
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
        assert moved(), key
    page.keyboard.press("-")
    page.wait_for_function(f"{PICTURE} === {json.dumps(seen[-2])}")  # undoes zooming in
    for name in ("from above", "from the front", "from the right"):
        page.get_by_role("button", name=name).click()
        assert moved(), name
    page.get_by_label("labels").check()
    assert moved()
    page.get_by_label("size").select_option("1")
    assert moved()
    page.locator("#emag-canvas").scroll_into_view_if_needed()
    box = page.locator("#emag-canvas").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 230)
    page.mouse.up()
    assert moved()
    page.mouse.wheel(0, -300)
    assert moved()
    assert "µV" in page.locator("#emag-strongest").inner_text()
    assert " mm" in page.locator("#emag-strongest").inner_text()
    page.locator("#emag-canvas").focus()
    page.keyboard.press("Space")
    assert page.locator("#emag-play").get_attribute("aria-pressed") == "true"
    assert page.wrong == []


def test_it_says_whose_it_is_and_fits_a_phone(page, subject):
    for text in (page.title(), page.locator("h1").inner_text()):
        assert f"{subject.bundle.manifest.name}: 8 electrodes worn, 32 channels out" in text
    assert re.search(r"20\d\d-\d\d-\d\d", page.title())
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.set_viewport_size({"width": 1280, "height": 720})


def test_verdict_and_provenance_can_be_read(page, written, subject):
    text = page.locator("body").inner_text()
    assert written.verdict.headline in text
    assert subject.digest in text
    assert subject.seen.name in text
    assert str(subject.seen.parent) not in written.path.read_text(encoding="utf-8")
    assert "slightly optimistic" in text
    assert "they are not sources in the brain" in text
