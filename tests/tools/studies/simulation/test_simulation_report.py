"""The report's tool, quick."""

import json
from dataclasses import replace

from click.testing import CliRunner

from tools.studies.simulation import experiments
from tools.studies.simulation.__main__ import main
from tools.studies.simulation.ablations import space, time
from tools.studies.simulation.experiments import QUICK, localisation
from tools.studies.simulation.markdown import all_tables


def silent(_what):
    pass


def test_the_tool_writes_numbers_figures_and_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "QUICK", replace(QUICK, channels=16, n_lds=(5,)))
    page = tmp_path / "simulation.md"
    page.write_text("before\n<!-- table floor -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    arguments = ["--out", str(tmp_path), "--quick", "--only", "floor", "--only", "memory"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "simulation.json").read_text())["floor"]["rows"]
    assert {row["method"] for row in rows} >= {"field", "lagged_ridge", "spline"}
    assert all(row["nmse"] > row["floor"] > 0 for row in rows)
    assert (tmp_path / "figures/simulation_floor.png").stat().st_size < 150_000
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.startswith("before\n<!-- table floor -->\n| condition")
    assert text.endswith("<!-- end -->\nafter\n")


def test_ablations_are_exact_where_the_calibration_was():
    plan = replace(QUICK, resolutions=(8,), channels=16, n_lds=(5,))
    rows = list(space(plan, silent))
    exact = [row["known"] for row in rows if "R = 8" in row["name"] or row["group"] == "point set"]
    assert max(exact) - min(exact) < 1e-4
    virtual = [row["virtual"] for row in rows]
    assert min(virtual) > 1.0
    assert max(virtual) > 1.2 * min(virtual)
    banks = {row["name"]: row["over_floor"] for row in time(plan, silent)}
    assert min(banks.values()) > 1.0
    assert len(set(banks.values())) > 10
    tables = all_tables({"space": rows})
    assert tables["space"].count("\n") == 2 + len(rows)


def test_localisation_is_reproducible():
    plan = replace(QUICK, channels=16, n_lds=(6,), resolutions=(4,))
    first, again = (list(localisation(plan, silent, seconds=12.0)) for _ in range(2))
    assert first == again
    assert len({row["map"] for row in first}) == 8
