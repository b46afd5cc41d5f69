"""Stream a BrainFlow board to LSL, as a source for ``emag-rt serve``.

    pip install brainflow 'setuptools<81'
    python tools/examples/brainflow_source.py                   # BrainFlow's synthetic board
    python tools/examples/brainflow_source.py --board-id 0 --serial-port PORT --labels Fz,C3,...
    emag-rt serve s01.emag --source-id brainflow--1

BrainFlow gives EEG in microvolts. Its names of channels are those of the maker's usual cap: say
with --labels where the electrodes really are. Packets come in bursts, so samples are stamped
evenly, following the board's own stamps slowly. Half a second or more without samples leaves a gap
in the stamps; after the loss of a few packets the stamps go on evenly, too early by
what was lost, less and less within a minute.
"""

from __future__ import annotations

import threading
import time

import click
import numpy as np
from brainflow.board_shim import BoardIds, BoardShim, BrainFlowError, BrainFlowInputParams

from emag_rt.array_types import FloatArray
from emag_rt.cli.options import DURATION_S, lsl_options
from emag_rt.daemon.stopping import stop_signals
from emag_rt.errors import EmagError, SettingsError
from emag_rt.streams.lsl import LslSink, OutletSpec, configure, local_clock

POLL_S = 0.01
FOLLOW_S = 30.0
LOST_S = 0.5


class EvenStamps:
    """Stamps a period apart that follow the board's.

    Parameters
    ----------
    sfreq : float
        Rate in Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._period = 1.0 / sfreq
        self._next: float | None = None
        self.gaps = 0

    def __call__(self, arrived: FloatArray) -> FloatArray:
        """Stamps for samples that arrived at these times (s, LSL clock); after a loss, a gap."""
        stamps = np.empty(len(arrived))
        for i, at in enumerate(arrived):
            if self._next is None:
                self._next = at
            off = at - self._next
            if abs(off) > LOST_S:
                self.gaps += 1
                self._next, off = at, 0.0
            stamps[i] = self._next
            self._next += self._period * (1.0 + off / FOLLOW_S)
        return stamps


def open_board(board_id: int, serial_port: str, file: str, master: int | None) -> BoardShim:
    """Start a board, or the playback of a file that BrainFlow wrote."""
    params = BrainFlowInputParams()
    params.serial_port, params.file = serial_port, file
    if file:
        board_id, params.master_board = BoardIds.PLAYBACK_FILE_BOARD.value, board_id
    if master is not None:
        params.master_board = master
    BoardShim.disable_board_logger()
    board = BoardShim(board_id, params)
    board.prepare_session()
    try:
        board.start_stream()
    except BrainFlowError:
        board.release_session()
        raise
    return board


def outlet(board_id: int, labels: str | None) -> OutletSpec:
    """The LSL stream of a board's EEG channels."""
    rows = BoardShim.get_eeg_channels(board_id)
    names = [n.strip() for n in labels.split(",")] if labels else BoardShim.get_eeg_names(board_id)
    if len(names) != len(rows):
        raise SettingsError(
            f"--labels must name each of the board's {len(rows)} EEG channels, got {len(names)}."
        )
    return OutletSpec(
        name=f"BrainFlow {BoardShim.get_device_name(board_id)}",
        source_id=f"brainflow-{board_id}",
        labels=tuple(names),
        sfreq=float(BoardShim.get_sampling_rate(board_id)),
        units="microvolts",
        model=BoardShim.get_device_name(board_id),
        manufacturer="BrainFlow",
    )


def stream(
    board: BoardShim, spec: OutletSpec, kind: int, stop: threading.Event, duration_s: float
) -> None:
    """Send what the board gives until told to stop, or for a while."""
    sink, stamps = LslSink(spec), EvenStamps(spec.sfreq)
    rows, times = BoardShim.get_eeg_channels(kind), BoardShim.get_timestamp_channel(kind)
    to_lsl = local_clock() - time.time()  # BrainFlow stamps by the system's clock
    click.echo(f"streaming {spec.name!r}, source id {spec.source_id!r}: {spec.labels}")
    end, sent = local_clock() + duration_s, 0
    try:
        while not stop.wait(POLL_S) and local_clock() < end:
            data = board.get_board_data()
            sink.push(data[rows].T.astype(np.float32), stamps(data[times] + to_lsl))
            sent += data.shape[1]
    finally:
        sink.close()
    click.echo(f"sent {sent} samples, {stamps.gaps} gaps")


@click.command()
@click.option("--board-id", default=-1, show_default=True, help="BrainFlow's id; -1: synthetic.")
@click.option("--serial-port", default="", help="For boards with a dongle.")
@click.option("--file", default="", help="Play a file that BrainFlow wrote from this board.")
@click.option("--master", type=int, help="Master board of a streaming board.")
@click.option("--labels", help="Where the electrodes are, comma-separated.")
@click.option("--duration", type=DURATION_S, help="Seconds (default: until Ctrl-C).")
@lsl_options("How far the stream is seen.")
def main(
    board_id: int,
    serial_port: str,
    file: str,
    master: int | None,
    labels: str | None,
    duration: float | None,
    scope: str | None,
    session_id: str | None,
) -> None:
    """Stream the EEG of a BrainFlow board to LSL."""
    try:
        with stop_signals() as stop:
            configure(scope, session_id)  # type: ignore[arg-type]
            kind = board_id if master is None else master
            spec = outlet(kind, labels)
            board = open_board(board_id, serial_port, file, master)
            try:
                stream(board, spec, kind, stop, duration or float("inf"))
            finally:  # a board that is not let go of answers nobody
                board.release_session()
    except ModuleNotFoundError as error:  # BrainFlow 5.23 under Python 3.11: pkg_resources
        raise click.ClickException(
            f"BrainFlow needs {error.name}: pip install 'setuptools<81'"
        ) from error
    except BrainFlowError as error:
        raise click.ClickException(f"BrainFlow: {error}") from error
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
