"""The demonstration that stays up: an amplifier to spoil, the daemon, the dashboard."""

from __future__ import annotations

import contextlib
import re
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from calibration.demo.amplifier import DemoAmplifier
from calibration.demo.play_and_serve import SFREQ, Tell, prepare, process, wait_for
from emag_rt.bundle import load_bundle
from emag_rt.dashboard.launch import require_extra
from emag_rt.errors import StreamError
from emag_rt.recordings.read import read_recording
from emag_rt.system import typed_keys

SOURCE_ID = "demo-live"
_PLAYED_S = 60.0
_WRONG = 1e-3
HELP = """keys: e  pull an electrode, and put it back
      k  switch the amplifier off, and on again
      u  send millivolts that are called microvolts, and right ones again
      q  end (or Ctrl-C)"""


def run_live(out: Path, seed: int, browser: bool, tell: Tell) -> None:
    """Play, serve and show a simulated subject until somebody ends it.

    Parameters
    ----------
    out : Path
        Folder for recordings, bundle and logs; made if missing.
    seed : int
        Of the simulated subject.
    browser : bool
        Open the dashboard.
    tell : callable
        Called with what is being done, and with what a key does.

    Raises
    ------
    EmagError
        If a part fails; its log lies in ``out``.
    """
    require_extra()
    environment, _ = prepare(out, _PLAYED_S, seed, tell)
    amplifier = _amplifier(out)
    serve = ["serve", "demo.emag", "--source-id", SOURCE_ID, "--name", "emag_rt demo", "--quiet"]
    serve += ["--mismatch", "warn", "--dashboard", "--dashboard-port", "0"]
    with contextlib.ExitStack() as stack:
        stack.callback(amplifier.stop)
        amplifier.start()
        daemon = stack.enter_context(process(serve, out, environment, "serve.log"))
        wait_for(daemon, out / "serve.log", "ready")
        wait_for(daemon, out / "serve.log", "dashboard: http")
        said = re.search(r"dashboard: (http\S+)", (out / "serve.log").read_text(encoding="utf-8"))
        assert said is not None
        tell(f"dashboard: {said[1]}")
        if browser and not webbrowser.open(said[1]):
            tell("no browser could be started: open the address yourself")
        tell("watch the head: 16 electrodes are worn, 48 channels are rendered from them")
        print(HELP, flush=True)
        for key in _keys(lambda: daemon.poll() is None):
            if key in "qQ":
                return
            _obey(key, amplifier, tell)
    raise StreamError(f"the daemon has ended by itself: see {out / 'serve.log'}")


def _amplifier(out: Path) -> DemoAmplifier:
    manifest = load_bundle(out / "demo.emag").manifest
    played = read_recording(out / "play_raw.fif")
    columns = [played.labels.index(e.label) for e in manifest.ld]
    x, y, z = (float(v) for v in played.origin_mm)
    signal = played.data_uv[:, columns].astype(np.float32)
    return DemoAmplifier(signal, manifest.ld_montage, (x, y, z), SFREQ, SOURCE_ID)


def _obey(key: str, amplifier: DemoAmplifier, tell: Tell) -> None:
    if key == "e":
        amplifier.loose = 0 if amplifier.loose is None else None
        tell(
            "an electrode is off: within seconds it turns red, and is filled from the others"
            if amplifier.loose is not None
            else "the electrode is back: it must be good for a while before it is believed"
        )
    elif key == "k":
        (amplifier.stop if amplifier.playing else amplifier.start)()
        tell(
            "the amplifier is on again: the same HD stream goes on"
            if amplifier.playing
            else "the amplifier is off: the HD stream stays, and says that its source is silent"
        )
    elif key == "u":
        amplifier.factor = _WRONG if amplifier.factor == 1.0 else 1.0
        amplifier.stop()  # amplitudes are judged when a source comes
        amplifier.start()
        tell(
            "it came back with millivolts: the amplitudes cannot be what it declares"
            if amplifier.factor != 1.0
            else "it came back with microvolts"
        )


def _keys(goes_on: Callable[[], bool]) -> Iterator[str]:
    """Keys, one by one, while the daemon runs; where nobody can type, none."""
    terminal = sys.stdin is not None and sys.stdin.isatty()
    with typed_keys(0, terminal) as came:
        open_ = sys.stdin is not None  # closed it is None, and nobody types
        while goes_on():
            data = came() if open_ else b""
            open_ = data is not None
            yield from (data or b"").decode("utf-8", "replace")
            time.sleep(0.05)
