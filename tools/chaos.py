"""A bad day in the lab: faults of every kind against a real daemon, and the account closed.

    python -m tools.chaos [--minutes 3] [--seed 0] [--case 8:32@250] [--engine auto] [--json]

A source process that misbehaves on command is killed, stopped, restarted with its channels in
another order; samples are lost, repeated, swapped, their stamps jump or stand still, channels
break, are railed, flooded or pop, the reference changes; the daemon is stopped for seconds;
receivers come, stall and are killed; the whole amplifier is dead; an outlet of the daemon's own
name comes; the processor is hogged. One receiver stays throughout. Last, the source comes back in
another unit, under other labels, or with a description of 9 MB, which must end the daemon with 8.
Then three accounts must agree: what the source says it sent, what the daemon
counted, and what the receiver got. Leaves with 1 when one sample is missing from them.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from emag_rt.bench.cases import Case, parse_case
from emag_rt.bench.processes import Child, child_environment
from emag_rt.bundle import save_bundle
from emag_rt.synthetic.standin import eeg_like
from tools.chaos_account import account

HERE = Path(__file__).parent
RETURN_S = 2.0


def _burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@dataclass
class Report:
    """What was tried, and what became of it."""

    tried: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    returns_s: list[float] = field(default_factory=list)
    account: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Lab:
    """The processes, and what can be done to them."""

    def __init__(
        self,
        case: Case,
        folder: Path,
        seed: int,
        engine: str = "auto",
        source_sfreq: float | None = None,
    ) -> None:
        self.source_sfreq = source_sfreq or case.sfreq
        self.random, self.case, self.folder = random.Random(seed), case, folder  # noqa: S311
        self.session, self.report = f"chaos-{uuid.uuid4().hex[:8]}", Report()
        bundle = case.standin(5)
        save_bundle(bundle, folder / "chaos.emag")
        self.labels = [e.label for e in bundle.manifest.ld]
        self.log, self.status = folder / "sent.f64", folder / "status.jsonl"
        self._signals = dict(
            zip(self.labels, eeg_like(bundle.covariance, case.sfreq).T, strict=True)
        )
        self.shift = 0.0
        self._stack = contextlib.ExitStack()
        try:
            self._start(engine)
        except BaseException:
            self.close()
            raise

    def _start(self, engine: str) -> None:
        folder = self.folder
        self.amplifier = self._amplifier()
        (folder / "serve.yaml").write_text("status: {interval_s: 0.1}\n")
        self.daemon = self._child(
            *("daemon", "-m", "emag_rt", "-v", "serve", str(folder / "chaos.emag"), "--source-id"),
            *(self.session, "--name", self.session, "--config", str(folder / "serve.yaml")),
            *("--status-json", str(self.status), "--scope", "machine"),
            *("--session-id", self.session, "--engine", engine),
        )
        self.daemon.wait_for("ready", 40)
        self.recorder = self._child("recorder", *self._consumer("record", str(folder / "rows.npz")))
        self.recorder.wait_for("reading", 40)
        self.tell("go")

    def _child(self, what: str, *arguments: str) -> Child:
        child = Child(what, *arguments)
        self._stack.callback(child.end)
        self._stack.callback(child.kill)
        return child

    def _consumer(self, kind: str, what: str) -> list[str]:
        return [str(HERE / "chaos_consumer.py"), kind, self.session, what, self.session]

    def _amplifier(self, change: str = "") -> subprocess.Popen[str]:
        script = str(HERE / "chaos_amplifier.py")
        order = ",".join(self.labels)
        signal = self.folder / "signal.npy"
        np.save(signal, np.column_stack([self._signals[label] for label in self.labels]))
        # What a changed source sends is refused, and no part of the account.
        log = self.folder / "refused.f64" if change else self.log
        options = (self.session, order, self.source_sfreq, log, self.session, signal, self.shift)
        made = subprocess.Popen(
            [sys.executable, script, *map(str, options), change],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
        self._stack.enter_context(made)
        self._stack.callback(made.kill)
        assert made.stdout is not None
        if made.stdout.readline().strip() != "up":
            raise click.ClickException("the source did not start")
        return made

    def tell(self, command: str) -> None:
        """Send a command to the source."""
        assert self.amplifier.stdin is not None
        self.amplifier.stdin.write(command + "\n")
        self.amplifier.stdin.flush()

    def counters(self) -> dict[str, float]:
        """The daemon's newest status."""
        lines = self.status.read_text().splitlines()
        return json.loads(lines[-1]) if lines else {"samples_out": 0}

    def events(self) -> list[dict[str, Any]]:
        """What the daemon marked, from its log."""
        lines = [line for _, line in self.daemon.lines if " event {" in line]
        return [json.loads(line[line.index("{") :]) for line in lines]

    def flowing(self, deadline_s: float = 15.0) -> float | None:
        """Seconds until rows flow again; None: not within the deadline."""
        begin, before = time.monotonic(), self.counters()["samples_out"]
        while time.monotonic() - begin < deadline_s:
            if self.counters()["samples_out"] >= before + 10:
                return time.monotonic() - begin
            time.sleep(0.02)
        return None

    # Faults

    def kill_source(self) -> None:
        """SIGKILL; another process comes back with the same id."""
        self.amplifier.kill()
        self.amplifier.wait()
        time.sleep(self.random.uniform(0.0, 3.0))
        self.amplifier = self._amplifier()
        self.tell("go")
        waited = self.flowing()
        if waited is not None:
            self.report.returns_s.append(waited)

    def reorder_source(self) -> None:
        """As before, with the channels in another order."""
        self.random.shuffle(self.labels)
        self.kill_source()

    def stop_source(self) -> None:
        """SIGSTOP, SIGCONT."""
        self._stop(self.amplifier.pid)

    def stop_daemon(self) -> None:
        """SIGSTOP, SIGCONT."""
        self._stop(self.daemon.process.pid)

    def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, 4.0))
        os.kill(pid, signal.SIGCONT)

    def lose(self) -> None:
        """A few samples, or seconds of them, are never sent."""
        self.tell(f"lose {self.random.choice([5, 8, 50, 500])}")

    def repeat(self) -> None:
        """A chunk is sent twice."""
        self.tell(f"repeat {self.random.choice([5, 20])}")

    def swap(self) -> None:
        """Two samples change places."""
        self.tell("swap")

    def stuck(self) -> None:
        """The clock stands still for some samples."""
        self.tell(f"stuck {self.random.choice([5, 30])}")

    def jump(self) -> None:
        """The clock jumps, and back again some time later."""
        step = self.random.choice([3600.0, -3600.0, -5.0])
        for sign in (1, -1):
            self.tell(f"jump {sign * step}")
            self.shift += sign * step
            time.sleep(1.0)

    def break_channels(self) -> None:
        """NaN, railed, flat or flooded for a second or two, up to all of them."""
        for channel in self.random.sample(range(len(self.labels)), self.random.choice([1, 3, 8])):
            n = round(self.random.uniform(0.1, 2.0) * self.case.sfreq)
            self.tell(
                f"{self.random.choice(['nan', 'inf', 'rail', 'flat', 'mains'])} {channel} {n}"
            )

    def step(self) -> None:
        """300 mV, up or down, in one channel, some, or all: a pop, or another reference."""
        channels = self.random.sample(range(len(self.labels)), self.random.choice([1, 3, 8]))
        size = self.random.choice([3e5, -3e5])
        self.tell(f"step {size} {' '.join(map(str, channels))}")

    def dead_amplifier(self) -> None:
        """Every channel flat, railed or the mains alone, for seconds."""
        n = round(self.random.uniform(2.0, 5.0) * self.case.sfreq)
        self.tell(f"{self.random.choice(['flat', 'rail', 'mains'])} all {n}")
        time.sleep(n / self.case.sfreq)

    def burst(self) -> None:
        """Samples stamped when they were pushed, several at a time."""
        self.tell(f"burst {self.random.choice([2, 9, 16])}")

    def odd_stamp(self) -> None:
        """One stamp is infinite, or lies ahead."""
        self.tell(self.random.choice(["never", "ahead 0.7"]))

    def namesake(self) -> None:
        """Another outlet of the daemon's name comes, and goes."""
        code = (
            "import sys, time; from emag_rt.streams.lsl import LslSink, OutletSpec, configure;"
            "configure('machine', sys.argv[1]);"
            "sink = LslSink(OutletSpec(sys.argv[1], 'another', ('Fz',), 100.0)); time.sleep(60)"
        )
        child = self._child("namesake", "-c", code, self.session)
        time.sleep(3.0)
        child.kill()

    def killed_receivers(self) -> None:
        """Ten come and are killed."""
        child = self._child("receivers", *self._consumer("read", "10"))
        child.wait_for("reading", 40)
        child.kill()

    def stuck_receiver(self) -> None:
        """One comes, is stopped, and stays."""
        child = self._child("receiver", *self._consumer("read", "1"))
        child.wait_for("reading", 40)
        os.kill(child.process.pid, signal.SIGSTOP)

    def hog(self) -> None:
        """Every core is busy with something else."""
        context = multiprocessing.get_context("fork")
        hogs = [context.Process(target=_burn, args=(3.0,)) for _ in range(os.cpu_count() or 1)]
        for process in hogs:
            process.start()
        for process in hogs:
            process.join()

    def finish(self) -> None:
        """End everything in order, so that all that was sent can arrive."""
        time.sleep(3.0)
        self.tell("quiet")
        time.sleep(1.5)
        change = self.random.choice(["volts", "renamed", "huge"])
        self.report.tried[f"back as {change}"] += 1
        self.amplifier.kill()
        self.amplifier.wait()
        self.amplifier = self._amplifier(change)
        self.tell("go")
        try:
            code = self.daemon.process.wait(30)
        except psutil.TimeoutExpired:
            self.daemon.process.send_signal(signal.SIGTERM)
            code = self.daemon.process.wait(20)
        if code in (8, None):
            self.report.survived[f"back as {change}"] += 1
        else:
            last = self.daemon.lines[-3:]
            self.report.failures.append(f"back as {change}, the daemon ended with {code}: {last}")
        self.recorder.process.send_signal(signal.SIGTERM)
        self.recorder.process.wait(20)

    def close(self) -> None:
        """Kill what is left."""
        self._stack.close()


