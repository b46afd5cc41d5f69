"""What is built: its version, its extras. Clean environments: tools/package_smoke.sh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import emag_rt

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GIT = {
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "somebody"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "somebody@example.org"),
}


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


@pytest.fixture
def source(tmp_path):
    """The files that say the version, outside of any git."""
    pytest.importorskip("hatch_vcs", reason="the version comes from git through hatch-vcs")
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitattributes", ".git_archival.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def git(folder, *words):
    subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **GIT}, check=True, capture_output=True
    )


def test_without_git_there_is_a_fallback(source):
    assert version_of(source) == SETTINGS["tool"]["hatch"]["version"]["fallback-version"]


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_the_version_is_the_tag(source, tmp_path):
    git(source, "init", "--quiet")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message", "first")
    assert re.match(r"0\.1\.0\.dev\d+\+g", version_of(source)), "a clone without tags"
    git(source, "tag", "v0.3.0")
    assert version_of(source) == "0.3.0"
    archive, unpacked = tmp_path / "source.zip", tmp_path / "unpacked"
    git(source, "archive", "--format", "zip", "--output", str(archive), "HEAD")
    shutil.unpack_archive(archive, unpacked)
    assert version_of(unpacked) == "0.3.0", "an archive of a tag"


def test_the_command_line_says_the_version():
    done = subprocess.run(
        [sys.executable, "-m", "emag_rt", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[-1] == emag_rt.__version__
    assert "version" in SETTINGS["project"]["dynamic"]


def test_developers_have_every_extra_but_the_gpu():
    """And of the two builds of ONNX Runtime, which overwrite each other, one by itself."""
    extras = SETTINGS["project"]["optional-dependencies"]
    references = [line.split("[")[1] for line in extras["dev"] if line.startswith("emag-rt[")]
    named = set(re.findall(r"\w+", " ".join(references)))
    assert named == set(extras) - {"dev", "gpu", "onnx"}


def test_every_extra_is_in_the_installing_page():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    for extra in SETTINGS["project"]["optional-dependencies"]:
        assert f"`[{extra}]`" in page, extra
