"""A bundle adapted to another state, on a made-up head whose truth is known."""

import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from calibration.cli.adapt import adapt as command
from calibration.population.adapt import adapt
from calibration.scores.held_out import evaluate_recording
from emag_rt import Upsampler
from emag_rt.bundle import load_bundle
from emag_rt.errors import CalibrationError
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from tests.factories import relative

SFREQ = 128.0


def nmse(bundle, path):
    return evaluate_recording(bundle, read_recording(path), "packed").methods["field"]["unseen"][
        "nmse"
    ]


@pytest.fixture(scope="module")
def adapted(states_bundle, states, tmp_path_factory):
    """Through the command: what it said, and the bundle."""
    out = tmp_path_factory.mktemp("adapted") / "today.emag"
    done = CliRunner().invoke(
        command, [str(states_bundle), str(states["today"]), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    return done.output, load_bundle(out)


def test_it_renders_the_other_state_better(states_bundle, adapted, states):
    before = load_bundle(states_bundle)
    assert nmse(adapted[1], states["later"]) < 0.98 * nmse(before, states["later"])


def test_in_the_same_state_the_bundle_stays_as_it_was(states_bundle, states, tmp_path):
    before = load_bundle(states_bundle)
    found = adapt(before, [states["same"]])
    assert found.bundle is before
    assert found.change == 0
    out = tmp_path / "same.emag"
    done = CliRunner().invoke(command, [str(states_bundle), str(states["same"]), "--out", str(out)])
    assert "as it was: there is nothing to adapt to in 39 s of LD" in done.output
    assert load_bundle(out).sha256 == before.sha256


def test_changes_too_small_to_count_do_no_harm_when_followed(states_bundle, states, monkeypatch):
    monkeypatch.setattr("calibration.population.state.LEAST_DB", 0.0)
    before = load_bundle(states_bundle)
    found = adapt(before, [states["same"]])
    assert 0 < found.change < 0.1
    assert nmse(found.bundle, states["same"]) < 1.01 * nmse(before, states["same"])


def test_it_says_what_changed(adapted):
    said, bundle = adapted
    assert "adapted to 39 s of LD" in said
    power = {int(a): float(db) for a, db in re.findall(r"(\d+) to \d+ Hz: LD power (\S+) dB", said)}
    assert max(power, key=power.get) == 8
    assert power[8] > 3
    assert "fits better" in said
    note = bundle.manifest.calibration["adapted"]
    assert note["inputs"][0]["file"] == "today_raw.fif"
    assert note["seconds"] == pytest.approx(39, abs=0.1)


def test_the_bundle_is_like_any_other(adapted, states_bundle, states):
    _, bundle = adapted
    before = load_bundle(states_bundle)
    recording = read_recording(states["later"])
    ld = [recording.labels.index(e.label) for e in bundle.manifest.ld]
    raw = recording.data_uv[:400, ld]
    hd, old = (Upsampler(b, engine="packed").push(raw)[0] for b in (bundle, before))
    measured = [i for i, e in enumerate(bundle.manifest.hd) if e.origin == "measured"]
    np.testing.assert_array_equal(hd[:, measured], old[:, measured])
    options = {"measured": "render", "reference": "average"}
    packed, direct = (
        Upsampler(bundle, engine=engine, **options).push(raw)[0] for engine in ("packed", "direct")
    )
    assert relative(packed, direct) < 1e-4
    between = Upsampler(bundle, engine="packed", montage="standard_1020").push(raw)[0]
    assert np.isfinite(between).all()
    assert relative(hd, old) < 1.0


def test_what_cannot_be_adapted_is_said(states_bundle, states, tmp_path):
    bundle = load_bundle(states_bundle)
    with pytest.raises(CalibrationError, match="Calibrate again with HD"):
        adapt(replace(bundle, hd_bands=None), [states["today"]])
    recording = read_recording(states["same"])
    data = recording.data_uv.copy()
    a, b = (recording.labels.index(bundle.manifest.ld[i].label) for i in (0, 5))
    data[:, [a, b]] = data[:, [b, a]]
    wrong = tmp_path / "wrong_raw.fif"
    write_raw(wrong, data, recording.labels, SFREQ, recording.positions_mm)
    with pytest.raises(CalibrationError, match="in each other's place"):
        adapt(bundle, [wrong])
    data[:, a] = 0.0
    write_raw(wrong, data, recording.labels, SFREQ, recording.positions_mm)
    with pytest.raises(CalibrationError, match="must have all LD channels good"):
        adapt(bundle, [wrong])
