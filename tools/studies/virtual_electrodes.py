"""Accuracy at electrodes nobody wore, on real recordings, held-out runs, with baselines.

    EMAG_RT_DATA=... python -m tools.studies.virtual_electrodes
        [--no-refine] [--more] [--case NAME]...

Leaves an eighth of the HD electrodes out of calibration altogether (evenly spread, not LD),
calibrates on the rest, renders at the places of those left out; the mean over several choices of
electrodes. Ratios are of means. See tools/studies/left_out_electrodes.py.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import click
import numpy as np

from calibration import CalibrationSettings
from tools.studies.benchmark.cases import CASES, USUAL, data_folder, read_case
from tools.studies.left_out_electrodes import METHODS, VirtualScores, score_virtual


def row_of(name: str, scores: list[VirtualScores], seconds: float) -> str:
    """A line of the table."""
    mean = {m: float(np.mean([s.nmse[m] for s in scores])) for m in METHODS}
    worst = max(s.nmse["field"] / s.nmse["spline_from_rendered"] for s in scores)
    expected = float(np.mean([s.expected for s in scores]))
    return (
        f"| {name} | {mean['field']:.3f} | {expected:.3f} | {mean['spline_from_ld']:.3f} "
        f"| {mean['spline_from_rendered']:.3f} | {mean['spline_from_true']:.3f} "
        f"| {mean['field'] / mean['spline_from_ld']:.3f} "
        f"| {mean['field'] / mean['spline_from_rendered']:.3f} (worst {worst:.3f}) "
        f"| {len(scores)} x {len(scores[0].left_out)} | {seconds:.0f} s |"
    )


@click.command()
@click.option("--refine/--no-refine", default=True)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)))
@click.option("--more", is_flag=True, help="Recordings that no choice was made on.")
@click.option("--rotations", default=8, show_default=True, help="Choices of electrodes left out.")
@click.option("--json", "as_json", is_flag=True)
def main(refine: bool, names: tuple[str, ...], more: bool, rotations: int, as_json: bool) -> None:
    """Print the table."""
    folder, settings = data_folder(), CalibrationSettings(refine=refine)
    chosen = names or (tuple(name for name in CASES if name not in USUAL) if more else USUAL)
    results = {}
    click.echo(
        "| recording (LD → HD) | field | expected | spline from LD | spline from rendered HD "
        "| spline from true HD | field / from LD | field / from rendered | left out | took |"
    )
    click.echo("| " + " | ".join(["---"] * 10) + " |")
    for name in chosen:
        started = time.perf_counter()
        case = CASES[name]
        train, test = read_case(folder, case)
        scores = score_virtual(train, test, case.n_ld, settings, rotations)
        results[name] = [asdict(score) for score in scores]
        click.echo(row_of(name, scores, time.perf_counter() - started))
    if as_json:
        click.echo(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
