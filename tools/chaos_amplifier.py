"""An amplifier that misbehaves on command; run by chaos.py as a process.

    python tools/chaos_amplifier.py SOURCE_ID LABELS SFREQ LOG SESSION SIGNAL [SHIFT_S [CHANGE]]

Plays SIGNAL (.npy, n_times x n_channels, in microvolts) over and over. Reads one command a line:
``go``, ``quiet``, ``lose N``, ``repeat N``, ``swap``, ``stuck N``, ``jump SECONDS``,
``step MICROVOLTS K ...`` (channels, from then on), ``nan K N`` (channel K for N samples; also
``inf``, ``rail``, ``flat``, ``mains``; K ``all``: every channel), ``ahead SECONDS`` and
``never`` (one stamp off, or infinite), ``burst N`` (N samples of one stamp, five times). CHANGE
is what is said otherwise: ``volts``, ``renamed`` or ``huge``. Every stamp goes to LOG as a float64
before its sample is sent, so that the account can be closed after a kill.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from pathlib import Path

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.streams.lsl import LslSink, OutletSpec, configure, local_clock

CHUNK = 5
BROKEN = {"nan": np.nan, "inf": np.inf, "rail": 1e30, "flat": 7.0}


class Signal:
    """A signal played over and over, and faults of single channels."""

    def __init__(self, signal_uv: Float32Array, sfreq: float) -> None:
        self._signal, self._sfreq, self._at = signal_uv, sfreq, 0
        self._level = np.zeros(signal_uv.shape[1], dtype=np.float32)
        self._faults: dict[int, tuple[str, int]] = {}

    def fault(self, kind: str, channel: int, n: int) -> None:
        """Break a channel for the next n samples."""
        self._faults[channel] = (kind, n)

    def step(self, size_uv: float, channels: list[int]) -> None:
        """Move channels to another level for good."""
        self._level[channels] += size_uv

    def take(self, n: int) -> Float32Array:
        """The next samples, shape (n, n_channels), in microvolts."""
        rows = (self._at + np.arange(n)) % len(self._signal)
        self._at += n
        out = self._signal[rows] + self._level
        for channel, (kind, left) in list(self._faults.items()):
            if kind == "mains":
                phase = 2 * np.pi * 50.0 / self._sfreq * (left - np.arange(n))
                out[:left, channel] += 500.0 * np.sin(phase[:left]).astype(np.float32)
            else:
                out[:left, channel] = BROKEN[kind]
            self._faults[channel] = (kind, left - n)
            if left <= n:
                del self._faults[channel]
        return out


def shaped(
    command: list[str], rows: Float32Array, stamps: FloatArray
) -> tuple[Float32Array, FloatArray]:
    """What a command makes of the samples that are to be sent next."""
    if command[0] == "repeat":
        return np.concatenate([rows, rows]), np.concatenate([stamps, stamps])
    if command[0] == "swap":
        turn = np.array([0, 2, 1, *range(3, len(rows))])
        return rows[turn], stamps[turn]
    if command[0] == "stuck":
        return rows, np.full_like(stamps, stamps[0])
    if command[0] in ("ahead", "never"):
        stamps[-2] += float(command[1]) if command[0] == "ahead" else np.inf
    if command[0] == "burst":
        stamps = np.repeat(stamps[int(command[1]) - 1 :: int(command[1])], int(command[1]))
    return rows, stamps


def main() -> None:
    """Send until killed."""
    source_id, labels, sfreq_text, log, session, signal_file, *rest = sys.argv[1:]
    configure("machine", session)
    names, sfreq = tuple(labels.split(",")), float(sfreq_text)
    shift = float(rest[0]) if rest else 0.0
    change = rest[1] if len(rest) > 1 else ""
    told = ("X1", *names[1:]) if change == "renamed" else names
    vendor = {"note": "x" * (9 << 20)} if change == "huge" else {}
    unit = "volts" if change == "volts" else "microvolts"
    sink = LslSink(OutletSpec("chaos-amp", source_id, told, sfreq, units=unit, vendor=vendor))
    file = os.open(Path(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    signal, waiting = Signal(np.load(signal_file), sfreq), deque[list[str]]()
    going, start, sent = False, local_clock(), 0
    print("up", flush=True)
    text = ""
    while True:
        due = start + (sent + CHUNK) / sfreq
        ready, _, _ = select.select([0], [], [], max(0.0, due - local_clock()))
        if ready:
            data = os.read(0, 4096).decode()
            if not data:
                return
            *lines, text = (text + data).split("\n")
            for line in lines:
                command = line.split()
                if command[0] == "mains" or command[0] in BROKEN:
                    every = range(len(names)) if command[1] == "all" else (int(command[1]),)
                    for channel in every:
                        signal.fault(command[0], channel, int(command[2]))
                elif command[0] == "step":
                    signal.step(float(command[1]), [int(k) for k in command[2:]])
                elif command[0] == "jump":
                    shift += float(command[1])
                elif command[0] in ("go", "quiet"):
                    going = command[0] == "go"
                else:
                    waiting.append(command)
            continue
        n, command = CHUNK, ["plain"]
        if waiting and going:
            command = waiting.popleft()
            given = int(command[1]) if len(command) > 1 and command[0] != "ahead" else CHUNK
            n = 5 * given if command[0] == "burst" else max(CHUNK, given)
        stamps = start + np.arange(sent, sent + n) / sfreq + shift
        sent += n
        if not going or command[0] == "lose":
            continue
        rows, stamps = shaped(command, signal.take(n), stamps)
        os.write(file, stamps.tobytes())
        sink.push(rows, stamps)


if __name__ == "__main__":
    main()
