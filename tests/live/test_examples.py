"""The examples in tools/examples, as their users run them. In soak: most wait in real time."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from emag_rt.bundle import load_bundle

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(300)]
FOLDER = Path("tools/examples")
sys.path.insert(0, str(Path(__file__).parents[2] / FOLDER))


def test_intervals_of_balanced_accuracy():
    from motor_imagery import balanced_accuracy, wilson

    low, high = wilson(8, 10)  # Newcombe 1998, table of Wilson's score interval
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    truth = ["left"] * 20 + ["right"] * 25
    accuracy, low, high = balanced_accuracy(truth, truth)
    assert accuracy == high == 1.0
    assert 0.85 < low < 0.95, "never sure of everything"
    accuracy, low, high = balanced_accuracy(truth, ["left"] * 45)
    assert accuracy == 0.5
    assert 0.4 < low < 0.5 < high < 0.6


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("ezmsg_reader", "ezmsg.lsl"),
        ("brainflow_source", "brainflow"),
        ("mne_lsl_viewer", "PyQt6"),
    ],
)
def test_example_starts(spawn, name, needs):
    pytest.importorskip(needs)
    example = spawn(FOLDER / f"{name}.py", "--help")
    assert example.finish(60) == 0, example.output
    assert "Usage:" in example.output


@pytest.mark.soak
def test_ezmsg_reads_the_rendered_stream(cli, spawn, subject, unique_id):
    pytest.importorskip("ezmsg.lsl")
    cli(
        *("simulate", "--recording", subject.play, "--channels", f"ld:{subject.bundle}", "--loop"),
        *("--source-id", unique_id),
    ).wait_for("playing", 30)
    name = f"hd-{unique_id}"
    cli("serve", subject.bundle, "--source-id", unique_id, "--name", name).wait_for("ready", 60)
    reader = spawn(FOLDER / "ezmsg_reader.py", "--name", name, "--seconds", 2)
    assert reader.finish(60) == 0, reader.output
    labels = [e.label for e in load_bundle(subject.bundle).manifest.hd]
    told = [line for line in reader.lines if "samples of" in line]
    assert len(told) == 2
    assert f"of {len(labels)} channels ({', '.join(labels[:4])}, ...) at 200 Hz" in told[0]
    amplitude = float(re.search(r"([\d.]+) µV", told[-1])[1])
    assert 1 < amplitude < 500


@pytest.mark.soak
def test_mne_lsl_viewer_shows_the_rendered_stream(cli, spawn, subject, unique_id, tmp_path):
    """Held gaps keep its filter alive, where one NaN would stay in it."""
    pytest.importorskip("PyQt6")

    def amplifier():
        child = cli(
            *("simulate", "--recording", subject.play, "--channels", f"ld:{subject.bundle}"),
            *("--loop", "--source-id", unique_id),
        )
        child.wait_for("playing", 30)
        return child

    amp, name, picture = amplifier(), f"hd-{unique_id}", tmp_path / "viewer.png"
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--name", name),
        *("--gap-policy", "hold"),
    )
    daemon.wait_for("ready", 60)
    viewer = spawn(
        *(FOLDER / "mne_lsl_viewer.py", "--name", name, "--seconds", 10, "--out", picture),
        env={"QT_QPA_PLATFORM": "offscreen", "QT_API": "pyqt6"},
    )
    amp.kill()
    amplifier()
    daemon.wait_for("filled with hold", 30)
    assert viewer.finish(60) == 0, viewer.output
    told = json.loads(viewer.lines[-1])
    assert told["labels"] == [e.label for e in load_bundle(subject.bundle).manifest.hd]
    assert told["samples"] > 4 * 200
    assert told["nan"] == 0
    assert 1 < told["rms_uv"] < 500
    assert picture.stat().st_size > 20_000


@pytest.mark.soak
def test_brainflow_is_a_source(cli, spawn, unique_id, tmp_path):
    pytest.importorskip("brainflow")
    if sys.version_info < (3, 12) and importlib.util.find_spec("pkg_resources") is None:
        pytest.skip("BrainFlow needs pkg_resources: pip install 'setuptools<81'")
    from emag_rt.bundle import save_bundle
    from tests.factories import LD, make_bundle

    save_bundle(make_bundle(1, sfreq=250.0), tmp_path / "board.emag")
    labels = ",".join([*LD, *(f"X{i}" for i in range(16 - len(LD)))])
    board = spawn(FOLDER / "brainflow_source.py", "--labels", labels)
    board.wait_for("streaming 'BrainFlow Synthetic', source id 'brainflow--1'", 30)
    status = tmp_path / "status.json"
    daemon = cli(
        *("serve", tmp_path / "board.emag", "--source-id", "brainflow--1", "--duration", 5),
        *("--name", f"hd-{unique_id}", "--status-json", status),
    )
    assert daemon.finish(60) == 0, daemon.output
    assert board.terminate() == 0, board.output
    assert "declares no unit" not in daemon.output
    summary = json.loads(status.read_text().splitlines()[-1])
    assert summary["samples_out"] == summary["samples_in"] > 4 * 250
    assert summary["gaps"] == summary["duplicates"] == summary["out_of_order"] == 0


@pytest.mark.soak
@pytest.mark.data
def test_motor_imagery_is_decoded_live_as_offline(spawn, data_dir):
    pytest.importorskip("pyriemann")
    decoder = spawn(
        *(FOLDER / "motor_imagery.py", "--live", "--trials", 3, "--speed", 2),
        *("--data", data_dir),
    )
    assert decoder.finish(200) == 0, decoder.output
    same, of = map(int, re.search(r"(\d) of (\d) as decided offline", decoder.output).groups())
    assert same == of >= 2


@pytest.mark.soak
@pytest.mark.data
def test_other_people_teach_a_decoder(spawn, data_dir):
    pytest.importorskip("pyriemann")
    example = FOLDER / "other_peoples_decoder.py"
    decoder = spawn(example, "--live", "--trials", 3, "--speed", 2, "--data", data_dir)
    assert decoder.finish(280) == 0, decoder.output
    assert "taught by S002, S003" in decoder.output
    assert int(re.search(r"\d of (\d) right", decoder.output)[1]) >= 2
