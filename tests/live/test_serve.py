"""The daemon as a user runs it: real processes, real LSL."""

from __future__ import annotations

import json
import time

import mne
import numpy as np
import psutil
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.streams.lsl import LslSource, StreamQuery
from tests.live.conftest import SFREQ
from tests.live.reading import EVERY_ROW, open_stream, read_until

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(180)]


def start_player(cli, subject, source_id, *extra):
    player = cli(
        "simulate",
        "--recording",
        subject.play,
        "--channels",
        f"ld:{subject.bundle}",
        "--source-id",
        source_id,
        "--name",
        f"amp-{source_id}",
        *extra,
    )
    player.wait_for("playing", 60)
    return player


def start_daemon(cli, subject, source_id, *extra):
    daemon = cli(
        "serve", subject.bundle, "--source-id", source_id, "--name", f"hd-{source_id}", *extra
    )
    daemon.wait_for("ready", 60)
    return daemon


def offline(cli, subject, out, *extra):
    done = cli("upsample", subject.bundle, subject.play, "--out", out, *extra)
    assert done.finish(60) == 0, done.output
    raw = mne.io.read_raw_fif(out, verbose="ERROR")
    return raw.get_data().T * 1e6, raw.ch_names


def events_of(samples):
    return [json.loads(row[0]) for row in samples]


# What is matched is folded into the weights: tests/core and tests/engine have it.
@pytest.mark.parametrize("mode", ["estimate", pytest.param("simulated", marks=pytest.mark.soak)])
def test_live_equals_offline(cli, subject, unique_id, tmp_path, mode):
    """Every sample once, in order, with the source's stamps and the values of `upsample`."""
    wanted = ("--statistics", mode)
    expected, names = offline(cli, subject, tmp_path / "offline_raw.fif", *wanted)
    start_player(cli, subject, unique_id, "--chunk", "3")
    status = tmp_path / "status.jsonl"
    daemon = start_daemon(cli, subject, unique_id, "--status-json", status, *wanted, *EVERY_ROW)
    hd = open_stream(f"hd-{unique_id}")
    ld = open_stream(f"amp-{unique_id}")
    total = len(expected)
    # The player ends after the last sample, so the newest stamp stops growing.
    last = {"stamp": 0.0, "since": time.monotonic()}

    def ended(stamps):
        newest = float(stamps[0][-1]) if len(stamps[0]) else 0.0
        if newest != last["stamp"]:
            last.update(stamp=newest, since=time.monotonic())
        return newest and time.monotonic() - last["since"] > 1.5

    (hd_rows, hd_stamps), (_, ld_stamps) = read_until([hd, ld], ended)
    assert hd.format.labels == tuple(names)
    assert len(hd_stamps) > 0.5 * total
    np.testing.assert_allclose(np.diff(hd_stamps), 1 / SFREQ, rtol=1e-6)
    common = np.intersect1d(hd_stamps, ld_stamps)
    both = min(len(hd_stamps), len(ld_stamps))
    assert len(common) == both, "stamps must be the source's, bit for bit"
    first = total - len(hd_rows)
    np.testing.assert_allclose(hd_rows, expected[first:], atol=2e-3, rtol=1e-5)
    assert daemon.terminate() == 0
    summary = json.loads(status.read_text().splitlines()[-1])
    assert summary["summary"] is True
    assert summary["samples_in"] == summary["samples_out"] == total
    assert summary["gaps"] == summary["skipped"] == 0
    assert summary["latency_p50_ms"] > 0


