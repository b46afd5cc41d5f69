"""Make a population: many people's lagged covariances, for heads whose HD nobody measured.

    python -m tools.studies.population FOLDER --out adult.safetensors --name adult

FOLDER holds runs named as PhysioNet's eegmmidb (S001R03.edf), a folder for each person, or a file
for each. Every person is read, filtered and reduced to its statistics by itself: on one core, on
several (--jobs), or on a Dask cluster (--dask), which costs a few seconds a person.
`emag-rt calibrate --no-hd --population FILE` then uses the result. For children, for patients or
for another cap, make one of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np

from calibration.population.people import Population, save_population
from calibration.population.statistics import PersonStatistics, person_statistics, repaired
from emag_rt import __version__
from emag_rt.errors import CalibrationError, EmagError
from emag_rt.frontend import design_band
from emag_rt.recordings.read import read_recording
from tools.studies.paper_benchmark.parallel import side_by_side
from tools.studies.population.folders import people_of

SFREQ = 160.0
BAND_HZ = (0.5, 45.0)
EEGMMIDB = {
    "dataset": "PhysioNet EEG Motor Movement/Imagery Database 1.0.0",
    "licence": "ODC-By 1.0",
    "attribution": "G. Schalk, D. J. McFarland, T. Hinterberger, N. Birbaumer, J. R. Wolpaw, "
    "BCI2000: A General-Purpose Brain-Computer Interface (BCI) System, IEEE TBME 51, 2004; "
    "A. L. Goldberger et al., PhysioBank, PhysioToolkit, and PhysioNet, Circulation 101, 2000. "
    "Contains information from https://physionet.org/content/eegmmidb/1.0.0/, which is made "
    "available under the ODC Attribution License.",
}


def reduce_person(person: tuple[str, Sequence[Path]], labels: Sequence[str]) -> PersonStatistics:
    """Read one person and keep the statistics."""
    name, files = person
    recordings = [read_recording(path, sfreq=SFREQ, need_positions=False) for path in files]
    return person_statistics(name, recordings, labels, design_band(*BAND_HZ, SFREQ))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="File to write.")
@click.option("--name", default="own", show_default=True, help="What it is called.")
@click.option("--people", default="", help="Only these: S001,S002,...")
@click.option("--leave-out", default="", help="All but these.")
@click.option("--dataset", default="", help="Data set, for the file's provenance.")
@click.option("--licence", default="", help="Licence of the data.")
@click.option("--attribution", default="", help="Whom to name.")
@click.option("--jobs", default=1, show_default=True, help="Processes; -1: one a core.")
@click.option("--dask", help="Address of a Dask scheduler instead: tcp://node0:8786.")
def main(
    folder: Path,
    out: str,
    name: str,
    people: str,
    leave_out: str,
    dataset: str,
    licence: str,
    attribution: str,
    jobs: int,
    dask: str | None,
) -> None:
    """Make a population of FOLDER."""
    chosen = "".join(
        f" --{key} {value}"
        for key, value in (("people", people), ("leave-out", leave_out))
        if value
    )
    given = {
        "dataset": dataset,
        "licence": licence,
        "attribution": attribution,
        "command": f"python -m tools.studies.population FOLDER --name {name}{chosen}",
    }
    try:
        everyone = people_of(folder, _names(people), _names(leave_out))
        population = make_population(everyone, name, given, jobs, dask)
        save_population(population, out)
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(
        f"{out}: {population.n_people} people, {len(population.places)} places, "
        f"{population.n_lags} lags at {SFREQ:g} Hz, {Path(out).stat().st_size / 1e6:.1f} MB"
    )


def make_population(
    people: dict[str, list[Path]],
    name: str,
    given: dict[str, str],
    jobs: int = 1,
    dask: str | None = None,
) -> Population:
    """Read everyone; the places are those of the first person's montage.

    Raises
    ------
    EmagError
        If recordings cannot be read, or fewer than three people can be used.
    """
    first = read_recording(next(iter(people.values()))[0], sfreq=SFREQ)
    places = first.montage()

    work = partial(_reduce_or_skip, labels=places.labels)
    results = side_by_side(work, list(people.items()), jobs=jobs, dask=dask, report=_tell)
    used = sorted((p for p in results if isinstance(p, PersonStatistics)), key=lambda p: p.name)
    if len(used) < 3:
        raise CalibrationError(f"a population must have at least 3 people, got {len(used)}.")
    covariances, amplitudes = repaired(used, places.positions_mm)
    names = [person.name for person in used]
    runs = [path.name for person in names for path in people[person]]
    eegmmidb = all(run[:1] == "S" and run[4:5] == "R" for run in runs)
    texts = {**(EEGMMIDB if eegmmidb else {}), **{k: v for k, v in given.items() if v}}
    return Population(
        places=places,
        origin_mm=np.asarray(first.origin_mm, dtype=np.float64),
        radius_mm=float(first.radius_mm),
        sfreq=SFREQ,
        band_hz=BAND_HZ,
        covariances=covariances,
        amplitudes_uv=amplitudes,
        texts={
            **texts,
            "name": name,
            "people": ",".join(names),
            "runs": ",".join(runs),
            "made_with": f"emag_rt {__version__}",
        },
    )


def _reduce_or_skip(
    person: tuple[str, Sequence[Path]], labels: Sequence[str]
) -> PersonStatistics | str:
    """A person who cannot be used is left out, and named."""
    try:
        return reduce_person(person, labels)
    except CalibrationError as error:
        return f"left out: {error}"


def _tell(result: PersonStatistics | str) -> None:
    if isinstance(result, PersonStatistics):
        notes = "; ".join(result.notes) or "all electrodes good"
        result = f"{result.name}: {result.seconds:.0f} s; {notes}"
    click.echo(result, err=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    main()
