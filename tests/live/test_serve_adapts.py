"""A daemon that adapts, as a user runs it: processes, LSL, and the two signals."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from emag_rt.bundle import load_bundle
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tests.live.conftest import SFREQ

pytestmark = [
    pytest.mark.lsl,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no such signals"),
]


@pytest.fixture
def played(subject, tmp_path):
    """The subject in another state: far more alpha in some places; and a bundle of its own."""
    head = SyntheticHead(32, SFREQ, seed=5)
    n = round(120 * SFREQ)
    band = butter(2, (8.0, 13.0), "bandpass", fs=SFREQ, output="sos")
    waves = sosfilt(band, np.random.default_rng(0).normal(size=(n, 12)), axis=0)
    back = head.lead_field[:, np.argsort(head.source_positions_mm[:, 1])[:12]]
    data = head.generate(n) + 25.0 * waves @ (back / np.abs(back).max()).T
    path = tmp_path / "state_raw.fif"
    write_raw(path, data, head.labels, SFREQ, head.montage.positions_mm, origin_mm=head.origin_mm)
    bundle = tmp_path / "s.emag"
    bundle.write_bytes(subject.bundle.read_bytes())
    return path, bundle


@pytest.mark.soak
def test_it_adapts_saves_and_undoes_while_no_row_is_lost(
    cli, played, unique_id, tmp_path, wait_until
):
    recording, bundle = played
    cli(
        *("simulate", "--recording", recording, "--channels", f"ld:{bundle}", "--loop"),
        *("--source-id", unique_id, "--name", f"amp-{unique_id}", "--chunk", "4", "--no-wait"),
    ).wait_for("playing", 60)
    status, settings = tmp_path / "status.jsonl", tmp_path / "serve.yaml"
    settings.write_text("adapt: {after_s: 4, every_s: 4}\nstatus: {interval_s: 0.2}\n")
    daemon = cli(
        *("serve", bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}", "--adapt"),
        *("--config", settings, "--status-json", status),
    )

    def last():
        lines = status.read_text().splitlines() if status.exists() else []
        return json.loads(lines[-1]) if lines else {"adapting": "", "adapted": None}

    daemon.wait_for("adapted to the last 4 s of LD", 120)
    wait_until(lambda: last()["adapted"], 20, "the status")
    daemon.process.send_signal(signal.SIGUSR1)
    daemon.wait_for("the adapted bundle is saved", 60)
    saved = load_bundle(tmp_path / "s-adapted-1.emag")
    assert saved.manifest.calibration["adapted"]["from"] == load_bundle(bundle).sha256
    daemon.process.send_signal(signal.SIGUSR2)
    daemon.wait_for("the bundle is served as it was", 20)
    wait_until(lambda: last()["adapting"] == "undone", 20, "the status")
    assert last()["adapted"] == 0.0
    daemon.process.send_signal(signal.SIGUSR2)
    daemon.wait_for("adapting again", 20)
    assert daemon.terminate() == 0, daemon.output
    summary = last()
    assert summary["summary"] is True
    assert summary["samples_in"] == summary["samples_out"] > 6 * SFREQ
    assert summary["gaps"] == summary["skipped"] == summary["bridged"] == 0
    assert "Traceback" not in daemon.output


def test_a_bundle_that_cannot_be_adapted_is_refused_at_once(cli, subject, tmp_path, unique_id):
    from dataclasses import replace

    from emag_rt.bundle import save_bundle

    old = tmp_path / "old.emag"
    save_bundle(replace(load_bundle(subject.bundle), hd_bands=None), old)
    done = cli("serve", old, "--source-id", unique_id, "--adapt")
    assert done.finish(60) == 5
    assert "--adapt: the bundle holds nothing to adapt by" in done.output
