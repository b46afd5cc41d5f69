"""How each mode of ``--statistics`` behaves on runs that calibration has not seen.

    EMAG_RT_DATA=... python -m tools.studies.output_modes [--subject S001]... [--refine]

Calibrates on run 3 of each person of eegmmidb, and scores runs 4, 8 and 12 at unseen channels.
Prints Markdown: error and rank, mean over people, then power over the true one in each band:
summed over channels, median over people (least to most), and of the middle channel, median.
The noise was chosen on S001, S002 and S003, so the people here are others.
"""

from __future__ import annotations

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.scores.held_out import evaluate_bundle
from calibration.scores.modes import ModeScores
from tools.studies.cases import data_folder

PEOPLE = ("S006", "S008", "S009", "S011", "S013", "S014", "S016", "S018")
RUNS = (4, 8, 12)


def row(n_ld: int, mode: str, found: list[ModeScores], nmse: float) -> str:
    """A line of the table, of all runs of one person after another; ``nmse`` is the estimate's."""
    error, bands = float(np.mean([f.nmse for f in found])), found[0].power
    cells = [f"{error:.3f} ({error / nmse:.2f} x)", f"{np.mean([f.rank for f in found]):.0f}"]
    for band in bands:
        power = np.array([[f.power[band], f.power_median[band]] for f in found])
        total, middle = power.reshape(-1, len(RUNS), 2).mean(axis=1).T
        spread = f"({total.min():.2f}–{total.max():.2f})"
        cells.append(f"{np.median(total):.2f} {spread} / {np.median(middle):.2f}")
    return f"| {n_ld} → 64 | {mode} | {' | '.join(cells)} |"


@click.command()
@click.option("--subject", "people", multiple=True, default=PEOPLE)
@click.option("--refine", is_flag=True, help="With the networks.")
def main(people: tuple[str, ...], refine: bool) -> None:
    """Print the table."""
    folder, settings = data_folder(), CalibrationSettings(refine=refine, prior="none")
    for n_ld in (16, 8):
        scores: dict[str, list[ModeScores]] = {}
        for person in people:
            fitted = FieldCalibrator(n_ld, settings).fit([folder / f"{person}R03.edf"])
            for run in RUNS:
                path = folder / f"{person}R{run:02d}.edf"
                result = evaluate_bundle(fitted.result_.bundle, path, "packed")
                for mode, found in result.statistics.items():
                    scores.setdefault(mode, []).append(found)
        base = float(np.mean([f.nmse for f in scores["estimate"]]))
        if n_ld == 16:
            bands = " | ".join(scores["truth"][0].power)
            click.echo(f"| channels | statistics | NMSE | rank | {bands} |")
            click.echo(f"| {' | '.join(['---'] * (4 + len(scores['truth'][0].power)))} |")
        for mode, found in scores.items():
            click.echo(row(n_ld, mode, found, base))


if __name__ == "__main__":
    main()
