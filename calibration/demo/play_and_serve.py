"""The demonstration: a simulated subject calibrated, played, served and read back, live."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.scores import nmse
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import OutputError, StreamError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from emag_rt.streams.lsl import LslSource, StreamQuery, configure, local_clock
from emag_rt.synthetic.head import SyntheticHead
from emag_rt.system import ask_to_end, endable

Tell = Callable[[str], None]
SFREQ = 250.0
N_LD = 16
_START_S = 90.0


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What was measured.

    Attributes
    ----------
    bundle : Bundle
        The simulated subject's.
    truth, rendered, ld : ndarray
        HD truth and HD read back (n_times, n_hd), and LD (n_times, n_ld), in µV after the front
        end, relative to the LD mean.
    unseen : ndarray of int
        HD channels that are not LD.
    nmse_field, nmse_spline : float
        On unseen channels, live.
    latency_ms : ndarray, shape (n_times,)
        Receipt minus capture stamp of each sample, in ms.
    ready_s : float
        From the start of the daemon's process until it was ready.
    """

    bundle: Bundle
    truth: FloatArray
    rendered: FloatArray
    ld: FloatArray
    unseen: IndexArray
    nmse_field: float
    nmse_spline: float
    latency_ms: FloatArray
    ready_s: float


def run_demo(out: Path, seconds: float, seed: int, tell: Tell) -> DemoResult:
    """Run the whole path.

    Parameters
    ----------
    out : Path
        Folder for recordings, bundle and logs; made if missing.
    seconds : float
        Seconds to read back.
    seed : int
        Of the simulated subject.
    tell : callable
        Called with what is being done.

    Returns
    -------
    DemoResult
        Accuracy and latency.

    Raises
    ------
    EmagError
        If a part fails; its log lies in ``out``.
    """
    environment, session_id = prepare(out, seconds, seed, tell)
    bundle = load_bundle(out / "demo.emag")
    source_id = f"demo-{session_id}"
    play = ["simulate", "--recording", "play_raw.fif", "--channels", "ld:demo.emag"]
    serve = ["serve", "demo.emag", "--source-id", source_id, "--name", "emag_rt demo", "--quiet"]
    tell("playing the LD channels in one process, serving in another, reading back in this one")
    with contextlib.ExitStack() as stack:
        player = stack.enter_context(
            process([*play, "--source-id", source_id], out, environment, "simulate.log")
        )
        wait_for(player, out / "simulate.log", "playing")
        started = time.monotonic()
        daemon = stack.enter_context(process(serve, out, environment, "serve.log"))
        wait_for(daemon, out / "serve.log", "ready")
        ready_s = time.monotonic() - started
        hd, latency = _read_back(seconds)
    return _compare(out, bundle, hd, latency, ready_s)


