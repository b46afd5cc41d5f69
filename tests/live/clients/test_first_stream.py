"""Tools that take the first stream of a type get HD: the two ways that the documents tell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emag_rt.bundle import load_bundle
from emag_rt.streams.config import lsl_config_text
from tests.live.conftest import SFREQ

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
EXAMPLES = "pylsl.examples"
_ROW = re.compile(r"[\d.]+ \[.*\]")


@pytest.fixture
def environment(tmp_path, unique_id):
    """An LSL session of its own: which streams there are matters here."""

    def of(config=None):
        text = Path("configs", config).read_text(encoding="utf-8") if config else ""
        path = tmp_path / (config or "tool.cfg")
        path.write_text(lsl_config_text("machine", unique_id, -3, text), encoding="utf-8")
        return {"LSLAPICFG": str(path)}

    return of


@pytest.mark.parametrize("way", ["another type", "another port"])
def test_the_first_eeg_stream_is_hd(cli, spawn, ten_twenty, environment, way):
    hidden = way == "another port"
    amp, ours = ("lsl-amplifier.cfg", "lsl-serve.cfg") if hidden else (None, None)
    kind = "EEG" if hidden else "LD"
    amplifier = ("-m", f"{EXAMPLES}.SendDataAdvanced", "--srate", SFREQ, "--type", kind)
    spawn(*amplifier, env=environment(amp)).wait_for("now sending", 30)
    daemon = cli(
        *("serve", ten_twenty, "--source-id", "myuid2424", "--name", "HD", "--scale", 40),
        env=environment(ours),
    )
    daemon.wait_for("ready", 60)
    n_channels = len(load_bundle(ten_twenty).manifest.hd)
    for _ in range(3):  # of two EEG streams either may be the first
        tool = spawn("-u", "-m", f"{EXAMPLES}.ReceiveData", env=environment())
        row = tool.wait_for("]", 30)
        assert _ROW.fullmatch(row), row
        assert len(json.loads(row.partition(" ")[2].replace("nan", "NaN"))) == n_channels
        tool.kill()
    assert daemon.terminate() == 0


def test_the_only_markers_are_those_of_the_experiment(
    cli, spawn, ten_twenty, environment, tmp_path
):
    config = tmp_path / "serve.yaml"
    config.write_text("output: {marker_outlet: false}\n", encoding="utf-8")
    env = environment()
    amplifier = ("-m", f"{EXAMPLES}.SendDataAdvanced", "--srate", SFREQ)
    spawn(*amplifier, env=env).wait_for("now sending", 30)
    daemon = cli(
        *("serve", ten_twenty, "--source-id", "myuid2424", "--name", "HD", "--scale", 40),
        *("--config", config),
        env=env,
    )
    daemon.wait_for("ready", 60)
    spawn("-m", f"{EXAMPLES}.SendStringMarkers", env=env).wait_for("now sending", 30)
    find = "import pylsl; print([s.name() for s in pylsl.resolve_byprop('type', 'Markers', 9, 2)])"
    found = spawn("-c", find, env=env)
    assert found.finish(30) == 0
    assert found.output == "['MyMarkerStream']"
    assert daemon.terminate() == 0
