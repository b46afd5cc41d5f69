"""The measurement itself, with real processes."""

import json

import pytest

from emag_rt.bench.processes import Child
from emag_rt.bundle import save_bundle
from emag_rt.cli.main import cli as main_cli
from emag_rt.errors import SettingsError, StreamError
from tests.factories import make_bundle


@pytest.mark.lsl
def test_latency(cli, tmp_path):
    out, plot = tmp_path / "l.json", tmp_path / "l.png"
    child = cli(
        *("bench", "latency", "--quick", "--seconds", "1", "--rounds", "1", "--no-stages"),
        *("--case", "4:8@100/2", "--warm-up", "0.2", "--json", out, "--plot", plot),
    )
    assert child.finish(60.0) == 0, child.output
    assert "relay" in child.output
    content = json.loads(out.read_text())
    (case,) = content["cases"]
    assert case["case"] == "4:8@100/2"
    for kind in ("relay", "daemon"):
        one = case[kind]
        assert 0 < one["latency_ms"]["p50"] < 1000
        assert one["losses"]["received"] == one["losses"]["sent"] == 100
        assert one["ready_s"]["max"] > 0
        (found,) = (r[kind] for r in case["rounds"])
        # Samples of a chunk wait for its last one, which the departure does not count.
        assert found["since_send_ms"]["p50"] < found["latency_ms"]["p50"]
    assert case["ratio_latency_ms"]["p50"]["median"] > 0
    assert case["targets"]["lost_or_reordered"]["met"] is True
    assert plot.stat().st_size > 1000
    environment = content["environment"]
    assert {"git_commit", "versions", "machine", "threads", "load_average"} <= set(environment)


@pytest.mark.lsl
def test_statistics_reach_the_daemon(cli, tmp_path):
    """It refuses a bundle that does not know them; stand-ins are refused at once."""
    save_bundle(make_bundle(1), tmp_path / "s.emag")
    options = ("bench", "latency", "--quick", "--statistics", "matched")
    child = cli(*options, "--bundle", tmp_path / "s.emag")
    assert child.finish(60.0) != 0
    assert "does not know those of measured HD" in child.output
    with pytest.raises(SettingsError, match="Give a --bundle"):
        main_cli.main(options, standalone_mode=False)


@pytest.mark.lsl
def test_soak(cli, tmp_path):
    out = tmp_path / "s.json"
    child = cli(
        *("bench", "soak", "--case", "4:8@100", "--no-residual", "--seconds", "1.5"),
        *("--interval", "0.5", "--json", out),
    )
    assert child.finish(60.0) == 0, child.output
    content = json.loads(out.read_text())
    assert len(content["points"]) == 3
    assert content["losses"]["missing"] == 0
    assert 0 < content["trends"]["latency_p50_ms"]["mean"] < 1000
    assert content["trends"]["rss_mb"]["mean"] > 20


def test_a_child_that_fails_says_why():
    with Child("the child", "-c", "print('no luck')") as child, pytest.raises(StreamError) as error:
        child.wait_for("ready", 10.0)
    assert "the child must say 'ready'" in str(error.value)
    assert "no luck" in str(error.value)
