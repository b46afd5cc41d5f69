"""Daemons side by side, and the cost of a sample as a case grows."""

import json

import pytest

from emag_rt.bench.cases import Case
from tools.studies.scale.law import LawPoint, fit_law, run_law


@pytest.mark.lsl
def test_daemons_side_by_side(spawn, tmp_path):
    out = tmp_path / "s.json"
    child = spawn(
        *("-m", "tools.studies.scale", "--case", "4:8@100", "--no-residual", "--daemons", 2),
        *("--seconds", 1, "--json", out),
    )
    assert child.finish(60.0) == 0, child.output
    content = json.loads(out.read_text())
    assert len(content["daemons"]) == 2
    assert content["together"]["losses"]["received"] == 200


def test_law():
    points = run_law(base=Case(4, 8, 100.0), axes={"look_ahead": (0, 5)}, budget_s=0.02)
    assert [one.value for one in points] == [0, 5]
    assert points[1].n_lags > points[0].n_lags
    made_up = [LawPoint("n_hd", x, "", "", 1, 1, 1, 10.0 + 0.5 * x, 0.0, 0.0) for x in (10, 20, 40)]
    line = fit_law(made_up)["n_hd"]
    assert line["start_us"] == pytest.approx(10.0)
    assert line["slope_us"] == pytest.approx(0.5)
    assert line["misfit"] == pytest.approx(0.0, abs=1e-9)
