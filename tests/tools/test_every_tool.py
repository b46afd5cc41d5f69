"""Every tool starts, tells what it does, and its cases have something to train and test on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.studies.cases import CASES, read_case

ROOT = Path(__file__).parents[2]
COMMANDS = [
    path.relative_to(ROOT).with_suffix("")
    for path in sorted((ROOT / "tools").rglob("*.py"))
    if "@click.command" in path.read_text(encoding="utf-8") and path.parent.name != "examples"
]
NAMES = [".".join(path.parts).removesuffix(".__main__") for path in COMMANDS]


# All in one process, as most import the same: alone each takes seconds for that.
START_EACH = """
import runpy, sys
for name in sys.argv[1:]:
    print("starting", name, flush=True)
    sys.argv = [name, "--help"]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, name
"""


def test_every_tool_starts_from_a_clone_that_is_not_installed():
    # -S: no editable install reaches the path, only the folder that it is started in.
    libraries = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", START_EACH, *NAMES],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": libraries},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, *told = done.stdout.split("starting ")
    assert [name for name, text in zip(NAMES, told, strict=True) if "Usage:" not in text] == []


def test_a_study_has_one_entry():
    studies = {name.split(".")[2] for name in NAMES if name.startswith("tools.studies.")}
    helpers = {"__init__", "cases", "datasets"}
    here = {path.stem for path in (ROOT / "tools/studies").iterdir() if path.stem != "__pycache__"}
    assert here - helpers == studies


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