def prepare(out: Path, seconds: float, seed: int, tell: Tell) -> tuple[dict[str, str], str]:
    """Simulate and calibrate the subject, and choose an LSL session of our own.

    Parameters
    ----------
    out, seconds, seed, tell
        As for :func:`run_demo`; ``seconds`` of signal can be played.

    Returns
    -------
    environment : dict of str to str
        For child processes.
    session_id : str
        The LSL session.

    Raises
    ------
    EmagError
        If a part fails; its log lies in ``out``.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be made: {error.strerror}.") from error
    tell("simulating a subject: 2 minutes to calibrate on, then what will be played")
    _write_recordings(out, seconds, seed)
    # An LSL session of our own: streams of the lab are not seen, and do not see us.
    session_id = f"emag-rt-demo-{uuid.uuid4().hex[:8]}"
    configure("machine", session_id)
    environment = {**os.environ, "EMAG_RT_LSL_SCOPE": "machine", "EMAG_RT_SESSION_ID": session_id}
    tell(f"calibrating: {N_LD} of 64 channels (10 s; minutes on a busy computer)")
    calibrate = ["calibrate", "calibration_raw.fif", "--ld", str(N_LD), "--out", "demo.emag"]
    calibrate += ["--no-report"]  # the demonstration measures, and shows its own picture
    _run(
        [*calibrate, "--seed", str(seed), "--no-refine", "--quiet"],
        out,
        environment,
        "calibrate.log",
    )
    return environment, session_id


def _write_recordings(out: Path, seconds: float, seed: int) -> None:
    head = SyntheticHead(64, SFREQ, seed)
    for name, duration_s in (("calibration", 120.0), ("play", seconds + 40.0)):
        write_raw(
            out / f"{name}_raw.fif",
            head.generate(round(duration_s * SFREQ)),
            head.labels,
            SFREQ,
            head.montage.positions_mm,
            origin_mm=head.origin_mm,
            description="simulated subject",
        )


def _run(arguments: list[str], out: Path, environment: dict[str, str], log: str) -> None:
    with process(arguments, out, environment, log) as child:
        if child.wait() != 0:
            raise StreamError(f"emag-rt {arguments[0]} failed: {_tail(out / log)}")


@contextlib.contextmanager
def process(
    arguments: list[str], out: Path, environment: dict[str, str], log: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a subcommand in a process of its own, ended with the block."""
    command = [sys.executable, "-u", "-m", "emag_rt", *arguments]
    with (out / log).open("wb") as file:
        child = subprocess.Popen(  # noqa: S603 - our own command
            command,
            cwd=out,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            **endable(),
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                ask_to_end(child)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for(child: subprocess.Popen[bytes], log: Path, word: str) -> None:
    """Wait until a process has said a word; its log goes into the error when it does not."""
    deadline = time.monotonic() + _START_S
    while word not in _said(log):
        if child.poll() is not None or time.monotonic() > deadline:
            raise StreamError(f"{log.stem} did not start: {_tail(log)}")
        time.sleep(0.01)


def _tail(log: Path) -> str:
    return " / ".join(_said(log).splitlines()[-4:]) or "no output"


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _read_back(seconds: float) -> tuple[FloatArray, FloatArray]:
    """Rows and latencies (ms) of the HD stream."""
    source = LslSource.open(StreamQuery(name="emag_rt demo"), 10.0)
    rows, latencies = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples, times = source.pull(0.2)
        received = local_clock()
        rows.append(samples.copy())
        latencies.append((received - times) * 1e3)
    source.close()
    return np.concatenate(rows), np.concatenate(latencies)


def _compare(
    out: Path,
    bundle: Bundle,
    hd: FloatArray,
    latency: FloatArray,
    ready_s: float,
) -> DemoResult:
    played = read_recording(out / "play_raw.fif")
    sos = np.array(bundle.manifest.frontend.sos)
    # The recording as the amplifier sent it: float32.
    sent = played.data_uv.astype(np.float32).astype(np.float64)
    filtered = CausalFilter(sos, len(played.labels)).process(sent)
    rows = bundle.manifest.hd_montage.index(bundle.manifest.ld_montage.labels)
    first = _find(filtered[:, rows], hd[:, rows])
    filtered = filtered[first : first + len(hd)]
    ld, mean = reference_free(filtered[:, rows])
    truth = filtered - mean
    rendered = hd - mean
    manifest = bundle.manifest
    spline = (
        ld @ spherical_spline(manifest.ld_montage.positions_mm, manifest.hd_montage.positions_mm).T
    )
    unseen = np.setdiff1d(np.arange(hd.shape[1]), rows)
    settled = slice(round(2 * SFREQ), None)
    return DemoResult(
        bundle=bundle,
        truth=truth,
        rendered=rendered,
        ld=ld,
        unseen=unseen,
        nmse_field=nmse(truth[settled, unseen], rendered[settled, unseen]),
        nmse_spline=nmse(truth[settled, unseen], spline[settled, unseen]),
        latency_ms=latency,
        ready_s=ready_s,
    )


def _find(recorded: FloatArray, received: FloatArray) -> int:
    """Where in the recording the received, passed-through LD channels begin."""
    probe = received[:8]
    n = len(recorded) - len(received)
    windows = np.lib.stride_tricks.sliding_window_view(recorded, len(probe), axis=0)[: n + 1]
    error = np.abs(windows - probe.T).max(axis=(1, 2))
    first = int(np.argmin(error))
    if error[first] > 0.1:
        raise StreamError(
            f"the passed-through channels must be those of the recording, off by "
            f"{error[first]:.2g} µV at best. Is another player using this session?"
        )
    return first
