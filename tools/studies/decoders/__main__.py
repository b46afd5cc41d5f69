"""What a decoder makes of rendered HD, over people, tasks, LD channels and decoders.

    python -m tools.studies.decoders FOLDER --out results [--jobs -1]

FOLDER holds runs of PhysioNet's eegmmidb (S001R03.edf, or S001/S001R03.edf): all 109 people, or
some. For each person the field is calibrated on runs that are not decoded, and their trials are
rendered through the engine that serves. Decoders learn from all runs but one and read that one;
those of others learn from everyone else and read all runs of the new person. Where a person has
one run of a task, thirds of it stand for runs. There is no loader for P300 or SSVEP: eegmmidb has
neither.

Decisions are JSON files, one for each person and decoder, in the folder --out, bundles beside them:
run the same command again, and it goes on; after a change of the code, name another folder. Tables
are printed and written to OUT/tables.md. Exit codes: 0 everything done, 1 some person failed
(named; tried again by the next run), 2 wrong arguments, 130 interrupted; other codes are those of
emag-rt.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

import click

from emag_rt.errors import EmagError, RecordingError
from tools.studies.decoders.classifiers import DECODERS
from tools.studies.decoders.judging import Right, judged, overview, right_of, table
from tools.studies.decoders.people import Plan, run_person, runs_of
from tools.studies.decoders.trials import TASKS
from tools.studies.paper_benchmark.parallel import side_by_side
from tools.studies.paper_benchmark.results import write_text


@click.command(help=__doc__, context_settings={"show_default": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of results.")
@click.option("--subject", "people", multiple=True, help="Only these.  [default: all]")
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(TASKS)), default=list(TASKS))
@click.option("--ld", "counts", multiple=True, type=int, default=(16, 8), help="LD channels.")
@click.option(
    "--decoder",
    "decoders",
    multiple=True,
    type=click.Choice(list(DECODERS)),
    default=list(DECODERS),
)
@click.option("--refine", is_flag=True, help="With the networks; else the closed form.")
@click.option("--others/--no-others", default=True, help="Decoders of other people, too.")
@click.option("--jobs", default=1, help="Processes; -1: one a core.")
@click.option("--tables-only", is_flag=True, help="Run nothing; tables of what is there.")
def main(
    folder: Path,
    out: Path,
    people: tuple[str, ...],
    tasks: tuple[str, ...],
    counts: tuple[int, ...],
    decoders: tuple[str, ...],
    refine: bool,
    others: bool,
    jobs: int,
    tables_only: bool,
) -> None:
    """Run the study."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    failed = False
    lines: list[str] = []
    try:
        for task in tasks:
            files = runs_of(folder.resolve(), task, people)
            if not files:
                needed = ", ".join(map(str, TASKS[task].calibration))
                click.echo(f"{task}: nobody has run {needed} and a run to decode", err=True)
                continue
            plans = {
                n: Plan(out.resolve(), files, task, n, decoders, refine, others) for n in counts
            }
            for n, plan in plans.items():
                if not tables_only:
                    click.echo(f"{task}, {n} LD, {len(files)} people", err=True)
                    told = side_by_side(
                        partial(run_person, plan), list(files), jobs=jobs, report=_tell
                    )
                    failed |= any(": failed: " in line for line in told)
            lines += _tables(task, plans)
        if not lines:
            raise RecordingError(f"{folder.name}: some person must have the runs of a task.")
        text = "\n".join(lines) + "\n"
        write_text(out / "tables.md", text)
        click.echo(text)
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from what is finished", err=True)
        sys.exit(130)
    sys.exit(1 if failed else 0)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _tables(task: str, plans: dict[int, Plan]) -> list[str]:
    """Of one task: all means, then each decoder beside LD, then the targets."""
    columns: dict[str, Right] = {}
    details: list[str] = []
    targets: list[str] = []
    for decoder in next(iter(plans.values())).decoders:
        by_count: dict[int, Right] = {}
        for n, plan in plans.items():
            both = {p: [plan.found(p, decoder, w) for w in ("own", "others")] for p in plan.files}
            right = right_of({p: [r for r in rs if r] for p, rs in both.items()})
            if right:
                by_count[n] = columns[f"{decoder}, {n}"] = right
                people = max(len(hits) for hits in right.values())
                details += [
                    f"### {task}: {decoder}, {n} LD, {people} people",
                    "",
                    *table(right),
                    "",
                ]
        targets += [f"{line} ({decoder})" for line in judged(by_count)]
    if not columns:
        return [f"{task}: nothing is finished"]
    return [f"## {task}", "", *overview(columns), "", *details, *targets, ""]


if __name__ == "__main__":
    main()
