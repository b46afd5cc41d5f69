"""How a daemon ends: signals at every phase, full disks, taken ports. Real processes, real LSL."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from emag_rt.system import SAVE_AND_UNDO
from tests.live.reading import open_stream, read_until

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
LIMITED = """
import resource, sys
from emag_rt.cli.main import main
sys.dont_write_bytecode = True  # Python would not notice that half of it is missing
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), hard))
main()
"""


def handles(child, number):
    """Whether a process has set a handler for a signal."""
    try:
        status = Path(f"/proc/{child.process.pid}/status").read_text()
    except OSError:
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return int(caught, 16) >> (number - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_end_while_loading(cli, subject, unique_id, wait_until, number):
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as under nohup, also for children
        pytest.skip("SIGHUP is ignored here, and nothing else tells that handlers are set")
    daemon = cli("serve", subject.bundle, "--source-id", unique_id, "--timeout", "60")
    wait_until(lambda: handles(daemon, signal.SIGHUP), 30, "handlers")
    daemon.process.send_signal(number)
    assert daemon.finish(30) == 0, daemon.output
    assert daemon.output == ""


def test_told_to_end_while_waiting(cli, subject, unique_id):
    daemon = cli("-v", "serve", subject.bundle, "--source-id", unique_id, "--wait")
    daemon.wait_for("waiting for the source", 30)
    for number in SAVE_AND_UNDO:  # nothing to save or to undo without --adapt: told, and no end
        daemon.process.send_signal(number)
        daemon.wait_for("SIGUSR1 saves and SIGUSR2 undoes what `serve --adapt`", 20)
    assert daemon.interrupt() == 0
    assert "Traceback" not in daemon.output


def test_told_to_end_while_connecting(cli, subject, playing):
    daemon = cli("-v", "serve", subject.bundle, "--source-id", playing)
    daemon.wait_for("connecting to", 30)
    assert daemon.terminate(30) == 0, daemon.output
    assert "Traceback" not in daemon.output
    assert "ready" not in daemon.output


class Manager:
    """A service manager's socket, and what it heard."""

    def __init__(self, path):
        self.address, self.heard = str(path), []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(60)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while not self.heard or b"STOPPING=1" not in self.heard[-1]:
            self.heard.append(self.socket.recv(1000))
        self.socket.close()


def test_told_to_end_while_serving_what_is_owed_is_published(cli, subject, playing, tmp_path):
    """Told twice, with rows of an unfinished hop in hand; systemd hears of it all."""
    trace, status = tmp_path / "trace.npz", tmp_path / "status.jsonl"
    config = tmp_path / "serve.yaml"
    config.write_text("engine: {hop: 64}\nstatus: {interval_s: 0.1}\n")
    manager = Manager(tmp_path / "notify")
    daemon = cli(
        *("serve", subject.bundle, "--source-id", playing, "--name", f"hd-{tmp_path.name}"),
        *("--config", config, "--trace", trace, "--status-json", status),
        env={"NOTIFY_SOCKET": manager.address},
    )
    daemon.wait_for("ready", 60)
    hd = open_stream(f"hd-{tmp_path.name}")
    [(_, before)] = read_until([hd], lambda stamps: len(stamps[0]) > 200)
    for number in SAVE_AND_UNDO:
        daemon.process.send_signal(number)
        daemon.wait_for("ignored: SIGUSR1", 20)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGTERM)
    stamps, end = [before], time.monotonic() + 20
    while daemon.process.poll() is None:
        assert time.monotonic() < end
        stamps.append(hd.pull(0.05)[1].copy())  # the next pull writes there again
    stamps = np.concatenate([*stamps, hd.pull(0.05)[1]])
    assert daemon.finish() == 0, daemon.output
    with np.load(trace) as times:
        assert stamps[-1] == times["stamp"][-1], "the newest sample, bit for bit"
    np.testing.assert_allclose(np.diff(stamps), 1 / 200, rtol=1e-6)
    summary = json.loads(status.read_text().splitlines()[-1])
    assert summary["state"] == "stopped"
    assert summary["samples_in"] == summary["samples_out"] > 200
    manager.thread.join(20)
    assert manager.heard[0].startswith(b"STATUS=waiting for the source")
    assert manager.heard[1].startswith(b"READY=1")
    assert manager.heard[2].startswith(b"WATCHDOG=1\nSTATUS=running: in ")
    assert manager.heard[-1].startswith(b"STOPPING=1")
    assert "going on without" not in daemon.output


