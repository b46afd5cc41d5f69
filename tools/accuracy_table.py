"""Accuracy on real recordings, as in the README: held-out runs, unseen channels, with baselines.

    EMAG_RT_DATA=... python tools/accuracy_table.py [--no-refine] [--case NAME]...

Calibrates on some runs of a subject and scores on others, through the very bundle and engine
that serve. Prints a Markdown table and, with --json, everything.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.evaluation import METHODS, evaluate_bundle
from emag_rt.bundle import load_bundle


@dataclass(frozen=True)
class Case:
    """Recordings of one subject, and how many LD channels to spread over it."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    n_ld: int


_S001 = (("S001R03.edf", "S001R04.edf"), ("S001R05.edf", "S001R07.edf"))
_BIOSEMI = (
    ("biosemi128_s01_block0_raw.fif", "biosemi128_s01_block1_raw.fif"),
    ("biosemi128_s01_block2_raw.fif",),
)
CASES = {
    "S001, 16 → 64": Case(*_S001, 16),
    "S001, 8 → 64": Case(*_S001, 8),
    "biosemi128 s01, 31 → 124 good": Case(*_BIOSEMI, 31),
    "biosemi128 s01, 15 → 124 good": Case(*_BIOSEMI, 15),
}


def run_case(folder: Path, case: Case, settings: CalibrationSettings) -> dict[str, object]:
    """Calibrate, save, load, score; NMSE on unseen channels, pooled over the test runs."""
    started = time.perf_counter()
    calibrator = FieldCalibrator(case.n_ld, settings).fit([folder / f for f in case.train])
    took = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "case.emag")
        calibrator.save(path)
        bundle = load_bundle(path)
        runs = [evaluate_bundle(bundle, folder / f) for f in case.test]
    weights = np.array([run.seconds for run in runs])
    scores = {
        name: float(
            np.average([run.methods[name]["unseen"]["nmse"] for run in runs], weights=weights)
        )
        for name in METHODS
    }
    return {"nmse_unseen": scores, "seconds": took, "timings": calibrator.timings_}


@click.command()
@click.option("--refine/--no-refine", default=True)
@click.option("--case", "names", multiple=True, help="Only these cases.")
@click.option("--json", "as_json", is_flag=True)
def main(refine: bool, names: tuple[str, ...], as_json: bool) -> None:
    """Print the table."""
    data = os.environ.get("EMAG_RT_DATA")
    if not data:
        sys.exit("set EMAG_RT_DATA to the folder with the recordings")
    settings = CalibrationSettings(refine=refine)
    chosen = {name: case for name, case in CASES.items() if not names or name in names}
    results = {}
    click.echo(
        "| recording (LD → HD) | field | lagged ridge | ridge | spherical spline "
        "| field / lagged ridge | field / spline | to fit |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, case in chosen.items():
        results[name] = result = run_case(Path(data), case, settings)
        n = result["nmse_unseen"]
        click.echo(
            f"| {name} | {n['field']:.3f} | {n['lagged_ridge']:.3f} | {n['ridge']:.3f} "
            f"| {n['spherical_spline']:.3f} | {n['field'] / n['lagged_ridge']:.3f} "
            f"| {n['field'] / n['spherical_spline']:.2f} | {result['seconds']:.0f} s |"
        )
    if as_json:
        click.echo(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
