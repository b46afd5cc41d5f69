"""Child process: the receiver, the same for daemon and relay.

It keeps stamp, receipt time and first channel of every sample until it has seen a set length of
signal, judged by the stamps, or that length and a few seconds have passed. With ``--interval`` it
keeps nothing but says, once an interval, how the latencies were.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from emag_rt.bench.accounting import Losses, account, percentiles
from emag_rt.bench.child import Stop, freeze, parser, save, say, settle
from emag_rt.streams.lsl import LslSource, StreamQuery, local_clock

_POLL_S = 0.2
GRACE_S = 4.0
"""Samples that have not come this long after the end are lost."""


class Recorder:
    """Stamps and receipt times in memory made once.

    Parameters
    ----------
    source : LslSource
        The HD stream.
    capacity : int
        Samples to make room for.
    """

    def __init__(self, source: LslSource, capacity: int) -> None:
        self._pull = source.pull
        self.stamps = np.zeros(capacity)
        self.receipts = np.zeros(capacity)
        self.first_channel = np.zeros(capacity, dtype=np.float32)
        self.count = 0

    def take(self) -> bool:
        """Pull once; returns whether anything came and there is still room."""
        samples, stamps = self._pull(_POLL_S)
        now = local_clock()
        n = min(len(stamps), len(self.stamps) - self.count)
        stop = self.count + n
        self.stamps[self.count : stop] = stamps[:n]
        self.receipts[self.count : stop] = now
        self.first_channel[self.count : stop] = samples[:n, 0]
        self.count = stop
        return n > 0


def record(recorder: Recorder, seconds: float, sfreq: float, stop: Stop) -> None:
    """Record ``seconds`` of signal from the first sample on."""
    while not recorder.count and not stop.asked:
        recorder.take()
    say(f"first {time.monotonic():.6f}")
    end_stamp = recorder.stamps[0] + seconds - 0.5 / sfreq
    end = recorder.receipts[0] + seconds + GRACE_S
    while not stop.asked and recorder.count < len(recorder.stamps):
        recorder.take()
        newest = recorder.stamps[recorder.count - 1] if recorder.count else 0.0
        if newest >= end_stamp or local_clock() > end:
            return


def watch(
    recorder: Recorder,
    interval_s: float,
    sfreq: float,
    stop: Stop,
    tell: Callable[[str], None] = say,
) -> None:
    """Say how each interval was, for as long as it goes."""
    while not recorder.count and not stop.asked:
        recorder.take()
    tell(f"first {time.monotonic():.6f}")
    origin = float(recorder.stamps[0])
    due = local_clock() + interval_s
    expected = 0
    while not stop.asked:
        recorder.take()
        now = local_clock()
        if now < due and recorder.count < len(recorder.stamps):
            continue
        due += interval_s
        stamps, receipts = recorder.stamps[: recorder.count], recorder.receipts[: recorder.count]
        empty = np.isnan(recorder.first_channel[: recorder.count])
        lost = Losses()
        if len(stamps):
            lost = account(stamps, origin, sfreq, first=expected, empty=empty)
        if len(stamps):
            expected = max(expected, round((float(stamps.max()) - origin) * sfreq) + 1)
        figures = {"latency_ms": percentiles((receipts - stamps) * 1e3), **lost.as_dict()}
        tell(json.dumps(figures))
        recorder.count = 0


def main() -> None:
    """Run as ``python -m emag_rt.bench.consumer``."""
    options = parser(__doc__)
    options.add_argument("--name", required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--out", help=".npz of stamps and receipt times")
    options.add_argument("--interval", type=float, help="say how it goes every S seconds instead")
    options.add_argument("--timeout", type=float, default=60.0)
    args = options.parse_args()
    stop = settle(args.session_id)
    say("looking")
    source = LslSource.open(StreamQuery(name=args.name), args.timeout, stop=lambda: stop.asked)
    sfreq = source.format.sfreq
    length = args.interval * 1.5 if args.interval else args.seconds + GRACE_S
    recorder = Recorder(source, int(np.ceil(length * sfreq)) + 1024)
    freeze()
    if args.interval:
        watch(recorder, args.interval, sfreq, stop)
    else:
        record(recorder, args.seconds, sfreq, stop)
        n = recorder.count
        empty = np.isnan(recorder.first_channel[:n])
        save(args.out, stamps=recorder.stamps[:n], receipts=recorder.receipts[:n], empty=empty)
        say("done")
    source.close()


if __name__ == "__main__":
    main()
