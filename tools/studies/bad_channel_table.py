"""What bad LD channels cost, and how surely they are found, on real recordings.

    EMAG_RT_DATA=... python -m tools.studies.bad_channel_table [--case NAME]... [--draws 6]

Calibrates on some runs of a subject (closed form). Then, through the very bundle and front end
that serve, on the runs held out:

- accuracy: LD channels drawn at random are lost (NaN), and the fill stands in for them, beside
  lagged ridge retrained without them; NMSE on unseen channels, relative to the mean of the
  channels that are left;
- alarms: blocks of clean recordings, those of the calibration among them, with a bad channel;
- swaps: every pair of LD channels is exchanged, for as long as the recording lasts;
- jumps: 300 mV added to one channel, or to all, in the middle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.baselines.ridge import fit_ridge
from calibration.session.segments import Session, make_session
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.core.labels import match_labels
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.frontend import CausalFilter, FrontEnd
from emag_rt.recordings.read import Recording
from tools.studies.cases import CASES, Case, data_folder, read_case

LOST = (1, 2, 4)
JUMP_UV = 3e5
USUAL = ("S001-16", "S001-8", "biosemi128-31")


@dataclass(frozen=True, eq=False)
class Subject:
    """A calibrated case, and stretches of the runs held out: raw and filtered, one montage."""

    bundle: Bundle
    session: Session
    train: list[Recording]
    test: list[Recording]

    def stretches(self, recordings: Sequence[Recording]) -> list[FloatArray]:
        """Usable raw samples of the session's channels."""
        labels = self.session.montage.labels
        return [
            np.ascontiguousarray(r.data_uv[a:b, match_labels(labels, r.labels, r.path.name)], float)
            for r in recordings
            for a, b in r.segments
            if b - a > 2 * SETTLE_S * r.sfreq
        ]

    @property
    def settle(self) -> int:
        """Samples at the start of a stretch that are not scored."""
        return round(SETTLE_S * self.session.sfreq)


def calibrate(folder: Path, case: Case) -> Subject:
    """Fit, save, load."""
    settings = CalibrationSettings(refine=False, prior="none")
    train, test = read_case(folder, case)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "case.emag")
        FieldCalibrator(case.n_ld, settings).fit(train).save(path)
        bundle = load_bundle(path)
    return Subject(bundle, make_session(train, case.n_ld, settings), train, test)


def filled_nmse(subject: Subject, lost: Sequence[int]) -> float:
    """NMSE of the field while the rows ``lost`` are NaN."""
    session = subject.session
    good = [row for row in session.ld if row not in lost]
    unseen, pairs = list(session.unseen), []
    upsampler = Upsampler(
        subject.bundle, channels=session.montage.labels, engine="packed", max_bad_share=1.0
    )
    for raw in subject.stretches(subject.test):
        truth = CausalFilter(session.sos, raw.shape[1]).process(raw)
        broken = raw.copy()
        broken[:, list(lost)] = np.nan
        hd = render_recording(upsampler, broken)
        if len(upsampler.bad) != len(lost):
            raise RuntimeError(f"bad were {upsampler.bad}, lost {lost}")
        mean = truth[:, good].mean(axis=1, keepdims=True)
        pairs.append((truth[:, unseen] - mean, hd[:, unseen] - mean))
    return _pooled(pairs, subject.settle)


