"""The paper's protocol and ours over all subjects of a dataset, with every baseline.

On one machine, one process a core (drop --jobs for one process):

    python -m tools.studies.paper_benchmark seed SEED_FOLDER --out results --jobs -1

Over many machines: start `dask scheduler` on one, and on each, in a clone of the repository with
the folders of data and results at the same paths,
`PYTHONPATH=. dask worker tcp://node0:8786 --nthreads 1`; then

    python -m tools.studies.paper_benchmark seed SEED_FOLDER --out results --dask tcp://node0:8786

The dataset is localize-mi, seed, seed-iv, eegmmidb or bids. Every result is a JSON file of its own
in the folder --out, so the command may be interrupted: run it again, and it goes on. Tables are
printed and written to OUT/tables.md. Exit codes: 0 everything done, 1 some subject or method
failed (named at the end, and tried again by the next run), 2 wrong arguments, 130 interrupted by
SIGINT or SIGTERM; other codes are those of emag-rt (3: the dataset cannot be read, ...).
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from emag_rt.errors import EmagError
from tools.studies.datasets import KINDS, open_dataset
from tools.studies.paper_benchmark.methods import METHODS
from tools.studies.paper_benchmark.parallel import run_subjects
from tools.studies.paper_benchmark.report import markdown, read_results
from tools.studies.paper_benchmark.results import write_text
from tools.studies.paper_benchmark.subjects import Outcome, Plan, paths_of, subjects_of
from tools.studies.paper_benchmark.task import FACTORS, PROTOCOLS, BenchmarkSettings

_DEFAULTS = BenchmarkSettings()


def _options(command: Any) -> Any:
    """Settings that change numbers."""
    for option in (
        click.option("--test-share", default=_DEFAULTS.test_share, help="Share held out."),
        click.option("--window-s", type=float, help="Window of the paper's protocol, seconds."),
        click.option(
            "--normalization",
            type=click.Choice(["zscore", "none"]),
            default=_DEFAULTS.normalization,
            help="Of the paper's protocol.",
        ),
        click.option("--band", "band_hz", type=(float, float), default=_DEFAULTS.band_hz),
        click.option("--settle-s", default=_DEFAULTS.settle_s),
        click.option("--look-ahead-s", default=_DEFAULTS.look_ahead_s),
        click.option("--paper-like-window-s", default=_DEFAULTS.paper_like_window_s),
        click.option("--paper-like-epochs", default=_DEFAULTS.paper_like_epochs),
        click.option("--seed", default=_DEFAULTS.seed),
    ):
        command = option(command)
    return command


@click.command(help=__doc__, context_settings={"show_default": True})
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("root", required=False, type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the results.")
@click.option("--subject", "subjects", multiple=True, help="Only these.  [default: all]")
@click.option("--factor", "factors", multiple=True, type=int, default=FACTORS)
@click.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(PROTOCOLS), default=PROTOCOLS
)
@click.option(
    "--method", "methods", multiple=True, type=click.Choice(list(METHODS)), default=list(METHODS)
)
@click.option("--jobs", default=1, help="Processes; -1: one a core.")
@click.option("--dask", help="Address of a Dask scheduler.")
@click.option("--tables-only", is_flag=True, help="Run nothing; tables of what is there.")
@_options
def main(
    kind: str,
    root: str | None,
    out: str,
    subjects: tuple[str, ...],
    factors: tuple[int, ...],
    protocols: tuple[Any, ...],
    methods: tuple[str, ...],
    jobs: int,
    dask: str | None,
    tables_only: bool,
    **chosen: Any,
) -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.ERROR)
    # As Ctrl-C, so that workers end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Workers may stand elsewhere.
    folders = [None if root is None else str(Path(root).resolve()), str(Path(out).resolve())]
    try:
        settings = BenchmarkSettings(**chosen)
        plan = Plan(kind, *folders, protocols, factors, methods, subjects, settings)
        wanted = subjects_of(plan)
        outcomes = [] if tables_only else _run(plan, wanted, jobs, dask)
        _write_tables(plan, wanted)
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from what is finished", err=True)
        sys.exit(130)
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    sys.exit(1 if failures else 0)


def _run(plan: Plan, subjects: Any, jobs: int, dask: str | None) -> list[Outcome]:
    started = time.perf_counter()
    n_seen = 0

    def report(outcome: Outcome) -> None:
        nonlocal n_seen
        n_seen += 1
        click.echo(
            f"[{n_seen}/{len(subjects)}] {outcome.subject}: {outcome.n_done} done, "
            f"{outcome.n_skipped} there already, {len(outcome.failures)} failed "
            f"({time.perf_counter() - started:.0f} s)",
            err=True,
        )

    return run_subjects(plan, subjects, jobs=jobs, dask=dask, report=report)


def _write_tables(plan: Plan, subjects: Any) -> None:
    dataset = open_dataset(plan.kind, plan.root)
    paths = [path for subject in subjects for path in paths_of(plan, dataset, subject).values()]
    text = markdown(read_results(paths))
    write_text(Path(plan.out) / "tables.md", text)
    click.echo(text)


if __name__ == "__main__":
    main()
