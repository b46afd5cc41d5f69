"""``emag-rt simulate``: a recording or a synthetic head as a live amplifier."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from emag_rt.array_types import FloatArray
from emag_rt.cli.completion import RECORDING
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import (
    DURATION_S,
    MARKER_FORMAT,
    RATE_HZ,
    SEED,
    FiniteFloat,
    Whole,
    headset_option,
    lsl_options,
)
from emag_rt.errors import SettingsError
from emag_rt.files import BUNDLE_ENDINGS

if TYPE_CHECKING:
    from emag_rt.streams.base import Sink
    from emag_rt.streams.lsl import LslSink, OutletSpec


@dataclass(frozen=True, eq=False)
class Signal:
    """What is played.

    Attributes
    ----------
    labels : tuple of str
        Channels of the whole signal.
    sfreq : float
        Rate in Hz.
    positions_mm : ndarray, shape (n_channels, 3), or None
        Positions about the centre of the sphere.
    origin_mm : tuple of float
        Centre of the sphere in MNE's head frame.
    title : str
        Name for people, also part of the source id.
    n_times : int or None
        Length in samples; None: no end.
    read : callable
        From (first sample, count) to samples, shape (count, n_channels), in microvolts; called
        with ascending, adjoining ranges.
    """

    labels: tuple[str, ...]
    sfreq: float
    positions_mm: FloatArray | None
    origin_mm: tuple[float, float, float]
    title: str
    n_times: int | None
    read: Callable[[int, int], FloatArray]
    events: tuple[tuple[float, str], ...] = ()


@click.command(
    cls=Manual,
    groups={
        "What is played": (
            "recording",
            "synthetic",
            "headset",
            "channels",
            "sfreq",
            "seed",
            "loop",
        ),
        "How": ("speed", "chunk", "duration", "wait", "markers", "marker_format"),
        "The stream": ("source_id", "name", "scope", "session_id"),
    },
    examples=(
        (
            "the LD channels of a recording, for a daemon to read",
            "emag-rt simulate --recording run3.edf --channels ld:s01.emag --source-id AMP-1234",
        ),
        (
            "64 channels of a synthetic head at 500 Hz, for a minute",
            "emag-rt simulate --synthetic --sfreq 500 --duration 60",
        ),
        (
            "over and over, on this machine alone",
            "emag-rt simulate --recording run3.edf --loop --scope machine",
        ),
    ),
    exits={
        0: "played to its end, or ended by a signal",
        **dict.fromkeys((1, 2, 3, 5, 9), ""),
        130: "a second Ctrl-C, which ends it at once",
    },
    surplus="--recording",
    see_also=("emag-rt serve", "docs/quick-start.md"),
)
@click.option("--recording", type=RECORDING, help="Play this file: XDF, or what MNE reads.")
@click.option("--synthetic", is_flag=True, help="Play a synthetic head (the default).")
@click.option(
    "--channels",
    default="hd",
    show_default=True,
    help="hd: all; a bundle (NAME.emag) or ld:BUNDLE: its LD channels; or labels, "
    "comma-separated: as many as the recording has name its channels in order, where it does not "
    "say.",
)
@headset_option
@click.option("--source-id", help="LSL source id (default: made of what is played).")
@click.option("--name", default="emag_rt-simulate", show_default=True, help="LSL stream name.")
@click.option("--loop", is_flag=True, help="Start a recording again at its end; stamps go on.")
@click.option(
    "--speed",
    type=FiniteFloat(0, 1000, min_open=True),
    metavar="X",
    default=1.0,
    show_default=True,
    help="Play X times as fast. Stamps stay 1/rate apart, so they run ahead of the clock.",
)
@click.option(
    "--chunk", type=Whole(1, 1_000_000), metavar="N", help="Samples in a chunk (default: 20 ms)."
)
@click.option(
    "--sfreq",
    type=RATE_HZ,
    metavar="HZ",
    help="Rate in Hz: of the synthetic head (250), or resampled.",
)
@click.option(
    "--seed",
    type=SEED,
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of the synthetic head.",
)
@click.option("--duration", type=DURATION_S, metavar="S", help="Stop after S seconds of signal.")
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Start with the first receiver, so that it hears the first sample.",
)
@click.option(
    "--markers",
    is_flag=True,
    help="Play its annotations too, as markers: stream NAME-markers, source id SOURCE:annotations.",
)
@click.option(
    "--marker-format",
    type=MARKER_FORMAT,
    default="text",
    show_default=True,
    help="Markers as text, or as int32 codes, which OpenViBE reads; the codes are printed.",
)
@lsl_options("How far the stream is seen.")
def simulate(
    recording: str | None,
    synthetic: bool,
    channels: str,
    headset: str | None,
    source_id: str | None,
    name: str,
    loop: bool,
    speed: float,
    chunk: int | None,
    sfreq: float | None,
    seed: int,
    duration: float | None,
    wait: bool,
    markers: bool,
    marker_format: str,
    scope: str | None,
    session_id: str | None,
) -> None:
    """Play a recording, or a synthetic head, as an LSL amplifier in real time.

    For trying things out with no amplifier at hand: the stream is of type EEG, in µV, with
    labels and positions, as an amplifier's would be.

    Each sample carries its own stamp, first sample + n / rate on the LSL clock, and leaves when
    the last sample of its chunk is due. SIGINT and SIGTERM end it with exit 0, a second SIGINT
    at once with 130.
    """
    from emag_rt.daemon.stopping import stop_signals

    if markers and not recording:
        raise SettingsError("--markers needs --recording: a synthetic head has no annotations.")
    if recording and synthetic:
        raise SettingsError(
            "--recording and --synthetic exclude each other, got both. Drop one of them."
        )
    if headset and not recording:
        raise SettingsError("--headset needs --recording: a synthetic head names its channels.")
    with stop_signals() as stop:
        from emag_rt.streams.lsl import LslSink, configure, local_clock
        from emag_rt.system import precise_timers

        precise_timers()

        configure(scope, session_id)  # type: ignore[arg-type]
        signal_ = (
            _recorded(recording, sfreq, headset, channels) if recording else _synthetic(sfreq, seed)
        )
        columns = _columns(channels, signal_)
        spec = _outlet(signal_, columns, name, source_id)
        n_total = _length(signal_, loop, duration)
        n_chunk = chunk or max(1, round(0.02 * signal_.sfreq))
        sink = LslSink(spec)
        out = _with_markers(sink, signal_, marker_format == "int32") if markers else sink
        click.echo(
            f"playing {signal_.title}: {len(columns)} channels at {signal_.sfreq:g} Hz as "
            f"{name!r}, source id {spec.source_id!r}"
            + (", waiting for the first receiver" if wait else "")
        )
        try:
            if not wait or _wait_for_receiver(sink, stop):
                n_sent = play(
                    signal_,
                    columns,
                    out,
                    n_total,
                    n_chunk,
                    speed,
                    local_clock,
                    lambda seconds: stop.wait(max(0.0, seconds)),
                )
                click.echo(f"played {n_sent} samples, {n_sent / signal_.sfreq:.1f} s")
        finally:
            out.close()


def _with_markers(sink: LslSink, source: Signal, as_codes: bool = False) -> Sink:
    from emag_rt.cli.played_markers import MarkedSink
    from emag_rt.streams.lsl import LslMarkerSink
    from emag_rt.streams.marker_codes import TextCodes

    # Not :markers, by which live recordings know, and leave out, what `serve` itself tells.
    name, source_id = f"{sink.spec.name}-markers", f"{sink.spec.source_id}:annotations"
    click.echo(f"with {len(source.events)} markers as {name!r}, source id {source_id!r}")
    codes = TextCodes(tuple(text for _, text in source.events)) if as_codes else None
    for word, code in codes.table.items() if codes else ():
        click.echo(f"marker {code}: {word}")
    markers = LslMarkerSink(name, source_id, codes)
    return MarkedSink(sink, markers, source.events, source.sfreq, source.n_times)


def play(
    source: Signal,
    columns: list[int],
    sink: Sink,
    n_total: int | None,
    n_chunk: int,
    speed: float,
    clock: Callable[[], float],
    wait: Callable[[float], bool],
) -> int:
    """Send chunks when they are due, by absolute deadlines: late chunks delay no others.

    Parameters
    ----------
    source : Signal
        What to play.
    columns : list of int
        Channels to send.
    sink : Sink
        Where to.
    n_total : int or None
        Samples to send; None: until told to stop.
    n_chunk : int
        Samples in a chunk.
    speed : float
        Times real time.
    clock : callable
        Time in seconds; stamps are on this clock.
    wait : callable
        Waits that many seconds; returns True when playing must stop.

    Returns
    -------
    int
        Samples sent.
    """
    import numpy as np

    start = clock()
    sent = 0
    while n_total is None or sent < n_total:
        n = n_chunk if n_total is None else min(n_chunk, n_total - sent)
        samples = source.read(sent, n)[:, columns].astype(np.float32)
        stamps = start + np.arange(sent, sent + n) / source.sfreq
        due = start + (sent + n - 1) / (source.sfreq * speed)
        if wait(due - clock()):
            break
        sink.push(samples, stamps)
        sent += n
    return sent


def _recorded(path: str, sfreq: float | None, headset: str | None, channels: str) -> Signal:
    import numpy as np

    from emag_rt.core.labels import canonical
    from emag_rt.montages.headsets import channel_names
    from emag_rt.recordings.read import read_recording

    names = channel_names(headset, None)
    recording = read_recording(path, sfreq=sfreq, need_positions=False, names=names)
    own, asked = (
        {canonical(label) for label in labels} for labels in (recording.labels, channels.split(","))
    )
    if names is None and len(own) == len(asked) and not own & asked:
        names = channel_names(None, channels)
        recording = read_recording(path, sfreq=sfreq, need_positions=False, names=names)
    data = recording.data_uv

    def read(first: int, count: int) -> FloatArray:
        return data[np.arange(first, first + count) % len(data)]

    x, y, z = (float(v) for v in recording.origin_mm)
    return Signal(
        recording.labels,
        recording.sfreq,
        recording.positions_mm,
        (x, y, z),
        recording.path.name,
        len(data),
        read,
        tuple((onset, text) for onset, _, text in recording.events),
    )


def _synthetic(sfreq: float | None, seed: int) -> Signal:
    from emag_rt.synthetic.head import SyntheticHead

    head = SyntheticHead(64, 250.0 if sfreq is None else sfreq, seed)
    x, y, z = (float(v) for v in head.origin_mm)
    return Signal(
        head.labels,
        head.sfreq,
        head.montage.positions_mm,
        (x, y, z),
        f"synthetic head {seed}",
        None,
        lambda _first, count: head.generate(count),
    )


def _columns(channels: str, source: Signal) -> list[int]:
    """Channels to play, in the order asked for."""
    from emag_rt.core.labels import match_labels, require_unique

    if channels == "hd":
        return list(range(len(source.labels)))
    if channels.startswith("ld:") or channels.endswith(BUNDLE_ENDINGS):
        from emag_rt.bundle import load_bundle

        bundle = load_bundle(channels.removeprefix("ld:"))
        wanted = [electrode.label for electrode in bundle.manifest.ld]
    else:
        wanted = [label.strip() for label in channels.split(",") if label.strip()]
    require_unique(wanted, "--channels")
    if not wanted:
        raise SettingsError(f"--channels must be hd, ld:BUNDLE or labels, got {channels!r}.")
    return match_labels(wanted, source.labels, source.title)


def _outlet(source: Signal, columns: list[int], name: str, source_id: str | None) -> OutletSpec:
    """The outlet; its default id is the same whenever the same is played under the same name."""
    from emag_rt.streams.lsl import OutletSpec

    labels = tuple(source.labels[i] for i in columns)
    if source_id is None:
        identity = "|".join([name, source.title, f"{source.sfreq:g}", *labels])
        source_id = f"emag_rt-simulate-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return OutletSpec(
        name=name,
        source_id=source_id,
        labels=labels,
        sfreq=source.sfreq,
        positions_mm=None if source.positions_mm is None else source.positions_mm[columns],
        origin_mm=source.origin_mm,
        model="simulate",
        vendor={"simulates": source.title},
    )


def _length(source: Signal, loop: bool, duration: float | None) -> int | None:
    """Samples to play; None for ever."""
    n_total = None if loop else source.n_times
    if duration is not None:
        n_wanted = round(duration * source.sfreq)
        n_total = n_wanted if n_total is None else min(n_total, n_wanted)
    return n_total


def _wait_for_receiver(sink: LslSink, stop: threading.Event) -> bool:
    """Whether somebody listens; False when told to stop before. Signals are served in between."""
    while not stop.is_set():
        if sink.wait_for_consumers(0.2):
            return True
    return False
