"""One person after the other: calibrate, render, learn, decide; what is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from emag_rt.array_types import IndexArray
from emag_rt.bundle import Bundle
from emag_rt.errors import EmagError
from tools.studies.datasets.eegmmidb import EegMmiDb
from tools.studies.decoders.classifiers import DECODERS, Decoder
from tools.studies.decoders.pairings import Pairing, others_pairings, own_pairings
from tools.studies.decoders.trials import (
    BAND_HZ,
    TASKS,
    WINDOW_S,
    Trials,
    calibrated,
    lent_trials,
    load_trials,
)
from tools.studies.paper_benchmark.results import DONE, read_result, write_result

Decided = dict[str, list[int]]
Make = Callable[[], Decoder]
Split = tuple[IndexArray, IndexArray, dict[str, Pairing]]
Files = Mapping[str, Mapping[int, Path]]
"""Runs of each person."""


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes
    ----------
    out : Path
        Folder of results and bundles.
    files : mapping of str to mapping of int to Path
        Runs of each person who has what the task needs.
    task : str
        One of ``TASKS``.
    n_ld : int
        LD channels, spread over the cap.
    decoders : tuple of str
        Some of ``DECODERS``.
    refine : bool
        Whether the field has its networks.
    others : bool
        Whether decoders of other people are tried, too.
    """

    out: Path
    files: Files
    task: str
    n_ld: int
    decoders: tuple[str, ...]
    refine: bool
    others: bool = True

    def path(self, person: str, decoder: str, whose: str) -> Path:
        """Where decisions are kept; ``whose`` decoder: ``own`` or ``others``."""
        field = "refined" if self.refine else "closed"
        return self.out / self.task / f"{self.n_ld}-{field}" / person / f"{decoder}-{whose}.json"

    def settings(self, person: str, whose: str) -> dict[str, Any]:
        """What changes numbers; results of other settings are made again."""
        task = TASKS[self.task]
        return {
            "decoded": [run for run in task.decoded if run in self.files[person]],
            "calibration": list(task.calibration),
            "band_hz": list(BAND_HZ),
            "window_s": list(WINDOW_S),
            "others": sorted(set(self.files) - {person}) if whose == "others" else [],
        }

    def found(self, person: str, decoder: str, whose: str) -> dict[str, Any] | None:
        """A finished result of these settings."""
        result = read_result(self.path(person, decoder, whose))
        if result is None or result["status"] != DONE:
            return None
        return result if result["settings"] == self.settings(person, whose) else None


def runs_of(folder: Path, task: str, only: tuple[str, ...] = ()) -> Files:
    """People who have the runs of a task: those to calibrate on, and one to decode or more."""
    data = EegMmiDb(folder)
    found = {}
    for person in only or data.subjects():
        runs = {int(path.name[5:7]): path for path in data.files(person)}
        if set(TASKS[task].calibration) <= set(runs) and set(TASKS[task].decoded) & set(runs):
            found[person] = runs
    return found


def run_person(plan: Plan, person: str) -> str:
    """Do what is missing of a person.

    Returns
    -------
    str
        What was done, or what failed.
    """
    whose = ("own", "others") if plan.others and len(plan.files) > 2 else ("own",)
    todo = [(d, w) for d in plan.decoders for w in whose if plan.found(person, d, w) is None]
    if not todo:
        return f"{person}: there already"
    started = time.perf_counter()
    # One thread: people run side by side, and small eigenproblems gain nothing from more.
    with threadpool_limits(1):
        try:
            _decide_all(plan, person, todo)
        except (EmagError, ValueError, np.linalg.LinAlgError) as error:  # the others go on
            return f"{person}: failed: {type(error).__name__}: {error}"
    return f"{person}: {len(todo)} done ({time.perf_counter() - started:.0f} s)"


def _decide_all(plan: Plan, person: str, todo: list[tuple[str, str]]) -> None:
    task, files = TASKS[plan.task], plan.files[person]
    runs = "-".join(map(str, task.calibration))
    field = "refined" if plan.refine else "closed"
    place = plan.out / "bundles" / f"{person}-{plan.n_ld}-{runs}-{field}.emag"
    bundle = calibrated([files[run] for run in task.calibration], plan.n_ld, plan.refine, place)
    trials = load_trials(bundle, task, files)
    own = by_split(bundle, trials) if any(w == "own" for _, w in todo) else []
    others = None
    if any(w == "others" for _, w in todo):
        lent = [
            lent_trials(
                tuple(runs[run] for run in task.decoded if run in runs),
                bundle.manifest.frontend.band_hz,
            )
            for name, runs in plan.files.items()
            if name != person
        ]
        others = others_pairings(bundle, trials, lent, "net" in plan.decoders)
    for decoder, whose in todo:
        make = DECODERS[decoder]
        if whose == "own":
            decided = decide_by_split(own, trials.classes, make)
        else:
            assert others is not None
            decided = {k: told.tolist() for k, told in decide(*others, make).items()}
        content = {"status": DONE, "settings": plan.settings(person, whose)}
        content |= {"classes": trials.classes.tolist(), "decided": decided}
        write_result(plan.path(person, decoder, whose), content)


def by_split(bundle: Bundle, trials: Trials) -> list[Split]:
    """Trials to learn from and to read, and the pairings, with each split left out once."""
    found = []
    for split in sorted(set(trials.splits)):
        train, test = np.flatnonzero(trials.splits != split), np.flatnonzero(trials.splits == split)
        found.append((train, test, own_pairings(bundle, trials, train, test)))
    return found


def decide_by_split(splits: Sequence[Split], classes: IndexArray, make: Make) -> Decided:
    """Every trial, by the person's own decoder that learned from the other splits."""
    decided: Decided = {}
    for train, test, pairings in splits:
        for name, told in decide(pairings, classes[train], make).items():
            row = decided.setdefault(name, [-1] * len(classes))
            for i, k in zip(test, told, strict=True):
                row[i] = int(k)
    return decided


def decide(
    pairings: Mapping[str, Pairing], classes: IndexArray, make: Make
) -> dict[str, IndexArray]:
    """Learn each kind of trials once, and read."""
    fitted: dict[str, Decoder] = {}
    found = {}
    for name, pairing in pairings.items():
        decoder = make()
        if decoder.needs_signals and (
            pairing.train.signals is None or pairing.test.signals is None
        ):
            continue
        if pairing.learned not in fitted:
            decoder.fit(pairing.train, classes)
            fitted[pairing.learned] = decoder
        found[name] = fitted[pairing.learned].decide(pairing.test)
    return found
