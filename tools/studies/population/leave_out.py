"""Leave one person out: how well the field of the others does on each person's own recording.

    python -m tools.studies.population.leave_out FOLDER POPULATION --train R03 --test R04

For every person of the population a bundle is made of the others, as `calibrate --no-hd` makes it
(alone, and with a minute of the person's LD channels), and scored on that person's test run through
the engine that serves, beside the spatial methods and lagged ridge on 30 s of their own HD. Prints
Markdown; --other scores recordings of other caps by the whole population. --own 10,30 scores the
closed form on so many seconds of the person's own HD instead, with the others as prior and without;
with --networks, where train_network put a network of each split, also with networks upon it: under
20 s that of the others, else the session's own beside it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.population.network import PopulationNetwork, load_network, save_network
from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
from calibration.population.people import Population, load_population, save_population
from calibration.scores.held_out import evaluate_recording
from calibration.settings.calibration_settings import NO_PRIOR
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import spread_choice
from emag_rt.errors import EmagError
from emag_rt.recordings.read import Recording, read_recording
from tools.studies.cases import cut
from tools.studies.population.folders import people_of

OWN_HD_S = 30.0
METHODS = ("field", "field_ld", "spherical_spline", "minimum_norm", "own_ridge")
_ENGINE = "packed"


def without(population: Population, *people: str) -> Population:
    """The population without some people; all of it where they are not in it."""
    names = population.texts["people"].split(",")
    kept = [i for i, name in enumerate(names) if name not in people]
    return replace(
        population,
        covariances=population.covariances[kept],
        amplitudes_uv=population.amplitudes_uv[kept],
        texts={**population.texts, "people": ",".join(names[i] for i in kept)},
    )


def score_person(
    population: Population, labels: Sequence[str], train: Path, test: Path
) -> dict[str, float]:
    """NMSE on unseen channels of every method, on one person's test run."""
    recording = read_recording(test)
    settings = NoHdSettings(tuple(labels), "cap", recording.sfreq)
    alone = calibrate_without_hd(settings, (), population)
    scored = evaluate_recording(alone.bundle, recording, _ENGINE)
    with_ld = calibrate_without_hd(settings, [train], population)
    found = {name: values["unseen"]["nmse"] for name, values in scored.methods.items()}
    found["field_ld"] = evaluate_recording(with_ld.bundle, recording, _ENGINE).methods["field"][
        "unseen"
    ]["nmse"]
    found["own_ridge"] = _own_ridge(labels, train, recording)
    return found


def score_short(
    population: Population,
    labels: Sequence[str],
    train: Path,
    test: Path,
    seconds: float,
    network: PopulationNetwork | None,
) -> dict[str, float]:
    """NMSE on unseen channels after a short HD session, alone and with a prior of the others."""
    recording = read_recording(test)
    with tempfile.TemporaryDirectory() as below:
        others = str(Path(below, "others.safetensors"))
        save_population(population, others)
        kinds = {"alone": (NO_PRIOR, False), "prior": (others, False)}
        if network is not None:
            save_network(network, Path(below, "others.network.safetensors"))
            kinds["network"] = (others, True)
        return {
            name: _own(labels, train, recording, seconds, prior, refine)["field"]
            for name, (prior, refine) in kinds.items()
        }


def _own_ridge(labels: Sequence[str], train: Path, test: Recording) -> float:
    return _own(labels, train, test, OWN_HD_S, NO_PRIOR)["lagged_ridge"]


def _own(
    labels: Sequence[str],
    train: Path,
    test: Recording,
    seconds: float,
    prior: str,
    refine: bool = False,
) -> dict[str, float]:
    """NMSE on unseen channels by method, fitted to a person's own first seconds of HD."""
    first = read_recording(train)
    try:
        own = FieldCalibrator(list(labels), CalibrationSettings(refine=refine, prior=prior))
        bundle = own.fit([cut(first, 0, round(seconds * first.sfreq))]).result_.bundle
    except EmagError:
        return defaultdict(lambda: float("nan"))  # an LD electrode is bad in these seconds
    scored = evaluate_recording(bundle, test, _ENGINE).methods
    return {name: values["unseen"]["nmse"] for name, values in scored.items()}


def score_cap(population: Population, path: Path, n_ld: int) -> dict[str, float]:
    """NMSE on unseen channels of a recording with another cap, by the whole population."""
    recording = read_recording(path)
    montage = recording.montage()
    good = [i for i, a in enumerate(montage.labels) if a not in recording.bads]
    ld = [montage.labels[good[i]] for i in spread_choice(montage.positions_mm[good], n_ld)]
    lines = ["name\tx_mm\ty_mm\tz_mm"]
    for label, (x, y, z) in zip(montage.labels, montage.positions_mm, strict=True):
        lines.append(f"{label}\t{x:.3f}\t{y:.3f}\t{z:.3f}")
    with tempfile.TemporaryDirectory() as below:
        places = Path(below, "cap.tsv")
        places.write_text("\n".join(lines), encoding="utf-8")
        settings = NoHdSettings(tuple(ld), str(places), recording.sfreq)
        made = calibrate_without_hd(settings, (), population)
    scored = evaluate_recording(made.bundle, recording, _ENGINE)
    return {name: values["unseen"]["nmse"] for name, values in scored.methods.items()}


