"""Graphs of ezmsg, for test_ezmsg.py, each in a process of its own.

python -m tests.live.clients.ezmsg_graph read NAME N OUT.npz     # an inlet: N samples
python -m tests.live.clients.ezmsg_graph send NAME IN.npz        # an outlet: in real time
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import ezmsg.core as ez
import numpy as np
import pylsl
from ezmsg.lsl.inlet import LSLInfo, LSLInletSettings, LSLInletUnit
from ezmsg.lsl.outlet import LSLOutletSettings, LSLOutletUnit
from ezmsg.util.messages.axisarray import AxisArray

from tools.examples.ezmsg_reader import CLOCK_SYNC


class FileSettings(ez.Settings):
    """Where samples lie, or go; how many of them."""

    path: Path
    n: int = 0


class SaveState(ez.State):
    """What has come."""

    messages: list[AxisArray]


class Save(ez.Unit):
    """Keeps messages until there are enough samples, writes them, and ends the graph."""

    SETTINGS = FileSettings
    STATE = SaveState
    INPUT = ez.InputStream(AxisArray)

    async def initialize(self) -> None:
        self.STATE.messages = []

    @ez.subscriber(INPUT)
    async def on_message(self, message: AxisArray) -> None:
        self.STATE.messages.append(message)
        rows = np.concatenate([m.data for m in self.STATE.messages])
        if len(rows) < self.SETTINGS.n:
            return
        times = [m.axes["time"].value(np.arange(len(m.data))) for m in self.STATE.messages]
        channels = message.axes["ch"].data
        np.savez(
            self.SETTINGS.path,
            rows=rows,
            stamps=np.concatenate(times),
            **{name: channels[name] for name in channels.dtype.names},
        )
        raise ez.NormalTermination


class Play(ez.Unit):
    """Sends what a file holds, eight samples at a time, with LSL's clock on the time axis."""

    SETTINGS = FileSettings
    OUTPUT = ez.OutputStream(AxisArray)

    @ez.publisher(OUTPUT)
    async def play(self) -> AsyncIterator[object]:
        held = np.load(self.SETTINGS.path)
        rows, labels, sfreq = held["rows"], held["labels"], float(held["sfreq"])
        channels = np.array(
            [(label, "uV") for label in labels], dtype=[("label", "U16"), ("unit", "U8")]
        )
        ch = AxisArray.CoordinateAxis(data=channels, dims=["ch"])
        start = pylsl.local_clock() + 0.2
        i = 0
        while True:
            part = np.take(rows, np.arange(i, i + 8), axis=0, mode="wrap")
            i += 8
            await asyncio.sleep(max(0.0, start + (i - 1) / sfreq - pylsl.local_clock()))
            time = AxisArray.TimeAxis(fs=sfreq, offset=start + (i - 8) / sfreq)
            axes = {"time": time, "ch": ch}
            yield self.OUTPUT, AxisArray(part, dims=["time", "ch"], axes=axes, key="amp")


def read(name: str, n: str, out: str) -> None:
    wanted = LSLInletSettings(
        info=LSLInfo(name=name, type="EEG"), use_lsl_clock=True, processing_flags=CLOCK_SYNC
    )
    inlet, save = LSLInletUnit(wanted), Save(FileSettings(path=Path(out), n=int(n)))
    ez.run(
        components={"INLET": inlet, "SAVE": save},
        connections=((inlet.OUTPUT_SIGNAL, save.INPUT),),
    )


def send(name: str, file: str) -> None:
    outlet = LSLOutletUnit(
        LSLOutletSettings(stream_name=name, stream_type="EEG", assume_lsl_clock=True)
    )
    play = Play(FileSettings(path=Path(file)))
    ez.run(
        components={"PLAY": play, "OUTLET": outlet},
        connections=((play.OUTPUT, outlet.INPUT_SIGNAL),),
    )


if __name__ == "__main__":
    {"read": read, "send": send}[sys.argv[1]](*sys.argv[2:])
