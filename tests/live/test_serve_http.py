"""A daemon seen over HTTP from its start to its end."""

from __future__ import annotations

import http.client
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.test_serve import start_player

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
CONTAINERFILE = Path(__file__).parents[2] / "configs/Containerfile"


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def metrics(port):
    status, text = ask(port, "/metrics")
    assert status == 200
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def health_check(port):
    """Exit status of the command that the container file asks health by."""
    line = next(x for x in CONTAINERFILE.read_text().splitlines() if "urlopen" in x)
    command = shlex.split(line.strip().removeprefix("CMD").strip())
    assert command[0] == "python"
    assert ":9464/healthz" in command[-1]
    code = command[-1].replace(":9464/", f":{port}/")
    return subprocess.run(
        [sys.executable, *command[1:-1], code], capture_output=True, check=False
    ).returncode


def test_from_waiting_to_the_end(cli, subject, unique_id, tmp_path, wait_until):
    trace, status = tmp_path / "trace.npz", tmp_path / "status.jsonl"
    for path in (trace, status):
        path.write_text("of an earlier run")
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--name", unique_id, "--wait"),
        *("--http-port", "0", "--trace", trace, "--status-json", status),
    )
    port = int(daemon.wait_for("http: http://127.0.0.1:", 30).rsplit(":", 1)[1])
    assert not trace.exists(), "nothing of an earlier run is taken for news"
    assert status.read_text() == ""
    assert ask(port, "/healthz")[0] == 200
    assert ask(port, "/readyz") == (503, "waiting\n")
    assert metrics(port)["emag_rt_samples_in_total",] == 0
    assert health_check(port) == 0
    # The port is taken, which is said before a source is waited for.
    second = cli(
        *("-v", "serve", subject.bundle, "--source-id", "nobody", "--wait"),
        *("--http-port", port),
    )
    assert second.finish(30) == 9
    assert second.lines == [line for line in second.lines if "waiting for" not in line]
    assert f"error: http: 127.0.0.1 port {port} cannot be listened on: " in second.output
    assert "Traceback" not in second.output
    player = start_player(cli, subject, unique_id, "--loop")
    daemon.wait_for("ready", 60)
    wait_until(lambda: ask(port, "/readyz") == (200, "running\n"), 20, "running")
    wait_until(lambda: metrics(port)["emag_rt_samples_out_total",] > 100, 20, "samples")
    found = metrics(port)
    assert found["emag_rt_samples_in_total",] == found["emag_rt_samples_out_total",]
    assert found["emag_rt_latency_p99_seconds",] > 0
    assert found["process_resident_memory_bytes",] > 1e7
    assert ask(port, "/healthz")[0] == 200
    player.kill()
    wait_until(lambda: ask(port, "/readyz") == (503, "stale\n"), 20, "stale")
    assert ask(port, "/healthz")[0] == 200, "the loop turns all the same"
    assert daemon.terminate() == 0, daemon.output
    with pytest.raises(OSError, match="refused"):
        ask(port, "/healthz")
    assert health_check(port) == 1
