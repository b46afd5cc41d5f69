"""No HD session at all: from a live LD stream to HD, in one command, and in two with adaptation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.system import SAVE_AND_UNDO
from tests.live.conftest import SFREQ
from tests.live.reading import EVERY_ROW, open_stream, read_until

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(180)]
WORN = ("Fz", "Cz", "Pz", "C3", "C4", "O1")


@pytest.fixture
def amplifier(cli, subject, unique_id, request):
    """Plays LD; at another speed than time's where a test asks for it."""
    words = ("--recording", subject.folder / "calibration_raw.fif", "--source-id", unique_id)
    speed = getattr(request, "param", 1)
    words += ("--loop", "--no-wait", "--channels", ",".join(WORN), "--speed", speed)
    player = cli("simulate", *words)
    player.wait_for("playing", 60)
    return unique_id


def test_serve_makes_the_bundle_and_serves_it(cli, amplifier, tmp_path):
    status = tmp_path / "status.json"
    words = ("--ld", f"@stream:{amplifier}", "--hd", "standard_1020", "--source-id", amplifier)
    name = f"hd-{amplifier}"
    daemon = cli("serve", "--no-hd", *words, "--name", name, "--status-json", status, *EVERY_ROW)
    daemon.wait_for("ready", 90)
    source = open_stream(name)
    ((samples, _),) = read_until([source], lambda stamps: len(stamps[0]) > SFREQ)
    assert np.isfinite(samples).all()
    said = daemon.output
    assert "nobody's HD was measured" in said
    assert daemon.terminate() == 0, str(daemon)
    last = json.loads(status.read_text().splitlines()[-1])
    assert last


@pytest.mark.parametrize("amplifier", [4], indirect=True, ids=["four times time"])
def test_ld_is_recorded_first_and_gives_scale_and_noise(cli, amplifier, tmp_path):
    out = tmp_path / "any.emag"
    words = ("--ld", f"@stream:{amplifier}", "--hd", "standard_1020", "--no-report", "--quiet")
    made = cli(
        "calibrate", "--no-hd", "--stream", amplifier, "--duration", 10, *words, "--out", out
    )
    assert made.finish(90) == 0, str(made)
    manifest = load_bundle(out).manifest
    assert manifest.amplitudes_known
    assert not manifest.hd_measured
    assert manifest.sfreq == SFREQ


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "BUNDLE must name"),
        (("a.emag", "--no-hd"), "exclude each other"),
        (("a.emag", "--ld", "Fz,Cz"), "--ld must go with --no-hd"),
        (("--no-hd", "--ld", "Fz,Cz"), "--hd standard_1020"),
        (("--no-hd", "--ld", "Fz,Cz", "--hd", "nowhere", "--sfreq", "250"), "nowhere"),
    ],
)
def test_what_cannot_be_is_told(cli, words, text):
    said = cli("serve", *words)
    assert said.finish(60) in (2, 3), str(said)
    assert text in said.output
    assert "Traceback" not in said.output


@pytest.mark.skipif(not SAVE_AND_UNDO, reason="Windows has no such signals")
def test_it_adapts_to_who_wears_it_and_keeps_that_on_request(cli, amplifier, tmp_path):
    settings, status = tmp_path / "serve.yaml", tmp_path / "status.json"
    settings.write_text("adapt: {after_s: 8}\n")
    words = ("--ld", f"@stream:{amplifier}", "--hd", "cap", "--source-id", amplifier, "--adapt")
    daemon = cli(
        *("serve", "--no-hd", *words, "--name", f"hd-{amplifier}", "--config", settings),
        *("--status-json", status, *EVERY_ROW),
        cwd=tmp_path,
    )
    daemon.wait_for("other people who are like the wearer count for more", 150)
    daemon.process.send_signal(SAVE_AND_UNDO[0])
    daemon.wait_for("the adapted bundle is saved", 60)
    manifest = load_bundle(tmp_path / "no-hd-adapted-1.emag").manifest
    assert manifest.amplitudes_known
    assert not manifest.hd_measured
    assert manifest.calibration["adapted"]["seconds"] >= 8
    assert daemon.terminate() == 0, str(daemon)
    last = json.loads(status.read_text().splitlines()[-1])
    assert last["adaptations"] >= 1
    assert last["adapted"] > 0
    assert last["samples_in"] == last["samples_out"] > 10 * SFREQ
