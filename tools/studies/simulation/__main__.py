"""Simulation with truth, as in docs/simulation.md: figures, tables and all numbers.

    python -m tools.studies.simulation --out docs [--quick] [--only floor]...

Writes ``figures/simulation_*.png`` and ``simulation.json`` under --out, and puts the tables
between the marks of ``simulation.md`` where there is one. --quick takes a small subject and few
cases, to see that everything runs: its numbers mean nothing.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import click
from threadpoolctl import threadpool_limits

from emag_rt.files import write_text
from tools.studies.simulation import ablations, experiments, figures, markdown

EXPERIMENTS = {
    "floor": experiments.distance_to_floor,
    "memory": experiments.memory,
    "refined": experiments.refinement,
    "localisation": experiments.localisation,
    "space": ablations.space,
    "time": ablations.time,
    "trained": ablations.trained,
}


def put_tables(page: Path, texts: dict[str, str]) -> None:
    """Replace what stands between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    for name, table in texts.items():
        marks = rf"(<!-- table {name} -->\n).*?(<!-- end -->)"
        text = re.sub(marks, lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL)
    write_text(page, text)


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--quick", is_flag=True, help="A small subject, few cases, under a minute.")
@click.option("--only", multiple=True, type=click.Choice(list(EXPERIMENTS)))
@click.option("--redraw", is_flag=True, help="Run nothing: figures and tables from the JSON.")
def main(out: Path, quick: bool, only: tuple[str, ...], redraw: bool) -> None:
    """Run the experiments and write the report's figures and tables."""
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    store = out / "simulation.json"
    results = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    plan = experiments.QUICK if quick else experiments.Plan()
    started = time.perf_counter()
    chosen = () if redraw else (only or tuple(EXPERIMENTS))
    with threadpool_limits(1):
        for name in chosen:
            begun = time.perf_counter()
            rows: list[experiments.Row] = []
            for row in EXPERIMENTS[name](plan, lambda what: click.echo(what, err=True)):
                # Written as they come: what an interrupted run has found is not lost.
                rows.append(row)
                results[name] = {"seconds": round(time.perf_counter() - begun, 1), "rows": rows}
                write_text(store, json.dumps(_rounded(results)))
    rows_of = {name: result["rows"] for name, result in results.items()}
    for path in figures.draw_all(rows_of, folder):
        click.echo(f"{path} {path.stat().st_size / 1000:.0f} kB")
    texts = markdown.all_tables(rows_of)
    page = out / "simulation.md"
    if page.exists():
        put_tables(page, texts)
    for name, text in texts.items():
        click.echo(f"\n{name}\n{text}")
    click.echo(f"took {time.perf_counter() - started:.0f} s")


def _rounded(value: object) -> object:
    """Six digits are plenty, and NaN is no JSON."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if value == value else None
    return value


if __name__ == "__main__":
    main()
