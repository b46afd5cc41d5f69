"""An amplifier's driver at its worst, at a fractional rate: real processes, real LSL."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from chaos import Lab, close_account

from emag_rt.bench.cases import parse_case

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]


@pytest.fixture
def lab(tmp_path):
    made = Lab(parse_case("8:16@512"), tmp_path, seed=3, source_sfreq=511.9)
    yield made
    made.close()


def test_lost_repeated_overtaken_and_standing_samples_jumps_and_steps(lab, wait_until):
    """Each fault once; then what was sent, counted and received must agree to the sample."""

    def count(name, least=1):
        wait_until(lambda: lab.counters().get(name, 0) >= least, 10.0, name)

    for command, counter, least in (
        ("lose 6", "bridged", 6),
        ("lose 400", "gaps", 1),
        ("repeat 20", "duplicates", 1),
        ("swap", "out_of_order", 20),
        ("stuck 30", "restamped", 25),
        ("jump 3600", "jumps", 1),
        ("jump -3600", "jumps", 2),
        ("step 300000 0 1 2 3 4 5 6 7", "steps", 1),
        ("step -300000 2", "steps", 2),
        ("inf 5 50", "n_bad_channels", 0),
    ):
        assert lab.flowing() is not None
        lab.tell(command)
        if least:
            count(counter, least)
    wait_until(lambda: any(e["event"] == "bad_channel" for e in lab.events()), 10.0, "a verdict")
    close_account(lab)
    assert lab.report.failures == []
    assert lab.report.account["lost_without_count"] == 0
    last = lab.counters()
    # Of twenty sent twice all but the last were overtaken; so was one of two that swapped.
    assert (last["duplicates"], last["out_of_order"], last["restamped"]) == (1, 20, 29)
    assert (last["gaps"], last["unfilled"], last["jumps"], last["steps"]) == (1, 0, 2, 2)
    kinds = {event["event"] for event in lab.events()}
    assert kinds >= {"bridged", "gap", "disorder", "clock_jump", "step", "bad_channel", "stopped"}
