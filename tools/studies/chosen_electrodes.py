"""Chosen electrodes at 2x, 4x and 8x on S001, beside spread and random ones, on held-out runs.

    EMAG_RT_DATA=... python -m tools.studies.chosen_electrodes
        [--no-refine] [--worn 8]... [--band 0.1 75]

Electrodes are chosen and fields fitted on runs 3 and 4; the scores are on runs 5 and 7, at
look-ahead 0, of all 64 channels under average reference: truth and estimate each less their mean
over the 64, the channels worn passed through as measured. The last column is in the reference of
the file, where the signal that all channels share counts as well: it flatters.

What is published for 64 channels of this database (offline, both directions in time, across
subjects, evenly spread electrodes, raw or lightly filtered data) is printed beside: the protocols
differ, so it is a landmark and not a race. The floor is what no K electrodes and no fixed linear
map of their present sample can go below: the test runs' own first K - 1 principal components (K
electrodes hold K - 1 signals that are free of the reference). Lags and non-linear parts may.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from threadpoolctl import threadpool_limits

from calibration import Calibration, CalibrationSettings, FieldCalibrator
from calibration.electrodes.choice import choose_montage
from calibration.electrodes.offer import MontageRequest
from calibration.regression.closed_form import fit_linear
from calibration.regression.priors import session_prior
from calibration.session.segments import Session, make_session
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.montage import spread_choice
from emag_rt.core.spline import spherical_spline
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording, read_recording

Predict = Callable[[FloatArray], FloatArray]
TRAIN = ("S001R03.edf", "S001R04.edf")
TEST = ("S001R05.edf", "S001R07.edf")
PUBLISHED = {32: 0.0385, 16: 0.0797, 8: 0.110}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A test run: filtered in the recorded reference, and the rows that count."""

    recording: Recording
    signal: FloatArray
    rows: IndexArray


@dataclass
class Score:
    """Sums of squared errors and of squares, over runs."""

    error: float = 0.0
    power: float = 0.0
    error_unseen: float = 0.0
    power_unseen: float = 0.0
    error_raw: float = 0.0
    power_raw: float = 0.0

    def add(self, error: FloatArray, truth: FloatArray, unseen: Sequence[int]) -> None:
        """Add a run: errors and truth (n_times, n_channels) in the recorded reference."""
        self.error_raw += float((error**2).sum())
        self.power_raw += float((truth**2).sum())
        error, truth = (z - z.mean(axis=1, keepdims=True) for z in (error, truth))
        self.error += float((error**2).sum())
        self.power += float((truth**2).sum())
        self.error_unseen += float((error[:, unseen] ** 2).sum())
        self.power_unseen += float((truth[:, unseen] ** 2).sum())

    def row(self) -> str:
        """All and unseen channels under average reference, all in the recorded reference."""
        return (
            f"{self.error / self.power:.4f} | {self.error_unseen / self.power_unseen:.4f} | "
            f"{self.error_raw / self.power_raw:.4f}"
        )


