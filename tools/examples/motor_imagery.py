"""Left or right fist? One decoder on LD channels, on rendered HD, and on measured HD.

    EMAG_RT_DATA=... python -m tools.examples.motor_imagery [--ld 16 --ld 8] [--refine]
    EMAG_RT_DATA=... python -m tools.examples.motor_imagery --live [--trials 5]

Subject 1 of the PhysioNet Motor Movement/Imagery Database: 45 trials of opening and closing the
left (T1) or right (T2) fist, really (runs 3 and 7) or in imagination (run 4). Covariances (OAS) of
8 to 30 Hz, 0.5 to 3.5 s after the cue, tangent space, logistic regression (pyRiemann,
scikit-learn): textbook settings, fixed beforehand. The decoder is trained on two of the runs and
tested on the third, in turn. The field and the ridge are calibrated on runs 1, 2 and 5 (rest, and
another task), so no decoder ever sees a sample they learned from.

All signals pass the same causal front end (0.5 to 45 Hz) and the same causal band-pass, and are
taken relative to the mean of their own channels; so everything here works live as well: --live
plays run 4 with its markers, serves it, and decodes the daemon's outlet.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi
from scipy.stats import binomtest, norm

from calibration import CalibrationSettings, FieldCalibrator
from calibration.regression.gram_matrices import lagged
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.core.labels import match_labels
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import EmagError, StreamError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording, read_recording
from emag_rt.streams.lsl import LslSource, StreamQuery, configure, local_clock
from emag_rt.streams.lsl.library import Inlet, resolve
from emag_rt.system import ask_to_end, endable
from tools.studies.cases import data_folder

CALIBRATION = ("S001R01.edf", "S001R02.edf", "S001R05.edf")
DECODING = ("S001R03.edf", "S001R04.edf", "S001R07.edf")
LIVE = "S001R04.edf"
CLASSES = {"T1": "left", "T2": "right"}
FIELD, TRUTH = "rendered HD (field)", "measured HD"
BAND_HZ = (8.0, 30.0)
WINDOW_S = (0.5, 3.5)
CONFIDENCE = 0.95
SILENT_S = 20.0
SETTLE_S = 1.0  # after which the filter's beginning is below a thousandth of a microvolt


@dataclass
class Trials:
    """Trials of some runs.

    Attributes
    ----------
    windows : list of ndarray, shape (n_channels, n_samples)
        Band-passed signal in µV.
    sides : list of str
        ``left`` or ``right``.
    runs : list of str
        The file each trial is from.
    """

    windows: list[FloatArray] = field(default_factory=list)
    sides: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


class BandPass:
    """Causal 8 to 30 Hz with carried state, started in the steady state of its first row."""

    def __init__(self, sfreq: float) -> None:
        self._sos = butter(4, BAND_HZ, "bandpass", fs=sfreq, output="sos")
        self._state: FloatArray | None = None

    def __call__(self, rows: FloatArray) -> FloatArray:
        """Filter rows (n_times, n_channels), which follow those of the call before."""
        rows = rows - rows.mean(axis=1, keepdims=True)
        if self._state is None:
            self._state = sosfilt_zi(self._sos)[:, :, None] * rows[0]
        filtered, self._state = sosfilt(self._sos, rows, axis=0, zi=self._state)
        return filtered


def window(rows: FloatArray, cue: int, sfreq: float) -> FloatArray:
    """The trial whose cue came at a row, shape (n_channels, n_samples)."""
    first = cue + round(WINDOW_S[0] * sfreq)
    return rows[first : first + round((WINDOW_S[1] - WINDOW_S[0]) * sfreq)].T


def decoder() -> Any:
    """Covariances, tangent space, logistic regression."""
    try:
        from pyriemann.estimation import Covariances
        from pyriemann.tangentspace import TangentSpace
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise click.ClickException(f"{error}: pip install pyriemann scikit-learn") from error

    return make_pipeline(Covariances("oas"), TangentSpace(), LogisticRegression(max_iter=1000))


def signals(bundle: Bundle, recording: Recording) -> dict[str, FloatArray]:
    """The same run as four amplifiers would deliver it, in µV, after the same front end."""
    manifest = bundle.manifest
    upsampler = Upsampler(bundle, channels=recording.labels)
    rendered = np.asarray(render_recording(upsampler, recording.data_uv), dtype=np.float64)
    hd = match_labels([e.label for e in manifest.hd], recording.labels, recording.path.name)
    truth = CausalFilter(np.array(manifest.frontend.sos), len(hd)).process(recording.data_uv[:, hd])
    labels = [e.label for e in manifest.hd]
    low = truth[:, [labels.index(e.label) for e in manifest.ld]]
    ridge = bundle.baselines["lagged_ridge"]
    n_lags, n_ld, n_hd = ridge.weights.shape
    ahead = manifest.look_ahead_samples
    x = (low - low.mean(axis=1, keepdims=True)) / bundle.model.scale_uv
    z = lagged(x, 0, len(x), n_lags - ahead, ahead)
    return {
        "LD channels alone": low,
        FIELD: rendered,
        "rendered HD (lagged ridge)": z @ ridge.weights.reshape(n_lags * n_ld, n_hd) + ridge.bias,
        TRUTH: truth,
    }


def collect(bundle: Bundle, folder: Path, names: Sequence[str]) -> dict[str, Trials]:
    """Trials of some runs, for each kind of signal."""
    found: dict[str, Trials] = {}
    for name in names:
        recording = read_recording(folder / name)
        for kind, rows in signals(bundle, recording).items():
            trials = found.setdefault(kind, Trials())
            narrow = BandPass(recording.sfreq)(rows)
            for onset, _, text in recording.events:
                if text in CLASSES:
                    cue = round(onset * recording.sfreq)
                    trials.windows.append(window(narrow, cue, recording.sfreq))
                    trials.sides.append(CLASSES[text])
                    trials.runs.append(name)
    return found


def by_run(train: Trials, test: Trials) -> list[str]:
    """Each trial's side as decoded by a decoder that was trained on the other runs."""
    x, y, runs = np.array(train.windows), np.array(train.sides), np.array(train.runs)
    tested, decided = np.array(test.windows), np.empty_like(y)
    for run in sorted(set(train.runs)):
        model = decoder().fit(x[runs != run], y[runs != run])
        decided[runs == run] = model.predict(tested[runs == run])
    return [str(side) for side in decided]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a proportion (Wilson 1927)."""
    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    p, spread = hits / n, z**2 / n
    half = z * np.sqrt(p * (1 - p) / n + spread / (4 * n))
    return (p + spread / 2 - half) / (1 + spread), (p + spread / 2 + half) / (1 + spread)


def balanced_accuracy(truth: Sequence[str], decided: Sequence[str]) -> tuple[float, float, float]:
    """Mean of the classes' hit rates, with a 95 % interval.

    Returns
    -------
    accuracy, low, high : float
        The interval joins Wilson's of each class by square-and-add (Newcombe 1998).
    """
    rates, below, above = [], [], []
    for side in sorted(set(truth)):
        of_side = [d == side for t, d in zip(truth, decided, strict=True) if t == side]
        low, high = wilson(sum(of_side), len(of_side))
        rate = sum(of_side) / len(of_side)
        rates.append(rate)
        below.append(rate - low)
        above.append(high - rate)
    mean, n = float(np.mean(rates)), len(rates)
    low, high = mean - np.linalg.norm(below) / n, mean + np.linalg.norm(above) / n
    return mean, float(max(0.0, low)), float(min(1.0, high))


def table(found: dict[str, Trials], title: str) -> str:
    """Balanced accuracy of each kind of signal, and what it decides otherwise than LD alone."""
    lines = [title, "", "| decoded from | balanced accuracy | 95 % interval | by run | beside LD |"]
    lines.append("| --- | --- | --- | --- | --- |")
    first: list[bool] | None = None
    pairs = {kind: (trials, trials) for kind, trials in found.items()}
    pairs["rendered HD (field), decoder of measured HD"] = (found[TRUTH], found[FIELD])
    for kind, (train, trials) in pairs.items():
        decided = by_run(train, trials)
        accuracy, low, high = balanced_accuracy(trials.sides, decided)
        right = [t == d for t, d in zip(trials.sides, decided, strict=True)]
        runs = " / ".join(
            f"{sum(r for r, run in zip(right, trials.runs, strict=True) if run == name)}"
            f" of {trials.runs.count(name)}"
            for name in sorted(set(trials.runs))
        )
        beside = "" if first is None else _beside(first, right)
        first = right if first is None else first
        lines.append(f"| {kind} | {accuracy:.2f} | {low:.2f} to {high:.2f} | {runs} | {beside} |")
    return "\n".join(lines)


def _beside(first: list[bool], right: list[bool]) -> str:
    """Trials gained and lost, with the exact McNemar test."""
    gained = sum(b and not a for a, b in zip(first, right, strict=True))
    lost = sum(a and not b for a, b in zip(first, right, strict=True))
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return f"+{gained} −{lost} trials, p = {p:.2f}"


def calibrated(folder: Path, n_ld: int, refine: bool, out: Path) -> Bundle:
    """The subject's field, from runs that are not decoded."""
    calibrator = FieldCalibrator(n_ld, CalibrationSettings(refine=refine))
    calibrator.fit([folder / name for name in CALIBRATION]).save(out)
    return load_bundle(out)


