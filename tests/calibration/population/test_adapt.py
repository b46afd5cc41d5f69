"""A bundle adapted to another state, on a made-up head whose truth is known."""

import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.signal import butter, sosfilt

from calibration import CalibrationSettings, FieldCalibrator
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
N_LD = 8


@pytest.fixture(scope="module")
def files(head, tmp_path_factory):
    """Two runs, and another state: in some places there is far more alpha."""
    folder = tmp_path_factory.mktemp("states")
    head.reset()
    rng = np.random.default_rng(3)
    band = butter(2, (8.0, 13.0), "bandpass", fs=SFREQ, output="sos")
    back = np.argsort(head.source_positions_mm[:, 1])[:12]
    found = {}
    for name, seconds, alpha in (("run", 60, 2.0), ("same", 40, 2.0), ("state", 80, 16.0)):
        n = round(seconds * SFREQ)
        waves = sosfilt(band, rng.normal(size=(n, len(back))), axis=0)
        pattern = head.lead_field[:, back] / np.abs(head.lead_field[:, back]).max()
        data = head.generate(n) + alpha * 3.0 * waves @ pattern.T
        cuts = {name: (0, n)} if name != "state" else {"today": (0, n // 2), "later": (n // 2, n)}
        for part, (start, stop) in cuts.items():
            found[part] = folder / f"{part}_raw.fif"
            write_raw(
                found[part],
                data[start:stop],
                head.labels,
                SFREQ,
                head.montage.positions_mm,
                origin_mm=head.origin_mm,
            )
    return found


@pytest.fixture(scope="module")
def bundle_file(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "s.emag"
    settings = CalibrationSettings(refine=False)
    FieldCalibrator(N_LD, settings).fit([files["run"]]).save(path)
    return path


def nmse(bundle, path):
    return evaluate_recording(bundle, read_recording(path), "packed").methods["field"]["unseen"][
        "nmse"
    ]


@pytest.fixture(scope="module")
def adapted(bundle_file, files, tmp_path_factory):
    """Through the command: what it said, and the bundle."""
    out = tmp_path_factory.mktemp("adapted") / "today.emag"
    done = CliRunner().invoke(command, [str(bundle_file), str(files["today"]), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return done.output, load_bundle(out)


def test_it_renders_the_other_state_better(bundle_file, adapted, files):
    before = load_bundle(bundle_file)
    assert nmse(adapted[1], files["later"]) < 0.98 * nmse(before, files["later"])


def test_in_the_same_state_the_bundle_stays_as_it_was(bundle_file, files, tmp_path):
    before = load_bundle(bundle_file)
    found = adapt(before, [files["same"]])
    assert found.bundle is before
    assert found.change == 0
    out = tmp_path / "same.emag"
    done = CliRunner().invoke(command, [str(bundle_file), str(files["same"]), "--out", str(out)])
    assert "as it was: there is nothing to adapt to in 39 s of LD" in done.output
    assert load_bundle(out).sha256 == before.sha256


def test_changes_too_small_to_count_do_no_harm_when_followed(bundle_file, files, monkeypatch):
    monkeypatch.setattr("calibration.population.adapt.LEAST_DB", 0.0)
    before = load_bundle(bundle_file)
    found = adapt(before, [files["same"]])
    assert 0 < found.change < 0.1
    assert nmse(found.bundle, files["same"]) < 1.01 * nmse(before, files["same"])


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


def test_the_bundle_is_like_any_other(adapted, bundle_file, files):
    _, bundle = adapted
    before = load_bundle(bundle_file)
    recording = read_recording(files["later"])
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


def test_what_cannot_be_adapted_is_said(bundle_file, files, tmp_path):
    bundle = load_bundle(bundle_file)
    with pytest.raises(CalibrationError, match="Calibrate again with HD"):
        adapt(replace(bundle, hd_bands=None), [files["today"]])
    recording = read_recording(files["same"])
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
