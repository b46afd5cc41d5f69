"""How the suite itself ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = """
import os, time, pytest

@pytest.mark.parametrize("number", range(12))
def test_one(number):
    time.sleep(0.02)
    if {fatal} and number == 5:
        os._exit(1)
"""


@pytest.mark.live
def test_a_worker_that_crashes_ends_the_run(tmp_path):
    """A library's segmentation fault once kept the suite waiting until its limit of 90 minutes."""
    for number in range(6):
        (tmp_path / f"test_{number}.py").write_text(CODE.format(fatal=number == 3))
    words = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, words), "-n", "2", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1, done.stdout
    assert "crashed while running" in done.stdout
