"""What is built: its version, its extras. Clean environments: tools/package_smoke.sh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import emag_rt

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def version_of(folder):
    """Version that a build of a folder would have."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "version"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        # No git above the folder may answer in its place.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_version_is_that_of_the_source_without_git_or_tags(tmp_path):
    folder = tmp_path / "source"
    (folder / "emag_rt").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "emag_rt/__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    assert version_of(folder) == emag_rt.__version__


def test_changelog_and_citation_know_this_version():
    release = emag_rt.__version__.partition(".dev")[0]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)(.*)$", changelog, re.MULTILINE)
    assert newest
    assert newest[1] == release
    assert ("not released" in newest[2]) == (".dev" in emag_rt.__version__)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == release


def test_the_command_line_says_the_version():
    done = subprocess.run(
        [sys.executable, "-m", "emag_rt", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[-1] == emag_rt.__version__
    assert "version" in SETTINGS["project"]["dynamic"]


def test_developers_have_every_extra_but_the_gpu_zig_and_qt():
    """Zig takes 400 MB, Qt (for [clients]) 670; of ONNX Runtime's builds, which clash, one."""
    extras = SETTINGS["project"]["optional-dependencies"]
    references = [line.split("[")[1] for line in extras["dev"] if line.startswith("emag-rt[")]
    named = set(re.findall(r"\w+", " ".join(references)))
    assert named == set(extras) - {"clients", "dev", "gpu", "onnx", "wheels"}


def test_every_extra_is_in_the_installing_page():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    for extra in SETTINGS["project"]["optional-dependencies"]:
        assert f"`[{extra}]`" in page, extra
