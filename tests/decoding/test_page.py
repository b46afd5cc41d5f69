"""What docs/decoding.md shows runs, from top to bottom."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyriemann")

from emag_rt.bundle import save_bundle
from tests.decoding.test_aligner import N_HD, N_LD, World

PAGE = Path(__file__).parents[2] / "docs" / "decoding.md"


def test_the_page_runs_as_it_is_read(tmp_path, monkeypatch):
    world = World()
    save_bundle(world.bundle(), tmp_path / "s01.emag")
    monkeypatch.chdir(tmp_path)
    training, _, sides = world.epochs(60)
    _, rendered, wanted = world.epochs(20)
    low_density = rendered[0, :N_LD]
    reader = {
        "training": training,
        "sides": sides,
        "rendered": rendered,
        "low_density": low_density,
    }
    blocks = re.findall(r"^```python\n([\s\S]*?)^```", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "decoding.md", "exec"), reader)
    assert reader["decision"] == [wanted[-1]]
    assert reader["read"].shape == (20, N_LD, rendered.shape[2])
    assert reader["interpolated"].shape == (N_HD, rendered.shape[2])
    np.testing.assert_allclose(reader["interpolated"][:N_LD], low_density, atol=1e-3)
