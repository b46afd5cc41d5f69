"""Child process: an amplifier that keeps its own time.

Sample n carries the stamp ``start + n / sfreq`` and chunk c leaves when its last sample is due,
by absolute deadlines: a late chunk delays no other. The loop sleeps, it never spins. The true
time of each departure, on the LSL clock just before the push, is kept in memory and written at
the end, so that the amplifier's own lateness can be taken out of the figures.
"""

from __future__ import annotations

import time

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bench.child import Stop, freeze, parser, save, say, settle
from emag_rt.streams.lsl import LslSink, OutletSpec, local_clock


def run(
    sink: LslSink,
    signal_uv: Float32Array,
    sfreq: float,
    chunk: int,
    n_chunks: int,
    stop: Stop,
    log: FloatArray | None,
) -> tuple[float, int]:
    """Send chunks until ``n_chunks`` are sent or told to stop.

    Parameters
    ----------
    sink : LslSink
        Where to.
    signal_uv : ndarray, shape (n_rows, n_channels), float32
        Played over and over; ``n_rows`` is a multiple of ``chunk``.
    sfreq : float
        Rate in Hz.
    chunk : int
        Samples in a chunk.
    n_chunks : int
        Chunks to send.
    stop : Stop
        Asked before each chunk.
    log : ndarray, shape (n_chunks,), or None
        Filled with departure times.

    Returns
    -------
    start : float
        Stamp of sample 0.
    n_sent : int
        Chunks sent.
    """
    parts = [signal_uv[i : i + chunk] for i in range(0, len(signal_uv), chunk)]
    n_parts = len(parts)
    period, last = chunk / sfreq, (chunk - 1) / sfreq
    offsets = np.arange(chunk) / sfreq
    stamps = np.empty(chunk)
    clock, sleep, push = local_clock, time.sleep, sink.push
    start = clock() + 0.05
    sent = 0
    while sent < n_chunks and not stop.asked:
        first = start + sent * period
        np.add(offsets, first, out=stamps)
        wait = first + last - clock()
        if wait > 0:
            sleep(wait)
        if log is not None:
            log[sent] = clock()
        push(parts[sent % n_parts], stamps)
        sent += 1
    return start, sent


def main() -> None:
    """Run as ``python -m emag_rt.bench.amplifier``."""
    options = parser(__doc__)
    options.add_argument("--signal", required=True, help=".npz with signal_uv, labels, sfreq")
    options.add_argument("--source-id", required=True)
    options.add_argument("--chunk", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--log", help=".npz of departure times")
    args = options.parse_args()
    stop = settle(args.session_id)
    with np.load(args.signal, allow_pickle=False) as content:
        signal_uv = np.ascontiguousarray(content["signal_uv"], dtype=np.float32)
        labels = tuple(str(label) for label in content["labels"])
        sfreq = float(content["sfreq"])
    signal_uv = signal_uv[: len(signal_uv) - len(signal_uv) % args.chunk]
    n_chunks = int(np.ceil(args.seconds * sfreq / args.chunk))
    log = np.zeros(n_chunks) if args.log else None
    sink = LslSink(OutletSpec(args.source_id, args.source_id, labels, sfreq, model="bench"))
    freeze()
    say("playing")
    start, sent = run(sink, signal_uv, sfreq, args.chunk, n_chunks, stop, log)
    if log is not None:
        save(
            args.log,
            sent=log[:sent],
            start=np.array(start),
            sfreq=np.array(sfreq),
            chunk=np.array(args.chunk),
        )
    sink.close()


if __name__ == "__main__":
    main()
