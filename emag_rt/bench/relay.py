"""Child process: the floor. Pulls LD samples, pads them to the HD channel count, pushes them.

It does nothing else, on the very source and sink that the daemon uses: what this costs, LSL and
Python cost on this machine now, and no daemon of this kind can be quicker. Memory is made once,
the unused channels stay zero, nothing is copied but the LD samples.
"""

from __future__ import annotations

import numpy as np

from emag_rt.bench.child import freeze, parser, save, say, settle
from emag_rt.streams.lsl import LslSink, LslSource, OutletSpec, StreamQuery, local_clock

_POLL_S = 0.2


def main() -> None:
    """Run as ``python -m emag_rt.bench.relay``."""
    options = parser(__doc__)
    options.add_argument("--source-id", required=True)
    options.add_argument("--name", required=True)
    options.add_argument("--channels", type=int, required=True)
    options.add_argument("--trace", help=".npz of the times of each chunk")
    options.add_argument("--seconds", type=float, default=0.0, help="for the memory of the trace")
    args = options.parse_args()
    stop = settle(args.session_id)
    source = LslSource.open(StreamQuery(source_id=args.source_id), 20.0)
    n_ld, sfreq = source.format.n_channels, source.format.sfreq
    labels = tuple(f"c{i}" for i in range(args.channels))
    sink = LslSink(OutletSpec(args.name, f"relay:{args.name}", labels, sfreq))
    out = np.zeros((max(64, int(np.ceil(sfreq))), args.channels), dtype=np.float32)
    n_rows = int(np.ceil(args.seconds * sfreq)) if args.trace else 0
    trace = np.zeros((n_rows, 3))
    pull, push, clock = source.pull, sink.push, local_clock
    freeze()
    say("ready")
    row = 0
    while not stop.asked:
        samples, stamps = pull(_POLL_S)
        n = len(stamps)
        if not n:
            continue
        pulled = clock() if row < n_rows else 0.0
        out[:n, :n_ld] = samples
        push(out[:n], stamps)
        if row < n_rows:
            trace[row] = stamps[-1], pulled, clock()
            row += 1
    if args.trace:
        save(args.trace, stamp=trace[:row, 0], pulled=trace[:row, 1], pushed=trace[:row, 2])
    source.close()
    sink.close()


if __name__ == "__main__":
    main()
