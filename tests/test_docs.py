"""What the documents point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_TEST = re.compile(r"`(tests/[\w/]+\.py)?::(test_\w+)`")


def test_every_fault_names_tests_that_exist():
    text = (ROOT / "docs" / "faults-tests.md").read_text(encoding="utf-8")
    found, module = 0, ""
    for file, name in _TEST.findall(text):
        module = file or module
        assert f"def {name}(" in (ROOT / module).read_text(encoding="utf-8"), (module, name)
        found += 1
    assert found >= 25


PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
_PLACEHOLDER = re.compile(r"\b(SIZE_\w*|TODO|FIXME|TBD|XXX+)\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_nothing_is_left_to_be_filled_in(page):
    assert _PLACEHOLDER.findall(page.read_text(encoding="utf-8")) == []


def test_the_first_page_leads_to_every_guide():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    # From benchmarks.md, faults.md, accuracy.md and troubleshooting.md.
    own = {"index.md", "benchmarks-gpu.md", "faults-tests.md", "accuracy-notebook.md"}
    own |= {f"trouble-{what}.md" for what in ("stream", "signal", "files", "machine")}
    assert [p.name for p in PAGES[:-1] if p.name not in own and f"({p.name})" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "page",
    [*PAGES[:-1], *ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")],
    ids=lambda p: p.name,
)
def test_prose_is_wrapped(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    # Tables and code cannot be; nor one name in backquotes that is longer than a line.
    kept = ("|", "    ", "`")
    assert [
        n
        for n, line in enumerate(lines, 1)
        if len(line) > 100 and line[:4].strip() and not line.startswith(kept)
    ] == []
