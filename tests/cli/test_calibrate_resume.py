"""``emag-rt calibrate`` killed half-way: the same command goes on, another one does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead

pytest.importorskip("torch")
pytestmark = pytest.mark.live

# The command, with small networks that learn for seconds.
COMMAND = """
from functools import partialmethod
from calibration.residual.loop import ResidualSettings
from emag_rt.cli.main import main
small = {"n_units": 8, "n_blocks": 4, "n_times": 128, "min_steps": 150, "max_steps": 150}
ResidualSettings.__init__ = partialmethod(ResidualSettings.__init__, **small)
main()
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("resume") / "hd_raw.fif"
    head = SyntheticHead(16, 128.0, seed=3)
    write_raw(
        path, head.generate(128 * 24), head.labels, 128.0, head.montage.positions_mm,
        origin_mm=head.origin_mm,
    )  # fmt: skip
    return path


def start(recording: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, "calibrate", str(recording)]
    command += ["--ld", "4", "--out", str(out), "--no-report", "--quiet", *more]
    # tests/conftest.py: one thread, so the groups of networks are the same after the kill.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    "blow", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.soak)]
)
def test_killed_calibrations_go_on(recording, tmp_path, wait_until, blow):
    out = tmp_path / "s.emag"
    partial = tmp_path / "s.emag.partial"
    process = start(recording, out)
    wait_until(lambda: partial.exists() or process.poll() is not None, 120)
    assert process.poll() is None, process.communicate()
    process.send_signal(blow)
    _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert not out.exists()
    assert partial.exists()
    if blow == signal.SIGINT:
        assert "the same command goes on from s.emag.partial" in told
    process = start(recording, out)
    _, told = process.communicate(timeout=150)
    assert process.returncode == 0, told
    assert "s.emag.partial is there" in told
    assert "starting afresh" not in told
    assert out.exists()
    assert not partial.exists()
