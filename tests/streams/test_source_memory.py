"""Hours of reading: what liblsl keeps for a source is not to grow."""

import ctypes
from pathlib import Path

import pytest

pytestmark = pytest.mark.lsl
AMPLIFIER = Path(__file__).with_name("amplifier.py")
# The clock is measured every 0.3 s instead of every second, by probes 10 ms apart.
READER = """
import ctypes, os, sys, time
from pathlib import Path

config, changed = Path(os.environ["LSLAPICFG"]), Path(sys.argv[2])
text = config.read_text()
assert "TimeUpdateInterval=1.0" in text
often = "TimeUpdateInterval=0.3\\nTimeProbeInterval=0.01"
changed.write_text(text.replace("TimeUpdateInterval=1.0", often))
os.environ["LSLAPICFG"] = str(changed)

import pylsl
from emag_rt.streams.lsl import LslSource, StreamQuery

class Used(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Used

def grown(pull, seconds=4.0):
    start = [pull() for _ in range(20)] and libc.mallinfo2().uordblks
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pull()
    return libc.mallinfo2().uordblks - start

source = LslSource.open(StreamQuery(source_id=sys.argv[1]), 20.0)
assert source.same_clock
print("grown", grown(lambda: source.pull(0.2)), flush=True)
source.close()
# What pylsl alone does when it is asked for the clock, so that the figure above means something.
inlet = pylsl.StreamInlet(pylsl.resolve_byprop("source_id", sys.argv[1], timeout=20)[0])
inlet.open_stream(20)
inlet.time_correction(20)
inlet.pull_sample(5.0)
print("asked", grown(lambda: inlet.pull_sample(0.2)), flush=True)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_a_source_on_this_host_costs_no_memory_in_the_long_run(spawn, unique_id, tmp_path):
    amplifier = spawn(AMPLIFIER, "amp", unique_id, "A,B", 200, "float32", 10**6)
    amplifier.wait_for("up")
    reader = spawn("-c", READER, unique_id, tmp_path / "lsl.cfg")
    grown = int(reader.wait_for("grown", 60).split()[1])
    asked = int(reader.wait_for("asked", 60).split()[1])
    assert abs(grown) < 1000, "bytes in 4 s"
    assert asked > 5 * abs(grown)
