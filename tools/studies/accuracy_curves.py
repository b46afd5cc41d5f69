"""Curves of accuracy on real recordings: calibration length, look-ahead, frequency bands.

    EMAG_RT_DATA=... python -m tools.studies.accuracy_curves
        [--curve length] [--case NAME]... [--no-refine]

Everything is on unseen channels of held-out runs (or of the last quarter of a recording), through
the bundle and engine that serve, beside the baselines of the same run. A short calibration is cut
from several places of the training runs, so that no figure hangs on one lucky stretch; the cut
comes before the front end, as if no more had been recorded. Prints Markdown; --json adds it all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.scores.held_out import Evaluation, evaluate_recording
from emag_rt.core.scores import BANDS_HZ
from emag_rt.errors import CalibrationError
from emag_rt.recordings.read import Recording
from tools.studies.cases import (
    CASES,
    USUAL,
    Case,
    cut,
    data_folder,
    pooled_nmse,
    read_case,
)

LENGTHS_S = (10.0, 30.0, 60.0, 120.0, 240.0)
LOOK_AHEADS_S = (0.0, 0.0125, 0.025, 0.05, 0.1)
BASELINE = "lagged_ridge"


def stretches(
    recordings: Sequence[Recording], length_s: float, n_offsets: int
) -> Iterator[list[Recording]]:
    """Cut stretches of usable signal at even offsets; all of it where there is not more."""
    usable = [sum(b - a for a, b in r.segments) for r in recordings]
    length, total = round(length_s * recordings[0].sfreq), sum(usable)
    if length >= total:
        yield list(recordings)
        return
    for start in np.linspace(0, total - length, n_offsets).astype(int):
        yield _stretch(recordings, int(start), int(start) + length)


def _stretch(recordings: Sequence[Recording], start: int, stop: int) -> list[Recording]:
    """Usable samples start to stop, counted through all recordings."""
    kept, seen = [], 0
    for recording in recordings:
        bounds = []
        for a, b in recording.segments:
            first, last = max(start - seen, 0), min(stop - seen, b - a)
            if first < last:
                bounds += [a + first, a + last]
            seen += b - a
        if bounds:
            kept.append(cut(recording, bounds[0], bounds[-1]))
    return kept


def pooled(runs: Sequence[Evaluation], kind: str) -> dict[str, dict[str, float]]:
    """Mean of ``bands`` or ``psd_errors`` over the test runs, weighted by their lengths."""
    weights = np.array([run.seconds for run in runs])
    first = getattr(runs[0], kind)
    return {
        name: {
            band: float(np.average([getattr(r, kind)[name][band] for r in runs], weights=weights))
            for band in bands
        }
        for name, bands in first.items()
    }


def measure(
    train: Sequence[Recording],
    test: Sequence[Recording],
    n_ld: int,
    settings: CalibrationSettings,
) -> dict[str, Any]:
    """Calibrate and score: NMSE on unseen channels, all and by band, and band-power errors."""
    calibration = FieldCalibrator(n_ld, settings).fit(list(train)).result_
    runs = [evaluate_recording(calibration.bundle, recording) for recording in test]
    return {
        "nmse": pooled_nmse(runs),
        "bands": pooled(runs, "bands"),
        "psd_errors": pooled(runs, "psd_errors"),
        "fitted_s": calibration.session.duration_s,
        "prior": vars(calibration.stream.linear.prior),
        "closed_form_s": calibration.timings["closed_form"],
    }


def ratios(results: Sequence[dict[str, Any]]) -> list[float]:
    """Error of the field over that of lagged ridge, a result."""
    return [result["nmse"]["field"] / result["nmse"][BASELINE] for result in results]


def length_rows(
    name: str, case: Case, folder: Path, settings: CalibrationSettings, lengths: Sequence[float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of the calibration-length table."""
    train, test = read_case(folder, case)
    for length in lengths:
        results, refused = [], 0
        n_offsets = 4 if length <= 60 else 2
        for piece in stretches(train, length, n_offsets):
            try:
                results.append(measure(piece, test, case.n_ld, settings))
            except CalibrationError as error:
                refused += 1
                click.echo(f"{name}, {length:g} s: {error}", err=True)
        if not results:
            continue
        found = ratios(results)
        medians = {
            key: float(np.median([r["nmse"][key] for r in results]))
            for key in ("field", BASELINE, "ridge", "spherical_spline")
        }
        seconds = float(np.median([r["fitted_s"] for r in results]))
        row = (
            f"| {name} | {length:g} s ({seconds:.0f} fitted) | {len(results)} "
            + "".join(f"| {value:.4f} " for value in medians.values())
            + f"| {np.median(found):.3f} | {max(found):.3f} |"
        )
        yield row, {"case": name, "length_s": length, "refused": refused, "results": results}
        if len(results) + refused == 1:
            return  # everything there is has been used


