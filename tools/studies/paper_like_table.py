"""Paper-like EMAG, same data, trained to convergence, beside lagged ridge on held-out runs.

    EMAG_RT_DATA=... python -m tools.studies.paper_like_table
        [--case NAME]... [--grid-resolution 10]
        [--window-s 0.5] [--epochs 200] [--device cpu]

Both get the same segments, targets and blocks; NMSE on unseen channels, in µV relative to the LD
mean after the same causal front end, averaged over the held-out runs by their length.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from calibration.baselines.ridge import fit_ridge
from calibration.paper.baseline import WINDOW_S, fit_paper_like
from calibration.regression.blocks import make_blocks
from calibration.session.segments import Session, make_session
from calibration.settings.calibration_settings import CalibrationSettings
from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import FloatArray
from emag_rt.core.scores import nmse
from tools.studies.cases import CASES, USUAL, Case, data_folder, read_case

Predict = Callable[[FloatArray], FloatArray]
TARGET = 0.85


def held_out_nmse(session: Session, runs: list[Session], predict: Predict) -> float:
    """NMSE on channels that are unseen and good in calibration and in the run, by length."""
    labels = session.montage.labels
    columns = {labels[row]: i for i, row in enumerate(session.targets)}
    unseen = {labels[row] for row in session.unseen}
    scores = []
    for run in runs:
        rows = [row for row in run.unseen if run.montage.labels[row] in unseen]
        picks = [columns[run.montage.labels[row]] for row in rows]
        # A run's features are in units of its own statistics: put them in the calibration's.
        rescale = run.scale_uv / session.scale_uv
        truth = np.concatenate([y[:, rows] for _, y in run.segments])
        found = np.concatenate([predict(x * rescale)[:, picks] for x, _ in run.segments])
        scores.append(nmse(truth, found))
    return float(np.average(scores, weights=[run.duration_s for run in runs]))


def run_case(
    folder: Path, case: Case, options: PaperOptions, window_s: float, device: str
) -> dict[str, float]:
    """Fit both on the training runs, score both on the others."""
    settings = CalibrationSettings()
    train, test = read_case(folder, case)
    session = make_session(train, case.n_ld, settings)
    names = [session.montage.labels[row] for row in session.ld]
    runs = [make_session([recording], names, settings) for recording in test]
    targets = list(session.targets)
    segments = [(x, y[:, targets]) for x, y in session.segments]
    blocks = make_blocks([len(x) for x, _ in segments])
    ridge = fit_ridge(segments, blocks=blocks)
    started = time.process_time()
    paper = fit_paper_like(
        segments,
        session.montage.positions_mm[targets],
        session.sfreq,
        options,
        window_s=window_s,
        blocks=blocks,
        device=device,
    )
    return {
        "cpu_s": time.process_time() - started,
        "epochs": float(paper.fit.epochs),
        "converged": float(paper.fit.converged),
        "validation": paper.fit.history[paper.fit.epochs],
        "paper": held_out_nmse(session, runs, paper.predict),
        "ridge": held_out_nmse(session, runs, ridge.predict),
    }


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)))
@click.option("--grid-resolution", type=int, default=PaperOptions.grid_resolution)
@click.option("--window-s", type=float, default=WINDOW_S)
@click.option("--epochs", type=int, default=PaperOptions.epochs)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
def main(
    names: tuple[str, ...], grid_resolution: int, window_s: float, epochs: int, device: str
) -> None:
    """Print the table."""
    folder = data_folder()
    options = PaperOptions(grid_resolution=grid_resolution, epochs=epochs)
    click.echo(
        "| recording (LD → HD) | paper-like EMAG | lagged ridge | lagged ridge / paper-like "
        f"| {TARGET} of paper-like | epochs | validation | CPU s |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names or USUAL:
        n = run_case(folder, CASES[name], options, window_s, device)
        click.echo(
            f"| {name} | {n['paper']:.4f} | {n['ridge']:.4f} | {n['ridge'] / n['paper']:.3f} "
            f"| {TARGET * n['paper']:.4f} "
            f"| {n['epochs']:.0f}{'' if n['converged'] else ' (not converged)'} "
            f"| {n['validation']:.4f} "
            f"| {n['cpu_s']:.0f} |"
        )


if __name__ == "__main__":
    main()
