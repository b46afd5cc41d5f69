"""Read the rendered HD stream in an ezmsg pipeline.

    pip install ezmsg-lsl
    python tools/examples/ezmsg_reader.py --name s01-HD --seconds 5

Prints what arrives once a second. Put your own units in the place of ``Report``: messages are
AxisArrays (time, ch) with the channel labels, in µV, with LSL's stamps on the time axis.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import click
import ezmsg.core as ez
import numpy as np
from ezmsg.lsl.inlet import LSLInfo, LSLInletSettings, LSLInletUnit
from ezmsg.util.messages.axisarray import AxisArray

CLOCK_SYNC = 1  # LSL's proc_clocksync alone: dejittering would bend the amplifier's own stamps


class ReportSettings(ez.Settings):
    """When to stop."""

    seconds: float


class ReportState(ez.State):
    """What was heard."""

    n: int = 0
    told: int = 0


class Report(ez.Unit):
    """Counts samples; ends the pipeline after a while."""

    SETTINGS = ReportSettings
    STATE = ReportState
    INPUT = ez.InputStream(AxisArray)
    OUTPUT = ez.OutputStream(AxisArray)

    @ez.subscriber(INPUT)
    @ez.publisher(OUTPUT)
    async def on_message(self, message: AxisArray) -> AsyncIterator[object]:
        """Take one chunk, and hand it on."""
        time, channels = message.axes["time"], message.axes["ch"]
        sfreq = 1.0 / time.gain
        self.STATE.n += message.data.shape[0]
        if self.STATE.n >= (self.STATE.told + 1) * sfreq:
            self.STATE.told += 1
            labels = [str(label) for label in np.asarray(channels.data["label"])]
            click.echo(
                f"{self.STATE.n} samples of {len(labels)} channels ({', '.join(labels[:4])}, ...) "
                f"at {sfreq:g} Hz, stamp {time.offset:.4f}, {np.nanstd(message.data):.1f} µV"
            )
        yield self.OUTPUT, message
        if self.STATE.n >= self.SETTINGS.seconds * sfreq:
            raise ez.NormalTermination


@click.command()
@click.option("--name", required=True, help="Name of the daemon's outlet.")
@click.option("--seconds", default=5.0, show_default=True, help="Stop after this much signal.")
def main(name: str, seconds: float) -> None:
    """Read an HD outlet with ezmsg-lsl."""
    inlet = LSLInletUnit(
        LSLInletSettings(
            info=LSLInfo(name=name, type="EEG"), use_lsl_clock=True, processing_flags=CLOCK_SYNC
        )
    )
    report = Report(ReportSettings(seconds=seconds))
    ez.run(
        components={"INLET": inlet, "REPORT": report},
        connections=((inlet.OUTPUT_SIGNAL, report.INPUT),),
    )


if __name__ == "__main__":
    main()