def retrained_nmse(subject: Subject, lost: Sequence[int]) -> float:
    """NMSE of lagged ridge fitted on the other LD channels alone."""
    session = subject.session
    good = [row for row in session.ld if row not in lost]
    scale = session.scale_uv[[session.ld.index(row) for row in good]]
    unseen = list(session.unseen)

    def relative(y: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean = y[:, good].mean(axis=1, keepdims=True)
        return (y[:, good] - mean) / scale, y[:, unseen] - mean

    ridge = fit_ridge([relative(y) for _, y in session.segments])
    pairs = []
    for raw in subject.stretches(subject.test):
        x, y = relative(CausalFilter(session.sos, raw.shape[1]).process(raw))
        pairs.append((y, ridge.predict(x)))
    return _pooled(pairs, subject.settle)


def _pooled(pairs: list[tuple[FloatArray, FloatArray]], settle: int) -> float:
    error = sum(float(((y - z)[settle:] ** 2).sum()) for y, z in pairs)
    return error / sum(float((y[settle:] ** 2).sum()) for y, _ in pairs)


def accuracy_row(name: str, subject: Subject, n_lost: int, draws: int) -> str:
    """A line of the table of accuracy."""
    rng = np.random.default_rng(n_lost)
    ld = np.array(subject.session.ld)
    every = [sorted(rng.choice(ld, n_lost, replace=False).tolist()) for _ in range(draws)]
    scores = np.array([(filled_nmse(subject, s), retrained_nmse(subject, s)) for s in every])
    ratios = scores[:, 0] / scores[:, 1]
    labels = subject.session.montage.labels
    worst = " ".join(labels[row] for row in every[int(ratios.argmax())])
    field, ridge = scores.mean(axis=0)
    return (
        f"| {name} | {n_lost} | {field:.3f} | {ridge:.3f} | {np.median(ratios):.3f} "
        f"| {ratios.max():.3f} ({worst}) |"
    )


def blocks_of(subject: Subject, raw: FloatArray) -> list[set[str]]:
    """Bad channels after each block of a recording."""
    stage = FrontEnd(subject.bundle.frontend_settings, subject.session.montage.labels)
    size = round(stage.settings.bad_rules.block_s * subject.session.sfreq)
    history = []
    for start in range(0, len(raw) - size + 1, size):
        stage.process(raw[start : start + size])
        history.append(set(stage.bad))
    return history


def _joined(subject: Subject, recordings: Sequence[Recording]) -> list[FloatArray]:
    """One array a recording: epochs behind each other, as a live stream never has them."""
    return [np.concatenate(subject.stretches([recording])) for recording in recordings]


def alarms(subject: Subject) -> tuple[int, int]:
    """Alarmed blocks and all blocks of every recording of the case."""
    runs = [blocks_of(subject, raw) for raw in _joined(subject, [*subject.train, *subject.test])]
    return sum(bool(bad) for run in runs for bad in run), sum(map(len, runs))


def swap_finds(subject: Subject, limit: int) -> tuple[int, int, int, float]:
    """Pairs found, pairs that also accused others, pairs tried, and median seconds to find."""
    session = subject.session
    raw = max(_joined(subject, subject.test), key=len)
    pairs = list(combinations(session.ld, 2))
    chosen = np.random.default_rng(0).permutation(len(pairs))[:limit]
    found = others = 0
    delays = []
    block_s = subject.bundle.frontend_settings.bad_rules.block_s
    for i, j in (pairs[k] for k in chosen):
        swapped = raw.copy()
        swapped[:, [i, j]] = swapped[:, [j, i]]
        wanted = {session.montage.labels[k] for k in (i, j)}
        history = blocks_of(subject, swapped)
        when = [k for k, bad in enumerate(history) if bad >= wanted]
        found += bool(when)
        delays += [when[0] * block_s] if when else []
        others += any(bad - wanted for bad in history)
    return found, others, len(chosen), float(np.median(delays)) if delays else float("nan")


def jump_errors(subject: Subject) -> tuple[float, float, float]:
    """Largest error after a jump of all, of one, and of one taken in as it is, µV."""
    session = subject.session
    raw = max(_joined(subject, subject.test), key=len)
    at, columns = len(raw) // 2, list(session.ld)
    labels = session.montage.labels
    settings = subject.bundle.frontend_settings
    clean = FrontEnd(settings, labels).process(raw)
    errors = []
    for column in (columns, columns[len(columns) // 2]):
        jumped = raw.copy()
        jumped[at:, column] += JUMP_UV
        errors.append(float(np.abs(FrontEnd(settings, labels).process(jumped) - clean).max()))
        filtered = CausalFilter(session.sos, len(columns)).process(jumped[:, columns])
    return errors[0], errors[1], float(np.abs(filtered - clean).max())


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), default=USUAL)
@click.option("--draws", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--pairs", type=click.IntRange(min=1), default=60, show_default=True)
def main(names: tuple[str, ...], draws: int, pairs: int) -> None:
    """Print both tables."""
    folder = data_folder()
    accuracy, finding = [], []
    for name in names:
        subject = calibrate(folder, CASES[name])
        accuracy += [accuracy_row(name, subject, n_lost, draws) for n_lost in LOST]
        n_alarms, n_blocks = alarms(subject)
        found, others, tried, delay_s = swap_finds(subject, pairs)
        common, one, untreated = jump_errors(subject)
        finding.append(
            f"| {name} | {n_alarms} of {n_blocks} | {found} of {tried} | {delay_s:.0f} s "
            f"| {others} | {common:.0f} | {one:.0f} | {untreated:.0f} |"
        )
    click.echo(
        "| case | bad LD | field, filled | lagged ridge, retrained | ratio, median | worst |\n"
        + "|"
        + " --- |" * 6
    )
    click.echo("\n".join(accuracy))
    click.echo(
        "\n| case | false alarms, blocks | swapped pairs found | after, median | others accused "
        "| 300 mV on all: error, µV | on one | on one, untreated |\n" + "|" + " --- |" * 8
    )
    click.echo("\n".join(finding))


if __name__ == "__main__":
    main()