class Bench:
    """Calibration recordings, test runs, and scores of anything on them."""

    def __init__(self, folder: Path, settings: CalibrationSettings) -> None:
        self.settings = settings
        self.train = [read_recording(folder / name) for name in TRAIN]
        whole = make_session(self.train, 2, settings)
        self.montage, self.tests = whole.montage, []
        for name in TEST:
            recording = read_recording(folder / name)
            columns = [recording.labels.index(label) for label in whole.montage.labels]
            raw = np.nan_to_num(recording.data_uv[:, columns])
            rows = np.concatenate([np.arange(*segment) for segment in recording.segments])
            rows = rows[rows >= round(SETTLE_S * recording.sfreq)]
            signal = CausalFilter(whole.sos, len(columns)).process(raw)
            self.tests.append(HeldOut(recording, signal, rows))

    def closed_form(self, labels: Sequence[str]) -> Score:
        """Fit the closed form on a set of electrodes and score it."""
        session = make_session(self.train, list(labels), self.settings)
        targets = list(session.targets)
        with threadpool_limits(1, user_api="blas"):
            segments = [(x, y[:, targets]) for x, y in session.segments]
            fit = fit_linear(segments, session.sfreq, prior=session_prior(session))
            return self.score(session, fit.predict)

    def score(self, session: Session, predict: Predict) -> Score:
        """Score a fit: scaled LD channels (n_times, n_ld) to targets, relative to the LD mean."""
        score, targets, ld = Score(), list(session.targets), list(session.ld)
        for test in self.tests:
            relative = test.signal - test.signal[:, ld].mean(axis=1, keepdims=True)
            error = np.zeros_like(relative)
            error[:, targets] = predict(relative[:, ld] / session.scale_uv) - relative[:, targets]
            score.add(error[test.rows], test.signal[test.rows], session.unseen)
        return score

    def served(self, calibration: Calibration) -> Score:
        """Score a bundle through the engine that serves, on the raw recordings."""
        score, unseen = Score(), calibration.session.unseen
        for test in self.tests:
            upsampler = Upsampler(calibration.bundle, channels=test.recording.labels)
            rendered = render_recording(upsampler, np.nan_to_num(test.recording.data_uv))
            error = (rendered - test.signal)[test.rows]
            score.add(error, test.signal[test.rows], unseen)
        return score

    def floor(self, n_worn: int) -> float:
        """Error that the first n_worn - 1 principal components of the test runs leave."""
        y = np.concatenate([test.signal[test.rows] for test in self.tests])
        y -= y.mean(axis=1, keepdims=True)
        values = np.linalg.eigvalsh(y.T @ y)
        return float(values[: len(values) - (n_worn - 1)].sum() / values.sum())

    def lines(self, n_worn: int, refine: bool, n_seeds: int) -> Iterator[str]:
        """Yield one Markdown line for each method."""
        started = time.perf_counter()
        choice = choose_montage(self.train, MontageRequest(n_worn), self.settings)
        took = time.perf_counter() - started
        labels, cv = choice.labels, choice.chosen[n_worn].nmse["average"]
        yield (
            f"\n**{n_worn} of {len(self.montage)}**: {', '.join(labels)} ({took:.0f} s to choose; "
            f"cross-validated {cv['all']:.4f} on all, {cv['unseen']:.4f} on unseen channels)\n"
        )
        yield "| electrodes, method | all, average ref. | unseen, average ref. | all, file's ref. |"
        yield "| --- | --- | --- | --- |"
        closed = FieldCalibrator(list(labels), self.with_refine(False)).fit(self.train).result_
        session = closed.session
        if refine:
            refined = FieldCalibrator(list(labels), self.with_refine(True)).fit(self.train).result_
            yield f"| chosen, field (refined, as served) | {self.served(refined).row()} |"
        yield f"| chosen, field (closed form, as served) | {self.served(closed).row()} |"
        ridge = closed.baselines["lagged_ridge"]
        yield f"| chosen, lagged ridge | {self.score(session, ridge.predict).row()} |"
        places = self.montage.positions_mm
        spline = spherical_spline(places[list(session.ld)], places[list(session.targets)])
        by_spline = self.score(session, lambda x: (x * session.scale_uv) @ spline.T)
        yield f"| chosen, spherical spline | {by_spline.row()} |"
        spread = [self.montage.labels[i] for i in spread_choice(places, n_worn)]
        yield f"| evenly spread, closed form | {self.closed_form(spread).row()} |"
        scores = [self.closed_form(labels) for labels in self.random_sets(n_worn, n_seeds)]
        parts = [[float(part) for part in score.row().split(" | ")] for score in scores]
        mean = " | ".join(f"{value:.4f}" for value in np.mean(parts, axis=0))
        yield f"| random, mean of {n_seeds}, closed form | {mean} |"
        floor = self.floor(n_worn)
        yield f"| *floor: {n_worn - 1} principal components of the test runs* | {floor:.4f} | | |"
        yield f"| *best published* | {PUBLISHED.get(n_worn, float('nan')):.4f} | | |"

    def with_refine(self, refine: bool) -> CalibrationSettings:
        """Settings with the gradient steps, or without."""
        return CalibrationSettings(band_hz=self.settings.band_hz, refine=refine, prior="none")

    def random_sets(self, n_worn: int, n_seeds: int) -> Iterator[list[str]]:
        """Yield sets drawn at random."""
        for seed in range(n_seeds):
            rows = np.random.default_rng(seed).choice(len(self.montage), n_worn, replace=False)
            yield [self.montage.labels[i] for i in sorted(rows)]


@click.command()
@click.option("--refine/--no-refine", default=True)
@click.option("--worn", multiple=True, type=int, default=(32, 16, 8), show_default=True)
@click.option("--band", nargs=2, type=float, default=(0.5, 45.0), show_default=True)
@click.option("--seeds", type=click.IntRange(1, 100), default=5, show_default=True)
def main(refine: bool, worn: tuple[int, ...], band: tuple[float, float], seeds: int) -> None:
    """Print a table for each number of electrodes."""
    data = os.environ.get("EMAG_RT_DATA")
    if not data:
        sys.exit("set EMAG_RT_DATA to the folder with the recordings")
    settings = CalibrationSettings(band_hz=band, refine=False, prior="none")
    bench = Bench(Path(data), settings)
    click.echo(f"S001, runs 3 and 4 -> 5 and 7, causal {band[0]:g} to {band[1]:g} Hz, look-ahead 0")
    for n_worn in worn:
        for line in bench.lines(n_worn, refine, seeds):
            click.echo(line)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