@contextmanager
def live_outlet(bundle: Path, recording: Path, speed: float) -> Iterator[tuple[LslSource, Inlet]]:
    """Play and serve in processes of their own; gives the HD outlet and the markers."""
    tag = uuid.uuid4().hex[:8]
    amp, hd = f"amp-{tag}", f"hd-{tag}"
    run = [sys.executable, "-m", "emag_rt"]
    player = [*run, "simulate", "--recording", recording, "--channels", f"ld:{bundle}"]
    player += ["--name", amp, "--source-id", amp, "--markers", "--speed", str(speed)]
    daemon = [*run, "serve", bundle, "--source-id", amp, "--name", hd, "--wait", "--quiet"]
    processes = [subprocess.Popen(list(map(str, player)), stdout=subprocess.DEVNULL, **endable())]
    try:
        # The markers first: samples flow from when the daemon is there.
        found = resolve(f"name='{amp}-markers'", SILENT_S)
        if not found:
            raise StreamError(f"markers {amp}-markers must appear in {SILENT_S:g} s, they did not.")
        markers = Inlet(found[0], "markers", 360, recover=True)
        markers.open_stream(5.0)
        processes.append(subprocess.Popen(list(map(str, daemon)), **endable()))
        source = LslSource.open(StreamQuery(name=hd), 60.0)
        yield source, markers
        source.close()
    finally:
        for process in processes:
            ask_to_end(process)
        for process in processes:
            process.wait()


