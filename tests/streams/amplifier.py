"""A plain pylsl amplifier, as somebody else would write it. Run by the tests as a process.

Usage: amplifier.py NAME SOURCE_ID LABELS SFREQ FORMAT N_SAMPLES [UNIT [nowait] [noise]].
Sample i is (i, i + 1000, ...), or, with `noise`, something that may be EEG; its stamp is
start + i / SFREQ; `start` is printed with all its digits.
"""

import random
import sys
import time

import pylsl

name, source_id, labels, sfreq, fmt, n_samples = sys.argv[1:7]
unit, waits = (*sys.argv[7:], "microvolts")[0], "nowait" not in sys.argv
noise = random.Random(0) if "noise" in sys.argv else None
names = labels.split(",")
rate = float(sfreq)
info = pylsl.StreamInfo(name, "EEG", len(names), rate, fmt, source_id)
channels = info.desc().append_child("channels")
for label in names:
    channel = channels.append_child("channel")
    channel.append_child_value("label", label)
    channel.append_child_value("unit", unit)
info.desc().append_child("reference").append_child_value("label", "CMS")
info.desc().append_child("acquisition").append_child_value("compensated_lag", "0.004")
outlet = pylsl.StreamOutlet(info)
print("up", flush=True)
if waits:
    outlet.wait_for_consumers(60)
start = pylsl.local_clock()
print(f"start {start!r}", flush=True)
i, step = 0, max(1, int(rate / 50))
while i < int(n_samples):
    count = min(step, int(n_samples) - i)
    chunk = [[k + 1000 * c for c in range(len(names))] for k in range(i, i + count)]
    if noise is not None:
        chunk = [[round(noise.gauss(0.0, 30.0)) for _ in names] for _ in chunk]
    outlet.push_chunk(chunk, [start + k / rate for k in range(i, i + count)])
    i += count
    time.sleep(max(0.0, start + i / rate - pylsl.local_clock()))
print("done", flush=True)
time.sleep(60)