def test_mne_lsl_reads_labels_units_positions_and_values(cli, subject, unique_id):
    from mne_lsl.stream import StreamLSL

    player = start_player(cli, subject, unique_id, "--loop")
    start_daemon(cli, subject, unique_id, *EVERY_ROW)
    bundle = load_bundle(subject.bundle)
    stream = StreamLSL(bufsize=2, name=f"hd-{unique_id}").connect(timeout=30)
    try:
        assert stream.ch_names == [e.label for e in bundle.manifest.hd]
        assert stream.info["sfreq"] == SFREQ
        assert set(stream.get_channel_types()) == {"eeg"}
        assert {u[1] for u in stream.get_channel_units()} == {-6}, "microvolts"
        origin = np.array(bundle.manifest.head.origin_mm)
        wanted = np.array([e.position_mm for e in bundle.manifest.hd]) + origin
        found = np.array([ch["loc"][:3] for ch in stream.info["chs"]]) * 1000
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        end = time.monotonic() + 20
        while stream.n_new_samples < SFREQ:
            assert time.monotonic() < end, "no samples"
            time.sleep(0.02)
        data, stamps = stream.get_data(winsize=1.0)
        assert np.isfinite(data).all()
        assert 1 < data.std() < 500, "µV of EEG"
        np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=1e-3)
        # A source that dies and comes back is missing data to MNE-LSL, and nothing else.
        player.kill()
        start_player(cli, subject, unique_id, "--loop")
        end = time.monotonic() + 20
        while True:
            assert time.monotonic() < end, "no samples after the source came back"
            time.sleep(0.02)
            data, stamps = stream.get_data()
            lost = np.isnan(data).all(axis=0)
            if lost.any() and not lost[-50:].any():
                break
        assert stream.connected
        assert (np.diff(stamps[stamps > 0]) > 0).all()
    finally:
        stream.disconnect()


def test_source_killed_and_back_keeps_the_outlet(cli, subject, unique_id, tmp_path):
    status = tmp_path / "status.jsonl"
    player = start_player(cli, subject, unique_id, "--loop")
    daemon = start_daemon(cli, subject, unique_id, "--status-json", status)
    hd = open_stream(f"hd-{unique_id}")
    markers = open_markers(f"hd-{unique_id}-markers")
    read_until([hd], lambda stamps: len(stamps[0]) > SFREQ)
    player.kill()
    daemon.wait_for("source is silent", 20)
    start_player(cli, subject, unique_id, "--loop")
    daemon.wait_for("the source is back", 30)
    rows: list[np.ndarray] = []
    stamps = np.empty(0)
    end = time.monotonic() + 30
    # The same inlet goes on: through what came before, NaN for the outage, and samples again.
    while True:
        assert time.monotonic() < end, "no samples after the source came back"
        chunk, times = hd.pull(0.1)
        rows.append(chunk.copy())
        stamps = np.concatenate([stamps, times])
        everything = np.concatenate(rows)
        lost = np.isnan(everything).all(axis=1)
        if lost.any() and (~lost[np.flatnonzero(lost)[-1] :]).sum() > SFREQ:
            break
    assert (np.diff(stamps) > 0).all()
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.5)  # the rate stays constant
    assert not np.isnan(everything[~lost]).any()
    assert hd.current_format(5.0).uid == hd.format.uid, "the outlet was never taken down"
    seen = {event["event"] for event in pull_events(markers)}
    assert {"silent", "recovered", "gap"} <= seen
    assert daemon.interrupt() == 0
    summary = json.loads(status.read_text().splitlines()[-1])
    assert summary["gaps"] == 1
    assert summary["recovered"] == 1
    assert summary["filled"] == lost.sum()
    assert summary["samples_in"] == summary["samples_out"]


def test_two_daemons_of_one_name_warn_each_other(cli, subject, unique_id):
    start_player(cli, subject, unique_id, "--loop")
    first = start_daemon(cli, subject, unique_id)
    markers = open_markers(f"hd-{unique_id}-markers")
    second = start_daemon(cli, subject, unique_id)
    second.wait_for("another outlet is on the network", 20)
    first.wait_for("another outlet is on the network", 30)
    assert "namesake" in {event["event"] for event in pull_events(markers)}
    for daemon in (first, second):
        assert daemon.interrupt() == 0
        assert daemon.output.count("another outlet is on the network") == 1


def open_markers(name):
    import pylsl

    found = pylsl.resolve_byprop("name", name, timeout=20)
    assert len(found) == 1
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(timeout=10)
    return inlet


def pull_events(inlet):
    samples, _ = inlet.pull_chunk(timeout=1.0)
    return events_of(samples)