FAULTS: tuple[Callable[[Lab], None], ...] = (
    Lab.kill_source,
    Lab.reorder_source,
    Lab.stop_source,
    Lab.stop_daemon,
    Lab.lose,
    Lab.repeat,
    Lab.swap,
    Lab.stuck,
    Lab.jump,
    Lab.break_channels,
    Lab.step,
    Lab.dead_amplifier,
    Lab.burst,
    Lab.odd_stamp,
    Lab.namesake,
    Lab.killed_receivers,
    Lab.stuck_receiver,
    Lab.hog,
)


def torment(lab: Lab, seconds: float, tell: Callable[[str], None]) -> None:
    """Fault after fault; each must be survived."""
    end = time.monotonic() + seconds
    rounds: list[Callable[[Lab], None]] = []
    while time.monotonic() < end:
        if not rounds:  # every fault once before any comes again
            rounds = lab.random.sample(FAULTS, len(FAULTS))
        fault = rounds.pop()
        name = fault.__name__
        lab.report.tried[name] += 1
        fault(lab)
        waited = lab.flowing()
        alive = lab.daemon.process.is_running() and lab.daemon.process.status() != "zombie"
        if waited is None or not alive:
            last = [line for _, line in lab.daemon.lines[-3:]]
            lab.report.failures.append(f"not survived: {name}: {last}")
            return
        lab.report.survived[name] += 1
        tell(f"{name}: rows flow after {waited:.2f} s")
        time.sleep(lab.random.uniform(0.3, 1.0))