def decode_live(
    source: LslSource, markers: Inlet, model: Any, n_trials: int
) -> Iterator[tuple[int, str, str, float]]:
    """Decide each trial as soon as its last row is there.

    Yields
    ------
    number : int
        Of the trial in the run, from 0.
    truth, decided : str
        Sides.
    late_s : float
        Seconds from the stamp of the last row that is needed to the decision.
    """
    sfreq, narrow = source.format.sfreq, BandPass(source.format.sfreq)
    rows, stamps = np.empty((0, source.format.n_channels)), np.empty(0)
    cues: list[tuple[float, str]] = []
    heard, number = time.monotonic(), -1
    while number + 1 < n_trials and time.monotonic() - heard < SILENT_S:
        texts, times = markers.take_all()
        cues += [(s, t[0]) for s, t in zip(times, texts, strict=True) if t[0] in CLASSES]
        chunk, at = source.pull(0.1)
        if len(at):
            heard = time.monotonic()
            rows = np.concatenate([rows, narrow(chunk.astype(np.float64))])[-round(20 * sfreq) :]
            stamps = np.concatenate([stamps, at])[-len(rows) :]
        while cues and len(stamps) and stamps[-1] >= cues[0][0] + WINDOW_S[1]:
            stamp, text = cues.pop(0)
            number += 1
            cue = int(np.searchsorted(stamps, stamp - 0.5 / sfreq))
            if stamps[0] > stamp + WINDOW_S[0] - SETTLE_S:
                continue  # we did not listen yet, or the filter had not settled
            decided = str(model.predict(window(rows, cue, sfreq)[None])[0])
            yield number, CLASSES[text], decided, local_clock() - (stamp + WINDOW_S[1])


def run_live(bundle: Path, folder: Path, n_trials: int, speed: float) -> None:
    """Train on the other runs, offline; decide the trials of one run as they come."""
    train = collect(load_bundle(bundle), folder, [n for n in DECODING if n != LIVE])[FIELD]
    model = decoder().fit(np.array(train.windows), train.sides)
    offline = collect(load_bundle(bundle), folder, [LIVE])[FIELD]
    expected = [str(s) for s in model.predict(np.array(offline.windows))]
    hits = same = n = 0
    with live_outlet(bundle, folder / LIVE, speed) as (source, markers):
        for number, truth, decided, late_s in decode_live(source, markers, model, n_trials):
            hits, same = hits + (truth == decided), same + (decided == expected[number])
            n += 1
            late = f", {1000 * late_s:.1f} ms after its last sample" if speed == 1 else ""
            click.echo(f"trial {number + 1}: {truth:5} decoded as {decided:5}{late}")
    click.echo(f"{hits} of {n} right; {same} of {n} as decided offline")


@click.command()
@click.option("--ld", "counts", type=int, multiple=True, default=(16, 8), show_default=True)
@click.option("--refine", is_flag=True, help="With the refined field (torch): a minute more each.")
@click.option("--live", is_flag=True, help="Decode run 4 from the daemon's outlet, in real time.")
@click.option("--trials", default=15, show_default=True, help="With --live: stop after this many.")
@click.option("--speed", default=1.0, show_default=True, help="With --live: times real time.")
@click.option("--data", type=click.Path(file_okay=False), help="Folder (default: $EMAG_RT_DATA).")
def main(
    counts: tuple[int, ...],
    refine: bool,
    live: bool,
    trials: int,
    speed: float,
    data: str | None,
) -> None:
    """Decode motor imagery from LD, rendered HD and measured HD."""
    decoder()  # says now what is not installed
    try:
        folder = Path(data) if data else data_folder()
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "subject.emag")
            for count in counts[:1] if live else counts:
                bundle = calibrated(folder, count, refine, path)
                if live:
                    configure()
                    run_live(path, folder, trials, speed)
                    continue
                worn = ", ".join(e.label for e in bundle.manifest.ld)
                found = collect(bundle, folder, DECODING)
                n = len(next(iter(found.values())).sides)
                click.echo(table(found, f"\n{count} LD channels ({worn}), {n} trials") + "\n")
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
