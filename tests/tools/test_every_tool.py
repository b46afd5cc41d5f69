"""Every tool starts, tells what it does, and its cases have something to train and test on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.studies.benchmark.cases import CASES, read_case

ROOT = Path(__file__).parents[2]
# Examples need what is not installed: tests/live/test_examples.py.
TOOLS = sorted(path for path in (ROOT / "tools").rglob("*.py") if path.parent.name != "examples")
COMMANDS = [path for path in TOOLS if "@click.command" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_tool_starts(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    start = ["-m", module] if "studies" in module else [path]
    done = subprocess.run(
        [sys.executable, *start, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


@pytest.mark.data
@pytest.mark.parametrize("name", CASES)
def test_cases_train_and_test_on_different_samples(name, data_dir):
    case = CASES[name]
    train, test = read_case(data_dir, case)
    assert train
    assert test
    assert not {r.sha256 for r in train} & {r.sha256 for r in test}
    for early in train:
        for late in test:
            n = min(len(early.data_uv), len(late.data_uv), 1000)
            assert not np.array_equal(early.data_uv[-n:], late.data_uv[:n])