def close_account(lab: Lab) -> None:
    """End everything, and compare the three accounts."""
    lab.finish()
    c = lab.counters()
    if not c.get("summary"):
        lab.report.failures.append("the daemon left no summary")
    sent = np.fromfile(lab.log)
    stamps = np.load(lab.folder / "rows.npz")["stamps"]
    counted = {key: value for key, value in c.items() if isinstance(value, int)}
    counted["samples_in"] -= counted["refused"]  # of the source that came back changed
    counted["refused"] = 0
    lab.report.account, failures = account(sent, stamps, lab.events(), counted)
    lab.report.failures += failures


def run(
    case: Case, minutes: float, seed: int, tell: Callable[[str], None], engine: str = "auto"
) -> Report:
    """Make a lab, torment it, and close the account."""
    with tempfile.TemporaryDirectory(prefix="emag_rt-chaos-") as name:
        lab = Lab(case, Path(name), seed, engine)
        try:
            torment(lab, 60.0 * minutes, tell)
            close_account(lab)
        finally:
            lab.close()
    slow = [f"{s:.2f}" for s in lab.report.returns_s if s > RETURN_S]
    if slow:
        lab.report.failures.append(f"rows flowed only {', '.join(slow)} s after a return")
    return lab.report


@click.command()
@click.option("--minutes", default=3.0, show_default=True, help="How long.")
@click.option("--seed", default=0, show_default=True, help="Of the order of faults.")
@click.option("--case", "case_text", default="8:32@250", show_default=True, help="Size.")
@click.option("--engine", default="auto", show_default=True, help="Of the daemon.")
@click.option("--json", "as_json", is_flag=True, help="The report, for programs.")
def main(minutes: float, seed: int, case_text: str, engine: str, as_json: bool) -> None:
    """Run faults of every kind against a real daemon."""

    def tell(line: str) -> None:
        click.echo(line, err=True)

    report = run(parse_case(case_text), minutes, seed, tell, engine)
    if as_json:
        click.echo(json.dumps(report.__dict__, indent=1))
    else:
        for name in sorted(report.tried):
            click.echo(f"{name}: tried {report.tried[name]}, survived {report.survived[name]}")
        if report.returns_s:
            click.echo(f"rows after a return of the source: at most {max(report.returns_s):.2f} s")
        click.echo(", ".join(f"{key} {value}" for key, value in report.account.items()))
        for failure in report.failures:
            click.echo(f"FAILED: {failure}")
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
