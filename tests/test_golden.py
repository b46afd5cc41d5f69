"""Committed bundles must go on giving the numbers they gave: formats and signal path are kept."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emag_rt import Upsampler
from emag_rt.bundle import load_bundle
from tests.bundle.test_bundle import arrays_of

FOLDER = Path(__file__).parent / "golden"
# Formats 1, with a graph inside, and 2; the same arrays.
BUNDLES = ("golden.emag", "golden_2.emag")
SCRIPT = Path(__file__).parents[1] / "tools" / "make_golden.py"


@pytest.fixture(scope="module")
def golden():
    with np.load(FOLDER / "golden.npz", allow_pickle=False) as content:
        return dict(content)


def render(golden, name, engine, chunk):
    upsampler = Upsampler.load(FOLDER / name, channels=golden["columns"].tolist(), engine=engine)
    assert upsampler.labels == tuple(golden["labels"])
    ld, stamps = golden["ld"], golden["stamps"]
    parts = [
        upsampler.push(ld[i : i + chunk], stamps[i : i + chunk]) for i in range(0, len(ld), chunk)
    ]
    parts.append(upsampler.flush())
    return np.concatenate([hd for hd, _ in parts]), np.concatenate([s for _, s in parts])


@pytest.mark.parametrize("engine", ["packed", "onnx", "direct"])
@pytest.mark.parametrize("chunk", [1, 33, 500])
@pytest.mark.parametrize("name", BUNDLES)
def test_output_is_what_it_was(golden, name, engine, chunk):
    hd, stamps = render(golden, name, engine, chunk)
    np.testing.assert_array_equal(stamps, golden["stamps"])
    assert golden["hd"].std(axis=0).min() > 1.0
    np.testing.assert_allclose(hd, golden["hd"], rtol=0, atol=1e-4)


def test_formats_hold_the_same():
    old, new = (load_bundle(FOLDER / name) for name in BUNDLES)
    assert (old.manifest.format, new.manifest.format) == (1, 2)
    assert old.manifest.model_copy(update={"format": 2}) == new.manifest
    before, after = arrays_of(old), arrays_of(new)
    assert sorted(before) == sorted(after)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_the_files_exercise_what_they_should(golden):
    bundle = load_bundle(FOLDER / "golden.emag")
    assert bundle.manifest.look_ahead_samples > 0
    assert bundle.model.drive.hidden is not None
    assert bundle.model.field.shared_profiles() is None
    lost = np.isnan(golden["ld"]).any(axis=1)
    assert 0 < lost.sum() < 200
    assert np.isfinite(golden["hd"]).all()
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) < 200_000


def test_the_script_makes_these_files_again(golden, tmp_path):
    """Up to the last bits of linear algebra, which differ from machine to machine."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_bundle(f / BUNDLES[-1]) for f in (tmp_path, FOLDER))
    same = ours.manifest.model_copy(update={"frontend": theirs.manifest.frontend})
    assert same == theirs.manifest
    np.testing.assert_allclose(ours.manifest.frontend.sos, theirs.manifest.frontend.sos, rtol=1e-9)
    for name in ("centers_mm", "mu_s", "cholesky", "amplitudes"):
        found, wanted = getattr(ours.model.field, name), getattr(theirs.model.field, name)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=name)
    with np.load(tmp_path / "golden.npz", allow_pickle=False) as content:
        assert sorted(content) == sorted(golden)
        np.testing.assert_array_equal(content["ld"], golden["ld"])
        np.testing.assert_allclose(content["hd"], golden["hd"], atol=1e-4)
