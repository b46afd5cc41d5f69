"""Reads ramps of amplifier.py over a network, for SECONDS; run by the tests as a process.

Usage: network_reader.py SOURCE_ID SECONDS. Prints `open`, then one JSON line a second: number and
stamp of the newest sample, how many came, how many out of order or at an odd step of the stamps.
"""

import json
import sys
import time

from emag_rt.streams.lsl import LslSource, StreamQuery, local_clock

source = LslSource.open(StreamQuery(source_id=sys.argv[1]), 60.0)
print(f"open {source.clock_correction_s!r} {source.same_clock}", flush=True)
end = time.monotonic() + float(sys.argv[2])
next_line, last, disorder, n, steps = time.monotonic() + 1.0, None, 0, 0, 0
before = None
while time.monotonic() < end:
    rows, stamps = source.pull(0.2)
    for value, stamp in zip(rows[:, 0].tolist(), stamps.tolist(), strict=True):
        disorder += last is not None and value != last + 1
        steps += before is not None and not 0.0 < stamp - before < 0.0075
        last, before = value, stamp
    n += len(stamps)
    if time.monotonic() > next_line and last is not None:
        next_line += 1.0
        line = {"value": last, "stamp": before, "disorder": disorder, "n": n, "steps": steps}
        print(json.dumps({**line, "age": local_clock() - before}), flush=True)
