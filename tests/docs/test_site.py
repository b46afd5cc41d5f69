"""The documentation builds as a site, without a warning, and reading it asks nobody."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
pytest.importorskip("mkdocs", reason="the site needs emag-rt[docs]")
pytest.importorskip("material", reason="the site needs emag-rt[docs]")
pytest.importorskip("mkdocstrings", reason="the site needs emag-rt[docs]")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning of mkdocs fails it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        ["bash", ROOT / "tools" / "docs.sh", "--site-dir", folder, "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def pages_of(nav):
    """Files that a menu names."""
    for entry in nav:
        for below in entry.values():
            yield from pages_of(below) if isinstance(below, list) else [below]


def test_every_page_has_its_place_in_the_menu():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert set(pages_of(nav)) == pages


def test_reading_asks_nobody(site):
    loads = re.compile(r'<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)="?(?:https?:)?//[^">]+')
    found = {}
    for page in site.rglob("*.html"):
        hits = loads.findall(page.read_text(encoding="utf-8"))
        hits = [hit for hit in hits if 'rel="canonical"' not in hit]
        if hits:
            found[page.name] = hits
    assert found == {}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"@import|url\([\"']?https?:", styles)
    assert loads.search('<script src="https://example.org/x.js">')


def test_the_command_line_and_the_api_are_in_it(site):
    commands = (site / "command-line.html").read_text(encoding="utf-8")
    for anchor in ("emag-rt-serve", "emag-rt-calibrate", "emag-rt-bench-latency"):
        assert f'id="{anchor}"' in commands
    assert "--look-ahead-s" in commands
    api = (site / "api.html").read_text(encoding="utf-8")
    for name in ("Upsampler.push", "FieldCalibrator.fit", "load_bundle", "StreamMismatch"):
        assert re.search(rf'id="[\w.]*{name}"', api), name
    assert not re.search(r":(func|class|meth):", api), "Sphinx's roles are taken out"
    for name, built in (("command-line", commands), ("api", api)):
        told = "whole only in the built site"  # to who reads the file
        assert told in (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert told not in built


def test_searching_works_from_a_folder(site, browser):
    """By a script of ours: the theme's own asks a server of others for one."""
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto((site / "index.html").as_uri())
    page.click("input.md-search__input")
    page.keyboard.type("swapped")
    page.wait_for_selector(".md-search-result__item", timeout=30_000)
    assert "matching documents" in page.inner_text(".md-search-result__meta")
    page.close()
