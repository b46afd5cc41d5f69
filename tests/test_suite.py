"""The suite's own habits: where a test lives, and how it may be started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import (
    COMPUTING,
    WAITING,
    pytest_collection_modifyitems,
    pytest_xdist_auto_num_workers,
)

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
# Folders of tests that are of no one package: processes over LSL, documents, stored numbers, speed.
OWN = {"live", "live/clients", "docs", "golden", "benchmarks"}
FOLDERS = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")} - {Path()}


@pytest.mark.parametrize("folder", sorted(FOLDERS - set(map(Path, OWN))), ids=str)
def test_a_folder_of_tests_has_the_name_of_what_it_tests(folder):
    places = (ROOT / folder, ROOT / "emag_rt" / folder)
    assert any(list(place.glob("*.py")) for place in places), (
        f"tests/{folder}: neither {folder} nor emag_rt/{folder} holds a module"
    )


def test_long_files_begin_first_and_those_that_wait_between_those_that_compute():
    names = (*WAITING, *COMPUTING)
    assert [name for name in names if not (TESTS / name).is_file()] == []
    assert len(set(names)) == len(names)
    found = [*sorted(names), "core/test_grid.py", "test_docs.py"]
    items = [SimpleNamespace(path=TESTS / name, number=n) for name in found for n in (1, 2)]
    pytest_collection_modifyitems(items)
    first = [WAITING[0], COMPUTING[0], WAITING[1], COMPUTING[1]]
    assert [item.path for item in items[:8:2]] == [TESTS / name for name in first]
    assert [item.path for item in items[-4:]] == [TESTS / name for name in found[-2:] for _ in "12"]
    assert [item.number for item in items] == [1, 2] * len(found), "each file's tests in order"


def run_pytest(*arguments, before=None, code=0):
    """Pytest with the suite's settings and conftest, on files that lie elsewhere."""
    settings = [f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}"]
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *settings, *map(str, arguments)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
        preexec_fn=before,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


SENT = """
import signal, pytest

def test_to_itself():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

def test_to_a_child(spawn):
    child = spawn("-c", "import time; print('up'); time.sleep(60)")
    child.wait_for("up")
    assert child.interrupt() != 0
    assert "KeyboardInterrupt" in child.output
"""


@pytest.mark.live
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_where_sigint_is_ignored_tests_that_send_it_pass(tmp_path):
    """As under ``nohup``, and in the background of a script."""
    path = tmp_path / "test_sent.py"  # one file: one process, which is the one that ignores it
    path.write_text(SENT)
    said = run_pytest(path, before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert "2 passed" in said


@pytest.mark.live
@pytest.mark.skipif(os.cpu_count() == 1, reason="one processor")
def test_plain_pytest_has_some_workers_and_takes_files_of_one_name(tmp_path):
    for name in "abcd":
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_same.py").write_text(
            "from tests.factories import LD\ndef test_it():\n    assert LD\n"
        )
    said = run_pytest(tmp_path)
    assert "4 passed" in said
    assert f"{min(4, os.cpu_count() + 2)} workers" in said


CRASHING = """
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
        path = tmp_path / f"test_{number}.py"
        path.write_text(CRASHING.format(fatal=number == 3))
    assert "crashed while running" in run_pytest("-n", 2, tmp_path, code=1)


@pytest.mark.parametrize(
    ("arguments", "capture", "trace", "workers"),
    [
        (["tests"], "fd", False, 4),
        (["tests/core"], "fd", False, 4),
        (["tests/test_docs.py", "tests/test_suite.py"], "fd", False, 4),
        (["tests/test_docs.py"], "fd", False, 0),
        (["tests/test_docs.py::test_a", "tests/test_docs.py::test_b[x.py]"], "fd", False, 0),
        (["tests"], "no", False, 0),
        (["tests"], "fd", True, 0),
    ],
)
def test_who_debugs_has_one_process(monkeypatch, arguments, capture, trace, workers):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    option = SimpleNamespace(capture=capture, trace=trace)
    config = SimpleNamespace(args=arguments, option=option)
    assert pytest_xdist_auto_num_workers(config) == workers