def test_source_that_comes_back_changed_is_refused(cli, subject, unique_id):
    """Two amplifiers at a time: one has another rate, one another electrode."""
    manifest = load_bundle(subject.bundle).manifest
    labels = [e.label for e in manifest.ld]
    stranger = next(e.label for e in manifest.hd if e.label not in labels)
    changes = {
        f"rate-{unique_id}": ("--channels", f"ld:{subject.bundle}", "--sfreq", "250"),
        f"labels-{unique_id}": ("--channels", ",".join([stranger, *labels[1:]])),
    }
    players = [start_player(cli, subject, one, "--loop") for one in changes]
    daemons = [start_daemon(cli, subject, one) for one in changes]
    for one in changes:
        read_until([open_stream(f"hd-{one}")], lambda stamps: len(stamps[0]) > 10)
    for player in players:
        player.kill()
    for daemon in daemons:
        daemon.wait_for("source is silent", 20)
    for one, other in changes.items():
        changed = cli(
            *("simulate", "--recording", subject.play, "--source-id", one),
            *("--name", f"amp-{one}", "--loop", "--no-wait", *other),
        )
        changed.wait_for("playing", 60)
    for daemon, told in zip(daemons, ("250", stranger), strict=True):
        assert daemon.finish(40) == 8, daemon.output
        assert "must come back as it was" in daemon.output
        assert told in daemon.output
        assert "Traceback" not in daemon.output


def test_ambiguous_and_missing_sources_are_listed(cli, subject, unique_id):
    for suffix in "ab":
        start_player(cli, subject, f"{unique_id}{suffix}", "--name", f"twin-{unique_id}")
    daemon = cli("serve", subject.bundle, "--source-name", f"twin-{unique_id}", "--quiet")
    assert daemon.finish(40) == 7
    assert f"{unique_id}a" in daemon.output
    assert f"{unique_id}b" in daemon.output
    missing = cli("serve", subject.bundle, "--source-id", "nobody", "--timeout", "1")
    assert missing.finish(40) == 7
    assert "nobody" in missing.output
    assert f"{unique_id}a" in missing.output, "says what is there"


def test_wrong_rate_names_the_command_that_mends_it(cli, subject, unique_id):
    start_player(cli, subject, unique_id, "--sfreq", "250")
    daemon = cli("serve", subject.bundle, "--source-id", unique_id)
    assert daemon.finish(40) == 8
    assert "--sfreq 250" in daemon.output


def test_memory_and_imports_of_a_running_daemon(cli, subject, unique_id):
    start_player(cli, subject, unique_id, "--loop")
    daemon = start_daemon(cli, subject, unique_id)
    hd = open_stream(f"hd-{unique_id}")
    read_until([hd], lambda stamps: len(stamps[0]) > SFREQ)
    process = psutil.Process(daemon.process.pid)
    assert process.memory_info().rss < 300e6
    mapped = " ".join(m.path for m in process.memory_maps())
    assert "torch" not in mapped
    assert "/mne" not in mapped


def test_yaml_settings_hop_duration_and_metadata(cli, subject, unique_id, tmp_path):
    config = tmp_path / "serve.yaml"
    config.write_text(
        f"source: {{source_id: {unique_id}}}\n"
        f"output: {{name: yaml-{unique_id}, reference: average, measured: render}}\n"
        "engine: {name: packed, hop: 8}\n"
    )
    start_player(cli, subject, unique_id, "--loop", "--chunk", "1")
    daemon = cli("serve", subject.bundle, "--config", config, "--duration", "4")
    daemon.wait_for("ready", 60)
    hd = LslSource.open(StreamQuery(name=f"yaml-{unique_id}"), 20)
    [(rows, stamps)] = read_until([hd], lambda stamps: len(stamps[0]) > SFREQ)
    assert np.abs(rows.mean(axis=1)).max() < 1e-3, "average reference"
    assert (np.diff(stamps) > 0).all()
    assert hd.format.reference == "average"
    assert daemon.finish(40) == 0


def test_unknown_settings_are_refused_with_their_path(cli, subject, tmp_path):
    config = tmp_path / "serve.yaml"
    config.write_text("engine: {nmae: packed}\n")
    daemon = cli("serve", subject.bundle, "--config", config)
    assert daemon.finish(40) == 2
    assert "engine.nmae" in daemon.output
    assert "Traceback" not in daemon.output


def test_sigterm_while_waiting_for_a_source_is_a_clean_end(cli, subject, unique_id):
    daemon = cli("-v", "serve", subject.bundle, "--source-id", unique_id, "--wait")
    daemon.wait_for("waiting for the source", 30)
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.output
