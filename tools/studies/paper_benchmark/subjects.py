"""All tasks of a benchmark: subject by subject, resumable, in parallel, failures put on record."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import emag_rt
from emag_rt.errors import EmagError, SettingsError
from tools.studies.datasets import Dataset, SubjectData, open_dataset
from tools.studies.paper_benchmark.methods import METHODS, check_methods
from tools.studies.paper_benchmark.problem import Problem, score, seconds
from tools.studies.paper_benchmark.protocols import make_problem
from tools.studies.paper_benchmark.results import DONE, FAILED, is_done, write_result
from tools.studies.paper_benchmark.task import (
    PROTOCOLS,
    BenchmarkSettings,
    Protocol,
    Task,
    result_path,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to run, in words that any machine of a cluster understands.

    Attributes
    ----------
    kind : str
        Kind of dataset; see :func:`tools.studies.datasets.open_dataset`.
    root : str or None
        Its folder.
    out : str
        Folder of the results.
    subjects : tuple of str
        Subjects; all of the dataset where empty.
    protocols, factors, methods
        Run in every combination.
    settings : BenchmarkSettings
        What changes numbers.
    """

    kind: str
    root: str | None
    out: str
    protocols: tuple[Protocol, ...]
    factors: tuple[int, ...]
    methods: tuple[str, ...]
    subjects: tuple[str, ...] = ()
    settings: BenchmarkSettings = field(default_factory=BenchmarkSettings)

    def __post_init__(self) -> None:
        check_methods(self.methods)
        wrong = [name for name in self.protocols if name not in PROTOCOLS]
        if wrong or not self.protocols:
            raise SettingsError(
                f"protocol must be one of {', '.join(PROTOCOLS)}, got {', '.join(wrong) or 'none'}."
            )
        if not self.factors or min(self.factors) < 2:
            raise SettingsError(f"factor must be at least 2, got {list(self.factors)}.")


@dataclass(frozen=True)
class Outcome:
    """What became of a subject."""

    subject: str
    n_done: int
    n_skipped: int
    failures: tuple[str, ...]


def paths_of(plan: Plan, dataset: Dataset, subject: str) -> dict[Task, Path]:
    """Tasks of a subject, and where each result is kept."""
    files = dataset.files(subject)
    tasks = [
        Task(subject, protocol, factor, method)
        for protocol in plan.protocols
        for factor in plan.factors
        for method in plan.methods
    ]
    return {t: result_path(Path(plan.out), dataset.name, t, plan.settings, files) for t in tasks}


def run_subject(plan: Plan, subject: str) -> Outcome:
    """Run what is missing of a subject; errors are recorded, none is raised.

    Parameters
    ----------
    plan : Plan
        What to run.
    subject : str
        The subject.

    Returns
    -------
    Outcome
        How many were run, how many were there, what failed.
    """
    failures: list[str] = []
    todo: dict[Task, Path] = {}
    paths: dict[Task, Path] = {}
    # One BLAS thread: subjects run side by side, and small eigenproblems gain nothing from more.
    with threadpool_limits(1, user_api="blas"):
        try:
            # On another machine the plan arrives unpickled: what it needs must be looked for there.
            check_methods(plan.methods)
            dataset = open_dataset(plan.kind, plan.root)
            paths = paths_of(plan, dataset, subject)
            todo = {task: path for task, path in paths.items() if not is_done(path)}
            data = dataset.load(subject) if todo else None
        except Exception as error:  # whatever is wrong with one subject, the others go on
            failures.append(f"{subject}: {_told(error)}")
            _record(todo, error)
            return Outcome(subject, 0, len(paths) - len(todo), tuple(failures))
        n_done, parent = 0, os.getppid()
        problems: dict[tuple[Protocol, int], Problem] = {}
        for task, path in todo.items():
            assert data is not None
            if os.getppid() != parent:
                # The command was killed: a worker must not go on unseen.
                failures.append(f"{subject}: the process that asked for it has ended")
                break
            try:
                result = _run(task, data, plan.settings, problems)
                write_result(path, {"dataset": dataset.name, **result})
                n_done += 1
            except Exception as error:  # as above, for one method
                name = f"{subject}, {task.protocol} x{task.factor} {task.method}"
                failures.append(f"{name}: {_told(error)}")
                _record({task: path}, error)
    return Outcome(subject, n_done, len(paths) - len(todo), tuple(failures))


def _run(
    task: Task,
    data: SubjectData,
    settings: BenchmarkSettings,
    problems: dict[tuple[Protocol, int], Problem],
) -> dict[str, Any]:
    at = task.protocol, task.factor
    if at not in problems:
        problems.clear()  # they are large, and tasks come protocol by protocol
        problems[at] = make_problem(data, *at, settings)
    problem = problems[at]
    started = time.perf_counter()
    predict = METHODS[task.method](problem, settings)
    fitted = time.perf_counter()
    predicted = [np.asarray(predict(x)) for x, _ in problem.test]
    return {
        "status": DONE,
        **asdict(task),
        "settings": asdict(settings),
        "n_channels": len(problem.montage),
        "n_ld": len(problem.ld),
        "n_unseen": len(problem.unseen),
        "ld": problem.ld_labels,
        "sfreq": problem.sfreq,
        "train_s": round(seconds(problem.train, problem.sfreq), 3),
        "test_s": round(seconds(problem.test, problem.sfreq), 3),
        "fit_s": round(fitted - started, 3),
        "render_s": round(time.perf_counter() - fitted, 3),
        "scores": score(problem, predicted),
        "notes": list(problem.notes),
        "version": emag_rt.__version__,
    }


def _told(error: Exception) -> str:
    """Errors of ours speak for themselves; others need their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, EmagError) else f"{type(error).__name__}: {text}"


def _record(tasks: dict[Task, Path], error: Exception) -> None:
    trace = "".join(traceback.format_exception(error))
    log.debug("%s", trace)
    for task, path in tasks.items():
        content = {"status": FAILED, **asdict(task), "error": _told(error), "traceback": trace}
        try:
            write_result(path, content)
        except SettingsError as also:  # the first error is the one to report
            log.error("%s", also)


def subjects_of(plan: Plan) -> Sequence[str]:
    """Subjects to run.

    Raises
    ------
    RecordingError
        If the dataset cannot be opened or lacks a subject that is named.
    """
    dataset = open_dataset(plan.kind, plan.root)
    for subject in plan.subjects:
        dataset.files(subject)
    return plan.subjects or tuple(dataset.subjects())