def summary(rows: Sequence[dict[str, float]]) -> list[str]:
    """Lines of a table: each method over the spline, median and worst."""
    spline = np.array([row["spherical_spline"] for row in rows])
    lines = [
        "| method | median NMSE | over the spline, median | worst |",
        "| --- | --- | --- | --- |",
    ]
    for name in METHODS:
        if name not in rows[0]:
            continue
        values: FloatArray = np.array([row[name] for row in rows])
        over = values / spline
        lines.append(
            f"| {name} | {np.nanmedian(values):.3f} | {np.nanmedian(over):.3f} "
            f"| {np.nanmax(over):.3f} |"
        )
    return lines


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("name", default="adult")
@click.option("--train", default="R03", show_default=True, help="Run of LD and of 30 s of HD.")
@click.option("--test", default="R04", show_default=True, help="Run that is scored.")
@click.option("--ld", default="16,8", show_default=True, help="Counts of LD channels.")
@click.option("--own", default="", help="Seconds of own HD to calibrate on, such as 10,30.")
@click.option(
    "--networks", type=click.Path(file_okay=False, path_type=Path), help="Folder of the splits'."
)
@click.option("--other", multiple=True, help="Recording of another cap.")
def main(
    folder: Path,
    name: str,
    train: str,
    test: str,
    ld: str,
    own: str,
    networks: Path | None,
    other: tuple[str, ...],
) -> None:
    """Print the tables."""
    lengths = [float(seconds) for seconds in own.split(",") if seconds]
    try:
        population = load_population(name)
        files = [] if networks is None else networks.glob("*.network.*.safetensors")
        of_splits = [load_network(file) for file in files]
        for count in map(int, ld.split(",")):
            if lengths:
                _own_table(folder, population, count, train, test, lengths, of_splits)
                continue
            _people_table(folder, population, count, train, test)
            for path in other:
                found = score_cap(population, folder / path, count)
                over = found["field"] / found["spherical_spline"]
                click.echo(f"{path}, {count} LD: {found['field']:.3f}, {over:.3f} of the spline")
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def _own_table(
    folder: Path,
    population: Population,
    count: int,
    train: str,
    test: str,
    lengths: list[float],
    networks: Sequence[PopulationNetwork],
) -> None:
    """Errors over those of lagged ridge on 30 s, and with the prior over without."""
    labels = _spread(population, count)
    rows = []
    for person, of_run in _runs(folder, population).items():
        paths = of_run[train], of_run[test]
        row = {"ridge": _own_ridge(labels, paths[0], read_recording(paths[1]))}
        trained = {network: network.texts["people"].split(",") for network in networks}
        network = next((n for n, names in trained.items() if person not in names), None)
        left_out = {person}
        if network is not None:  # it goes with the people that it was trained on
            left_out = set(population.texts["people"].split(",")) - set(trained[network])
        others = without(population, *left_out)
        for seconds in lengths:
            found = score_short(others, labels, *paths, seconds, network)
            row |= {f"{key} {seconds:g}": value for key, value in found.items()}
        rows.append(row)
        told = ", ".join(f"{key} {value:.4f}" for key, value in row.items())
        click.echo(f"{count} {person}: {told}", err=True)
    click.echo("| LD | own HD | method | over ridge, median | over alone, median | worst |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    ridge = np.array([row["ridge"] for row in rows])
    for seconds in lengths:
        alone = np.array([row[f"alone {seconds:g}"] for row in rows])
        for method in ("alone", "prior", "network") if networks else ("alone", "prior"):
            error = np.array([row[f"{method} {seconds:g}"] for row in rows])
            click.echo(
                f"| {count} | {seconds:g} s | {method} | {np.nanmedian(error / ridge):.3f} "
                f"| {np.nanmedian(error / alone):.3f} | {np.nanmax(error / alone):.3f} |"
            )


def _spread(population: Population, count: int) -> list[str]:
    places = population.places
    return [places.labels[i] for i in spread_choice(places.positions_mm, count)]


def _runs(folder: Path, population: Population) -> dict[str, dict[str, Path]]:
    """Every person's recordings by the name of the run."""
    return {
        person: {path.stem.removeprefix(person)[:3]: path for path in paths}
        for person, paths in people_of(folder, population.texts["people"].split(",")).items()
    }


def _people_table(folder: Path, population: Population, count: int, train: str, test: str) -> None:
    labels = _spread(population, count)
    click.echo(f"\n{count} of {len(population.places)}: {', '.join(labels)}")
    rows = []
    for person, of_run in _runs(folder, population).items():
        row = score_person(without(population, person), labels, of_run[train], of_run[test])
        rows.append(row)
        told = ", ".join(f"{key} {row[key]:.3f}" for key in METHODS)
        click.echo(f"{person}: {told}", err=True)
    click.echo("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