def test_a_second_sigint_ends_it_at_once(cli, subject, playing, wait_until):
    daemon = cli("serve", subject.bundle, "--source-id", playing, "--name", "hurried")
    daemon.wait_for("ready", 60)

    def over():  # two signals at once may arrive as one
        daemon.process.send_signal(signal.SIGINT)
        return daemon.process.poll() is not None

    wait_until(over, 20, "the end")
    assert daemon.finish() == 130, daemon.output
    assert "Traceback" not in daemon.output
    assert daemon.output.endswith("interrupted")


def test_a_full_disk_costs_status_lines_and_nothing_else(spawn, subject, playing, tmp_path):
    status = tmp_path / "status.jsonl"
    config = tmp_path / "serve.yaml"
    config.write_text("status: {interval_s: 0.05}\n")
    daemon = spawn(
        *("-c", LIMITED, 2000, "serve", subject.bundle, "--source-id", playing),
        *("--name", f"hd-{tmp_path.name}", "--config", config, "--status-json", status),
    )
    daemon.wait_for("ready", 60)
    daemon.wait_for("serving goes on, lines are lost", 30)
    hd = open_stream(f"hd-{tmp_path.name}")
    read_until([hd], lambda stamps: len(stamps[0]) > 100)
    assert status.read_text().endswith("}\n")
    full = [json.loads(line) for line in status.read_text().splitlines()]
    assert full[-1]["status_lost"] == 0
    process = psutil.Process(daemon.process.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (1_000_000, process.rlimit(psutil.RLIMIT_FSIZE)[1]))
    daemon.wait_for("can be written again", 30)
    assert daemon.terminate() == 0, daemon.output
    assert daemon.output.count("lines are lost") == 1
    lines = [json.loads(line) for line in status.read_text().splitlines()]
    assert lines[: len(full)] == full
    assert lines[-1]["summary"]
    assert lines[-1]["status_lost"] > 0
    assert lines[-1]["samples_in"] == lines[-1]["samples_out"]


def test_a_disk_full_at_the_end_is_one_line_and_a_status(spawn, subject, playing, tmp_path):
    trace = tmp_path / "trace.npz"
    daemon = spawn(
        *("-c", LIMITED, 300, "serve", subject.bundle, "--source-id", playing),
        *("--name", f"hd-{tmp_path.name}", "--trace", trace, "--duration", "0.5"),
    )
    assert daemon.finish(40) == 9
    assert [line for line in daemon.lines if not line.startswith("ready")] == [
        f"error: --trace {trace}: cannot be written: File too large. Nothing half-written is "
        "left: make room, or name another place."
    ]
    assert list(tmp_path.iterdir()) == []


MUTE = """
import os, sys
full = os.open("/dev/full", os.O_WRONLY)
os.dup2(full, 1), os.dup2(full, 2)
os.execv(sys.executable, [sys.executable, "-m", "emag_rt", "-v", "serve", *sys.argv[1:]])
"""


def test_a_log_on_a_full_disk_ends_nothing(spawn, subject, playing, unique_id):
    daemon = spawn(
        *("-c", MUTE, subject.bundle, "--source-id", playing, "--name", unique_id),
        *("--status-json", "-"),
    )
    hd = open_stream(unique_id)
    read_until([hd], lambda stamps: len(stamps[0]) > 250)
    assert daemon.terminate() == 0
    assert daemon.output == ""


def test_other_commands_end_without_a_trace(cli, subject, tmp_path, wait_until):
    for number, code, word in ((signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "inter")):
        out = tmp_path / "out_raw.fif"
        child = cli("upsample", subject.bundle, subject.play, "--out", out)
        wait_until(lambda child=child: handles(child, signal.SIGTERM), 30, "a handler")
        child.process.send_signal(number)
        assert child.finish(30) == code, child.output
        assert word in child.output
        assert "Traceback" not in child.output
        assert list(tmp_path.iterdir()) == []
