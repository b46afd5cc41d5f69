"""Subjects side by side: in processes of this machine, or over a Dask cluster; both by joblib."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from emag_rt.errors import EmagError, SettingsError
from tools.studies.paper_benchmark.subjects import Outcome, Plan, run_subject

Report = Callable[[Outcome], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


def run_subjects(
    plan: Plan,
    subjects: Sequence[str],
    *,
    jobs: int = 1,
    dask: str | None = None,
    report: Report | None = None,
) -> list[Outcome]:
    """Run every subject of a plan.

    Parameters
    ----------
    plan : Plan
        What to run.
    subjects : sequence of str
        Subjects.
    jobs : int
        Processes on this machine; -1 for one a core. 1 runs in this process.
    dask : str, optional
        Address of a Dask scheduler, e.g. ``tcp://node0:8786``. Its workers need this clone
        and the folders of data and results at the same paths.
    report : callable, optional
        Called with the outcome of each subject as it ends.

    Returns
    -------
    list of Outcome
        One a subject.

    Raises
    ------
    SettingsError
        If ``jobs`` is 0, a library is missing, or the scheduler does not answer.
    EmagError
        If a worker was killed (out of memory, as a rule); what it finished is kept.
    """
    return side_by_side(partial(run_subject, plan), subjects, jobs=jobs, dask=dask, report=report)


def side_by_side(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int = 1,
    dask: str | None = None,
    report: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Do the same work for many items; arguments and errors of :func:`run_subjects`.

    Parameters
    ----------
    work : callable
        Takes an item; may raise an ``EmagError``.
    items : sequence
        What it takes.

    Returns
    -------
    list
        Results in the order in which they came.
    """
    if jobs == 0 or jobs < -1:
        raise SettingsError(f"jobs must be -1 or at least 1, got {jobs}.")
    tell = report or (lambda _outcome: None)
    outcomes: list[Result] = []
    if jobs == 1 and dask is None:  # plain calls: nothing to install, and easy to debug
        for item in items:
            outcomes.append(work(item))
            tell(outcomes[-1])
        return outcomes
    try:
        from joblib import Parallel, delayed, parallel_config
    except ImportError as error:
        raise SettingsError(
            "jobs above 1 needs joblib, which is not installed: pip install '.[studies]'."
        ) from error
    calls = [delayed(work)(item) for item in items]
    try:
        with _backend(parallel_config, jobs, dask):
            for outcome in Parallel(return_as="generator_unordered")(calls):
                outcomes.append(outcome)
                tell(outcome)
    except EmagError:
        raise
    except Exception as error:  # a subject's own errors are caught where they happen
        raise EmagError(
            f"a worker must not end before its subject does, got {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}. Use fewer jobs if memory ran out; run the "
            "same command again to go on from what is finished."
        ) from error
    return outcomes


@contextlib.contextmanager
def _backend(parallel_config: Any, jobs: int, dask: str | None) -> Iterator[None]:
    if dask is None:
        with parallel_config(backend="loky", n_jobs=jobs):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingsError(
            "a Dask cluster needs distributed, which is not installed: pip install '.[studies]'."
        ) from error
    try:
        client = Client(dask, timeout="10s", set_as_default=True)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"dask must be the address of a running scheduler, e.g. tcp://node0:8786, got "
            f"{dask!r} ({type(error).__name__}: {error}). Start one with: dask scheduler"
        ) from error
    with client, parallel_config(backend="dask", wait_for_workers_timeout=60):
        yield