def look_ahead_rows(
    name: str, case: Case, folder: Path, settings: CalibrationSettings, ahead: Sequence[float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of the look-ahead table."""
    train, test = read_case(folder, case)
    first: float | None = None
    for seconds in ahead:
        result = measure(train, test, case.n_ld, replace(settings, look_ahead_s=seconds))
        nmse = result["nmse"]
        first = nmse["field"] if first is None else first
        row = (
            f"| {name} | {1e3 * seconds:g} ms | {nmse['field']:.4f} | {nmse[BASELINE]:.4f} "
            f"| {nmse['field'] / nmse[BASELINE]:.3f} | {nmse['field'] / first:.3f} |"
        )
        yield row, {"case": name, "look_ahead_s": seconds, **result}


def band_rows(
    name: str, case: Case, folder: Path, settings: CalibrationSettings
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of the band table: NMSE / error of band power, a method."""
    train, test = read_case(folder, case)
    result = measure(train, test, case.n_ld, settings)
    for method in result["nmse"]:
        cells = [
            f"| {result['bands'][method][band]:.3f} / {result['psd_errors'][method][band]:.3f} "
            if band in result["bands"][method]
            else "| – "
            for band in BANDS_HZ
        ]
        yield f"| {name} | {method} {''.join(cells)}|", {"case": name, "method": method, **result}


HEADERS = {
    "length": "| case | calibration | stretches | field | lagged ridge | ridge | spherical spline "
    "| field / lagged ridge, median | worst |",
    "look-ahead": "| case | look-ahead | field | lagged ridge, same look-ahead | ratio "
    "| field / field at 0 |",
    "bands": "| case | method | " + " | ".join(BANDS_HZ) + " |",
}


@click.command()
@click.option("--curve", "curves", multiple=True, type=click.Choice(list(HEADERS)))
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)))
@click.option("--length-s", "lengths", multiple=True, type=float, default=LENGTHS_S)
@click.option("--look-ahead-s", "ahead", multiple=True, type=float, default=LOOK_AHEADS_S)
@click.option("--refine/--no-refine", default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    curves: tuple[str, ...],
    names: tuple[str, ...],
    lengths: tuple[float, ...],
    ahead: tuple[float, ...],
    refine: bool,
    as_json: bool,
) -> None:
    """Print the curves; all of them, on the usual four cases, unless told otherwise."""
    folder, settings = data_folder(), CalibrationSettings(refine=refine, prior="none")
    everything: dict[str, list[dict[str, Any]]] = {}
    for curve in curves or tuple(HEADERS):
        header = HEADERS[curve]
        click.echo(f"\n{header}\n|{' --- |' * (header.count('|') - 1)}")
        for name in names or USUAL:
            case = CASES[name]
            if curve == "length":
                rows = length_rows(name, case, folder, settings, lengths)
            elif curve == "look-ahead":
                rows = look_ahead_rows(name, case, folder, settings, ahead)
            else:
                rows = band_rows(name, case, folder, settings)
            for row, result in rows:
                click.echo(row)
                everything.setdefault(curve, []).append(result)
    if as_json:
        click.echo(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
