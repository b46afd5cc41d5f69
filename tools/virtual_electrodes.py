"""Accuracy at electrodes nobody wore, on real recordings, held-out runs, with baselines.

    EMAG_RT_DATA=... python tools/virtual_electrodes.py [--no-refine] [--more] [--case NAME]...

Leaves an eighth of the HD electrodes out of calibration altogether (evenly spread, not LD),
calibrates on the rest, renders at the places of those left out; the mean over several choices of
electrodes. Ratios are of means. See calibration/virtual.py.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from calibration import CalibrationSettings
from calibration.virtual import METHODS, VirtualScores, score_virtual
from emag_rt.recordings.read import Recording, read_recording


@dataclass(frozen=True)
class Case:
    """Recordings of one subject; without test runs, the last quarter of each is held out."""

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
MORE = {
    "S001 rest (R01 → R02), 16": Case(("S001R01.edf",), ("S001R02.edf",), 16),
    "S004R01, 16 (3/4 → 1/4)": Case(("S004R01_raw.fif",), (), 16),
    "rank57, 16 (3/4 → 1/4)": Case(("rank57_biosemi64_raw.fif",), (), 16),
}


def read_case(folder: Path, case: Case) -> tuple[list[Recording], list[Recording]]:
    """Recordings to calibrate on, and held out."""
    train = [read_recording(folder / name) for name in case.train]
    if case.test:
        return train, [read_recording(folder / name) for name in case.test]
    parts = [_halves(recording, 0.75) for recording in train]
    return [first for first, _ in parts], [last for _, last in parts]


def _halves(recording: Recording, share: float) -> tuple[Recording, Recording]:
    cut = round(share * len(recording.data_uv))
    segments = np.array(recording.segments)
    early = [(a, min(b, cut)) for a, b in segments.tolist() if a < cut]
    late = [(max(a, cut) - cut, b - cut) for a, b in segments.tolist() if b > cut]
    return (
        replace(recording, data_uv=recording.data_uv[:cut], segments=tuple(early)),
        replace(recording, data_uv=recording.data_uv[cut:], segments=tuple(late)),
    )


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
@click.option("--case", "names", multiple=True, help="Only these cases.")
@click.option("--more", is_flag=True, help="Recordings that no choice was made on.")
@click.option("--rotations", default=8, show_default=True, help="Choices of electrodes left out.")
@click.option("--json", "as_json", is_flag=True)
def main(refine: bool, names: tuple[str, ...], more: bool, rotations: int, as_json: bool) -> None:
    """Print the table."""
    data = os.environ.get("EMAG_RT_DATA")
    if not data:
        sys.exit("set EMAG_RT_DATA to the folder with the recordings")
    settings = CalibrationSettings(refine=refine)
    known = {**CASES, **MORE}
    if unknown := set(names) - set(known):
        sys.exit(f"--case must be one of {', '.join(known)}; got {', '.join(unknown)}")
    chosen = names or tuple(MORE if more else CASES)
    results = {}
    click.echo(
        "| recording (LD → HD) | field | expected | spline from LD | spline from rendered HD "
        "| spline from true HD | field / from LD | field / from rendered | left out | took |"
    )
    click.echo("| " + " | ".join(["---"] * 10) + " |")
    for name in chosen:
        started = time.perf_counter()
        case = known[name]
        train, test = read_case(Path(data), case)
        scores = score_virtual(train, test, case.n_ld, settings, rotations)
        results[name] = [asdict(score) for score in scores]
        click.echo(row_of(name, scores, time.perf_counter() - started))
    if as_json:
        click.echo(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
