"""``emag-rt demo --live``: what keys do to the amplifier is seen by the daemon."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(170)]


def test_an_electrode_pulled_and_the_amplifier_killed_by_keys(tmp_path, wait_until):
    pytest.importorskip("starlette")
    command = [sys.executable, "-u", "-m", "emag_rt", "demo", "--live", "--no-browser"]
    log = tmp_path / "serve.log"
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            said = []
            while not said or not said[-1].startswith("keys:"):
                said.append(demo.stdout.readline())
                assert said[-1], "".join(said)

            def press(key, *words):
                demo.stdin.write(key)
                demo.stdin.flush()
                wait_until(
                    lambda: all(word in log.read_text(encoding="utf-8") for word in words), 40, key
                )

            assert any("dashboard: http://127.0.0.1" in line for line in said)
            press("e", "is bad")
            press("k", "the source is silent")
            press("k", "the source is back")
            out, _ = demo.communicate("q", timeout=40)
            assert demo.returncode == 0, out
        finally:
            demo.kill()
    assert "an electrode is off" in out
    assert "the amplifier is on again" in out
