"""The command that trains the network upon a population's field."""

import pytest
from click.testing import CliRunner

from calibration.population.network import load_network
from calibration.population.people import load_population
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tools.studies.population import train_network
from tools.studies.population.__main__ import main as make
from tools.studies.population.train_network import Judged, main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("people")
    for seed in range(4):
        head = SyntheticHead(16, 160.0, seed=seed)
        write_raw(
            place / f"S00{seed + 1}R04_raw.fif",
            head.generate(round(25 * 160.0)),
            head.labels,
            160.0,
            head.montage.positions_mm,
            origin_mm=head.origin_mm,
        )
    return place


def test_a_population_gets_a_network_and_the_network_its_gains(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(train_network, "N_UNITS", 8)
    monkeypatch.setattr(train_network, "N_BLOCKS", 4)
    people = tmp_path / "own.safetensors"
    done = CliRunner().invoke(make, [str(folder), "--out", str(people), "--name", "own"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "own.network.safetensors"
    words = [str(folder), str(people), "--out", str(out), "--splits", "4"]
    done = CliRunner().invoke(main, [*words, "--layouts", "4", "--steps", "30"])
    assert done.exit_code == 0, done.output
    assert "| 8 |" in done.output
    network = load_network(out)
    assert network.texts["people"] == load_population(str(people)).texts["people"]
    assert network.out.shape == (16, 8)
    assert network.inner.shape == (4, 8, 16)
    assert abs(network.out).max() > 0
    assert list(network.counts) == [6, 8]
    assert ((network.gains >= 0) & (network.gains <= 1.5)).all()
    # With a gain that others chose nobody's correction is far off.
    assert (network.left < 1.05).all()
    assert network.step(160.0) == network.step(128.0) == 1
    assert network.step(500.0) == 3
    assert network.step(230.0) is None
    (split,) = tmp_path.glob("*.S002.safetensors")
    assert load_network(split).texts["people"] == "S001,S003,S004"


def test_the_gain_is_what_errs_least():
    person = Judged(field=0.5, spline=0.8, along=0.1, size=0.2)
    gain = train_network._gain([person])
    assert gain == pytest.approx(0.5)
    assert person.error(gain) < min(person.error(gain - 0.1), person.error(gain + 0.1))
    assert train_network._gain([Judged(0.5, 0.8, -0.1, 0.2)]) == 0.0
