"""What runs on Windows as far as Linux can tell: in a process without the names that it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("emag_rt", "calibration")
    for path in (ROOT / package).rglob("*.py")
    if path.name not in ("__main__.py", "build_hook.py")
)

IMPORTS = """
import sys
from tests.like_windows import become_windows, import_all
import tests.factories  # and with it what is not ours
names = sys.argv[2:]
before = import_all(names)  # an extra that is not installed here is no fault of Windows
become_windows()
print(*(line for line in import_all(names) if line not in before), sep="\\n")
"""

WORK = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
import mne, psutil, pylsl, torch, scipy.stats, matplotlib.pyplot
import tests.factories, emag_rt.daemon.process, calibration.live.record_live
from tests.like_windows import become_windows
become_windows()
folder = Path(sys.argv[1])

from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.files import _own_folder
from tests.factories import LD, ld_signal, make_bundle
path = folder / "a.emag"
save_bundle(make_bundle(1), path)
(used, guard), (left, closed) = _own_folder(path), _own_folder(path)
os.close(closed)
save_bundle(make_bundle(1), path)
bundle = load_bundle(path)
kept = [file for file in folder.iterdir() if file.is_dir()]
assert kept == [used], kept
print("saved and loaded")

from emag_rt.daemon.loop import Server
from emag_rt.daemon.status.file import StatusFile
from emag_rt.daemon.stopping import stop_signals
from emag_rt.engine.upsampler import Upsampler
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import ManualClock, MemorySink, MemorySource, scripted_chunks
form = StreamFormat(name="LD", type="EEG", source_id="amp", sfreq=bundle.manifest.sfreq,
                    labels=LD, units=("microvolts",) * len(LD))
clock, sink = ManualClock(), MemorySink()
events = scripted_chunks(ld_signal(400).astype(np.float32), form.sfreq, 4)
source = MemorySource(form, events, clock)
upsampler = Upsampler(bundle, channels=LD, units=form.units)
with stop_signals() as stop, StatusFile(str(folder / "status.jsonl")) as status:
    server = Server(upsampler, source, sink, clock, on_status=status)
    server.serve(lambda: stop.is_set() or source.exhausted)
    status.finish(server.status())
    signal.raise_signal(signal.SIGTERM)
    assert stop.is_set()
assert len(sink.samples) == 400 and np.isfinite(sink.samples).all()
last = json.loads((folder / "status.jsonl").read_text(encoding="utf-8").splitlines()[-1])
assert last["summary"] and last["samples_out"] == 400
print("served")

from emag_rt.daemon.status.http import PageServer, text_page
with PageServer("127.0.0.1", 0, {"/": text_page(lambda: ("200 OK", "here"))}) as page:
    import urllib.request
    assert urllib.request.urlopen(page.url + "/").read() == b"here"
print("answered")

from calibration.live.session import Plan
from tests.calibration.live.stage import SFREQ, START_S, eeg, stage
live, said = stage(folder, scripted_chunks(eeg(20.0), SFREQ, 10, START_S), plan=Plan(15.0))
live.run()
assert len(mne.io.read_raw_fif(live.path, verbose="ERROR").times) == 1500
print("recorded")

from calibration.live.keys import read_keys
reading, writing = os.pipe()
sys.stdin = os.fdopen(reading)
os.write(writing, b"q")
with read_keys(needed=True) as keys:
    typed = ""
    while not typed:
        typed = keys()
assert typed == "q"
print("typed", flush=True)
os.close(writing)
"""


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1]


def test_every_module_is_imported_without_posix(tmp_path):
    assert run(IMPORTS, tmp_path, *MODULES) in ([], [""])


def test_saving_serving_and_recording_without_posix(tmp_path):
    done = run(WORK, tmp_path)
    assert done == ["saved and loaded", "served", "answered", "recorded", "typed"]


@pytest.mark.parametrize(
    "wrong",
    [
        "import signal; signal.SIGHUP",
        "import os; os.open(__file__, os.O_RDONLY | os.O_NONBLOCK)",
        "import os; os.fsync(os.open(sys.executable, os.O_RDONLY))",
        "import os; os.kill(os.getpid(), 0)",
        "import termios",
    ],
)
def test_what_windows_lacks_is_missed(wrong):
    code = "import sys\nfrom tests.like_windows import become_windows\nbecome_windows()\n" + wrong
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Error: " in done.stderr.splitlines()[-1]
