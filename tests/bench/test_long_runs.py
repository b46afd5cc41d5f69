"""Soak on made-up data, and rendering figures on a tiny case."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from emag_rt.bench.accounting import Losses
from emag_rt.bench.cases import Case
from emag_rt.bench.processes import THREADS
from emag_rt.bench.rendering import RenderSettings, run_render, write_csv
from emag_rt.bench.soak import fit
from emag_rt.bench.versus_direct import DirectSettings, compare_direct
from emag_rt.cli.main import cli
from emag_rt.errors import SettingsError


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """The command sets threads for its process, which is ours here."""
    for name in THREADS:
        monkeypatch.setenv(name, "1")


TINY = RenderSettings(engines=("packed", "onnx", "direct"), window=10, budget_s=0.02)


def point(i, rng, leak_mb=0.0):
    return {
        "hours": i / 60,
        "latency_p50_ms": 1.0 + 0.01 * rng.normal(),
        "latency_p99_ms": 2.0 + 0.1 * rng.normal(),
        "latency_max_ms": 3.0,
        "rss_mb": 120.0 + leak_mb * i / 60 + 0.1 * rng.normal(),
        "cpu_percent": 10.0 + rng.normal(),
        **Losses(1000, 1000).as_dict(),
    }


def test_soak_finds_a_leak_and_nothing_else():
    rng = np.random.default_rng(3)
    report = fit([point(i, rng, leak_mb=5.0) for i in range(180)])
    leak = report["trends"]["rss_mb"]
    assert leak["slope"] == pytest.approx(5.0, abs=0.2)
    assert leak["slope"] > 10 * leak["error"]
    for key in ("latency_p50_ms", "latency_p99_ms"):
        assert abs(report["trends"][key]["slope"]) < 4 * report["trends"][key]["error"]
    assert Losses(**report["losses"]) == Losses(180_000, 180_000)


def test_soak_leaves_out_intervals_without_samples():
    rng = np.random.default_rng(3)
    points = [point(i, rng) for i in range(6)]
    points[3]["latency_p50_ms"] = None
    assert fit(points)["trends"]["latency_p50_ms"]["slope"] is not None


def test_rendering_figures(tmp_path):
    figures = run_render([Case(4, 8, 100.0, residual=False)], TINY, resolutions=(8,))
    by_engine = {one.engine: one for one in figures if not one.reason}
    assert {"packed", "onnx-cpu"} <= set(by_engine)
    packed = by_engine["packed"]
    assert 0 < packed.hop_p50_us <= packed.hop_p99_us
    assert packed.window_us > 0
    assert packed.offline_x > 0
    assert packed.n_gaussians > 1000
    write_csv(figures, str(tmp_path / "r.csv"))
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert len(lines) == 1 + len(figures)
    assert lines[0].startswith("case,resolution,n_gaussians,engine")


def test_direct_is_left_out_where_its_kernels_are_too_large():
    settings = RenderSettings(engines=("direct",), most_direct_mb=0.1)
    (figure,) = run_render([Case(4, 8, 100.0, residual=False)], settings)
    assert "MB" in figure.reason
    assert figure.hop_p50_us is None


def test_folded_against_direct_is_the_same_field():
    sizes = DirectSettings(resolution=6, n_ld=4, n_hd=16, window=10, n_rows=4)
    found = compare_direct(sizes, ("packed", "onnx", "direct"))
    assert set(found["engines"]) >= {"packed", "onnx-cpu"}
    for one in found["engines"].values():
        assert one["relative_difference"] < 1e-5
        assert one["ratio"] > 1


def test_render_on_the_command_line(tmp_path):
    arguments = ["bench", "render", "--case", "4:8@100", "--no-residual", "--budget", "0.01"]
    arguments += ["--engine", "packed", "--engine", "nonesuch", "--gaussians", "8,9"]
    arguments += ["--window", "5", "--no-direct", "--csv", tmp_path / "r.csv"]
    arguments += ["--json", tmp_path / "r.json", "--plot", tmp_path / "r.png"]
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "r.json").read_text())
    engines = {one["engine"]: one for one in content["engines"]}
    assert engines["packed"]["hop_p50_us"] > 0
    assert engines["nonesuch"]["reason"]
    grids = [one["resolution"] for one in content["by_gaussians"] if not one["reason"]]
    assert grids == [8, 9, 8, 9]  # a window field, then a stream field
    assert content["environment"]["versions"]["numpy"]
    assert (tmp_path / "r.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latency", "--bundle", "b.emag", "--case", "4:8@100"], "--bundle"),
        (["latency", "--case", "4:8@100", "--seconds", "1", "--warm-up", "5"], "--warm-up"),
        (["latency", "--adapt", "--case", "4:8@100"], "--adapt"),
        (["latency", "--plot", "x.txt"], "--plot"),
        (["soak", "--hours", "1", "--seconds", "5"], "--hours"),
        (["soak", "--case", "4:8@100", "--case", "4:8@200", "--seconds", "5"], "--case"),
        (["render", "--gaussians", "a"], "--gaussians"),
    ],
)
def test_what_is_refused(arguments, words):
    done = CliRunner().invoke(cli, ["bench", *arguments])
    assert isinstance(done.exception, SettingsError)
    assert words in str(done.exception)
