"""``emag-rt streams`` and ``serve --check``: what is in sight, go or no go."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from emag_rt.streams.lsl import LslMarkerSink, list_streams

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]


def run(*arguments):
    """Run a command to its end."""
    command = [sys.executable, "-m", "emag_rt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_streams_are_listed_with_what_they_declare_and_send(playing, subject):
    markers = LslMarkerSink(f"marks-{playing}", f"{playing}:markers")
    done = run("streams", "--json", "--bundle", subject.bundle)
    markers.close()
    assert done.returncode == 0, done.stderr
    seen = {one["source_id"]: one for one in json.loads(done.stdout)}
    eeg = seen[playing]
    assert eeg["declared_hz"] == 200.0
    assert eeg["measured_hz"] == pytest.approx(200.0, rel=0.03)
    assert len(eeg["labels"]) == eeg["n_channels"] == 8
    assert eeg["units"] == ["microvolts"]
    assert 1.0 < eeg["amplitude"] < 1000.0
    assert eeg["flat_channels"] == 0
    assert 0.0 <= eeg["age_s"] < 1.0
    assert eeg["bundles"] == {str(subject.bundle): ""}
    other = seen[f"{playing}:markers"]
    assert other["measured_hz"] is None
    assert "texts" in other["trouble"]
    assert "texts" in other["bundles"][str(subject.bundle)]


def test_the_list_can_be_read(playing):
    done = run("streams", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    assert f"--source-id {playing}" in done.stdout
    assert "200 Hz declared" in done.stdout


def test_go_or_no_go_and_why_with_nothing_published(playing, cli, subject, unique_id):
    """All at once: each takes six seconds."""
    name = f"hd-{unique_id}"

    def check(*more):
        asked = ("serve", subject.bundle, "--source-id", playing, "--name", name, "--check")
        return cli(*asked, *more)

    go = check()
    no_go = {
        "must be those of the calibration": check("--unit", "mV"),
        "times the calibration's": check("--unit", "mV", "--mismatch", "warn"),
        "too little signal": check("--duration", "1"),
    }
    seen = set()
    while go.process.poll() is None:
        seen |= {stream.name for stream in list_streams(0.6)}
    assert f"amp-{playing}" in seen
    assert not any(other.startswith(name) for other in seen)

    assert go.finish() == 0, go.output
    assert "GO: serve it" in go.output
    assert "amplitudes are those of the calibration" in go.output
    assert "NO GO" not in go.output
    for said, child in no_go.items():
        assert child.finish() == 8, child.output
        assert "NO GO: " in child.output
        assert said in child.output
        assert "Traceback" not in child.output


def test_no_source_is_no_go(subject, unique_id):
    done = run("serve", subject.bundle, "--source-id", unique_id, "--timeout", "1", "--check")
    assert done.returncode == 7, done.stdout + done.stderr
    assert done.stdout.startswith("NO GO: ")
