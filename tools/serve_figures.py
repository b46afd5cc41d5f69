"""Start-up, memory, CPU and latency of the daemon on this machine, as in the README.

    python tools/serve_figures.py BUNDLE RECORDING [--starts 5] [--seconds 20] [--json]

RECORDING is played by `emag-rt simulate` in its own process, one sample a chunk; the daemon is
started several times. A relay that pulls the same LD samples and pushes them on, padded to
the HD channel count, runs beside it as the floor: what LSL itself costs on this machine now.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import psutil

from emag_rt.bundle import load_bundle
from emag_rt.streams.lsl import LslSource, StreamQuery, configure, local_clock

_RELAY = """
import sys, numpy as np
from emag_rt.streams.lsl import *
configure("machine", sys.argv[1])
source = LslSource.open(StreamQuery(source_id=sys.argv[2]), 10)
n_hd, n_ld = int(sys.argv[4]), source.format.n_channels
labels = tuple(f"c{i}" for i in range(n_hd))
sink = LslSink(OutletSpec(sys.argv[3], sys.argv[3], labels, source.format.sfreq))
print("ready", flush=True)
while True:
    x, t = source.pull(0.2)
    if len(t):
        out = np.zeros((len(t), n_hd), dtype=np.float32)
        out[:, :n_ld] = x
        sink.push(out, t)
"""


@contextlib.contextmanager
def _process(command: list[str], word: str) -> Iterator[tuple[psutil.Process, float]]:
    """A child once it has printed ``word``, and the seconds that took."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            while True:
                log.seek(0)
                text = log.read()
                if word in text:
                    break
                if child.poll() is not None:
                    sys.exit(f"{' '.join(command)}\n{text}")
                time.sleep(0.005)
            yield psutil.Process(child.pid), time.perf_counter() - started
        finally:
            child.terminate()
            child.wait(10)


def _latencies(name: str, seconds: float) -> np.ndarray:
    source = LslSource.open(StreamQuery(name=name), 10)
    end = time.monotonic() + seconds
    seen = []
    while time.monotonic() < end:
        _, stamps = source.pull(0.2)
        seen.append((local_clock() - stamps) * 1e3)
    source.close()
    return np.concatenate(seen)


@click.command()
@click.argument("bundle")
@click.argument("recording")
@click.option("--starts", default=5)
@click.option("--seconds", default=20.0)
@click.option("--json", "as_json", is_flag=True)
def main(bundle: str, recording: str, starts: int, seconds: float, as_json: bool) -> None:
    """Measure, and print a Markdown table."""
    session = f"figures-{uuid.uuid4().hex[:8]}"
    configure("machine", session)
    scope = ["--scope", "machine", "--session-id", session]
    emag = [sys.executable, "-u", "-m", "emag_rt"]
    play = [
        *emag,
        "simulate",
        "--recording",
        recording,
        "--channels",
        f"ld:{bundle}",
        "--loop",
        "--chunk",
        "1",
        "--no-wait",
        "--source-id",
        "figures",
        *scope,
    ]
    serve = [*emag, "serve", bundle, "--source-id", "figures", "--quiet", *scope]
    loaded = load_bundle(bundle)
    n_hd = len(loaded.manifest.hd)
    relay = [sys.executable, "-u", "-c", _RELAY, session, "figures"]
    ready, daemon, floor = [], [], []
    with _process(play, "playing"):
        for i in range(starts):
            with _process([*serve, "--name", f"hd{i}"], "ready") as (process, took):
                ready.append(took)
                process.cpu_percent()
                daemon.append(_latencies(f"hd{i}", seconds))
                cpu, rss = process.cpu_percent(), process.memory_info().rss / 1e6
            with _process([*relay, f"relay{i}", str(n_hd)], "ready"):
                floor.append(_latencies(f"relay{i}", seconds))
    figures = {
        "ready_s": {"median": float(np.median(ready)), "max": max(ready)},
        "rss_mb": rss,
        "cpu_percent_of_a_core": cpu,
        "latency_ms": {
            k: float(np.percentile(np.concatenate(daemon), q))
            for k, q in (("p50", 50), ("p99", 99))
        },
        "relay_latency_ms": {
            k: float(np.percentile(np.concatenate(floor), q)) for k, q in (("p50", 50), ("p99", 99))
        },
        "recording": Path(recording).name,
    }
    if as_json:
        click.echo(json.dumps(figures, indent=1))
        return
    ours, least = figures["latency_ms"], figures["relay_latency_ms"]
    click.echo(f"| {len(loaded.manifest.ld)} → {n_hd} at {loaded.manifest.sfreq:g} Hz | |")
    click.echo("| --- | --- |")
    click.echo(
        f"| ready after its start, source present | median {np.median(ready):.2f} s, "
        f"max {max(ready):.2f} s of {starts} |"
    )
    click.echo(f"| memory (RSS) | {rss:.0f} MB |")
    click.echo(f"| CPU | {cpu:.1f} % of one core |")
    for key in ("p50", "p99"):
        click.echo(
            f"| latency {key}, capture stamp to another process | {ours[key]:.2f} ms, "
            f"{ours[key] / least[key]:.2f} x the relay's {least[key]:.2f} ms |"
        )


if __name__ == "__main__":
    main()
