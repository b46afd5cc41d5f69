"""Receivers for chaos.py: ``record`` keeps all rows and events, ``read N`` holds N inlets open.

    python tools/chaos_consumer.py record NAME FILE SESSION
    python tools/chaos_consumer.py read NAME N SESSION

``record`` writes FILE (.npz: stamps, lost, events) when told to end by SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np

from emag_rt.streams.lsl import LslSource, StreamQuery, configure, find_stream


def record(name: str, path: str) -> None:
    """Keep every row's stamp, and whether it is NaN."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    found = find_stream(StreamQuery(name=name), 20.0)
    source = LslSource(found, max_buffer_s=300)
    stamps, lost = [], []
    print("reading", flush=True)
    quiet = 0
    while quiet < 3:
        rows, times = source.pull(0.2)
        stamps.append(times.copy())
        lost.append(np.isnan(rows).all(axis=1))
        quiet = quiet + 1 if stop.is_set() and not len(times) else 0
    np.savez(path, stamps=np.concatenate(stamps), lost=np.concatenate(lost))


def read(name: str, n: int) -> None:
    """Hold inlets open, and read them in turn."""
    found = find_stream(StreamQuery(name=name), 20.0)
    sources = [LslSource(found) for _ in range(n)]
    print("reading", flush=True)
    while True:
        for source in sources:
            source.pull(0.1)


if __name__ == "__main__":
    configure("machine", sys.argv[4])
    if sys.argv[1] == "record":
        record(sys.argv[2], sys.argv[3])
    else:
        read(sys.argv[2], int(sys.argv[3]))
