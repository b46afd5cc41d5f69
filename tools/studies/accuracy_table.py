"""Accuracy on real recordings, as in the README: held-out runs, unseen channels, with baselines.

    EMAG_RT_DATA=... python -m tools.studies.accuracy_table [--no-refine] [--case NAME]...

Calibrates on some runs of a subject and scores on others, through the very bundle and engine
that serve. Prints a Markdown table and, with --json, everything.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.scores.held_out import evaluate_recording
from emag_rt.bundle import load_bundle
from tools.studies.cases import CASES, Case, data_folder, pooled_nmse, read_case

SHOWN = ("field", "lagged_ridge", "ridge", "spherical_spline", "minimum_norm")


def run_case(folder: Path, case: Case, settings: CalibrationSettings) -> dict[str, Any]:
    """Calibrate, save, load, score; NMSE on unseen channels, pooled over the test runs."""
    train, test = read_case(folder, case)
    started = time.perf_counter()
    calibrator = FieldCalibrator(case.n_ld, settings).fit(train)
    took = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "case.emag")
        calibrator.save(path)
        bundle = load_bundle(path)
        runs = [evaluate_recording(bundle, recording) for recording in test]
    timings = dict(calibrator.result_.timings)
    return {"nmse_unseen": pooled_nmse(runs), "seconds": took, "timings": timings}


def summary(results: dict[str, dict[str, Any]]) -> list[str]:
    """Median and worst ratio to lagged ridge, at each factor."""
    lines = []
    for factor in sorted({CASES[name].factor for name in results}):
        nmse = [r["nmse_unseen"] for name, r in results.items() if CASES[name].factor == factor]
        ratios = [n["field"] / n["lagged_ridge"] for n in nmse]
        lines.append(f"{factor}x: median {np.median(ratios):.3f}, worst {max(ratios):.3f}")
    return lines


@click.command()
@click.option("--refine/--no-refine", default=True)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)))
@click.option("--json", "as_json", is_flag=True)
def main(refine: bool, names: tuple[str, ...], as_json: bool) -> None:
    """Print the table; of all cases, unless told otherwise."""
    folder, settings = data_folder(), CalibrationSettings(refine=refine, prior="none")
    results: dict[str, dict[str, Any]] = {}
    click.echo(
        "| case (LD channels) | field | lagged ridge | ridge | spherical spline | minimum norm "
        "| field / lagged ridge | field / spline | to fit |"
    )
    click.echo("|" + " --- |" * 9)
    for name in names or tuple(CASES):
        results[name] = result = run_case(folder, CASES[name], settings)
        n = result["nmse_unseen"]
        click.echo(
            f"| {name} | "
            + " | ".join(f"{n[method]:.3f}" for method in SHOWN)
            + f" | {n['field'] / n['lagged_ridge']:.3f} "
            f"| {n['field'] / n['spherical_spline']:.2f} | {result['seconds']:.0f} s |"
        )
    for line in summary(results):
        click.echo(line)
    if as_json:
        click.echo(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
