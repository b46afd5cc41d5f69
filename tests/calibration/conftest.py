"""A synthetic session written to disk once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead

SFREQ = 128.0


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """Threads that wait for each other on busy cores make small networks ten times slower."""
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def head() -> SyntheticHead:
    return SyntheticHead(32, SFREQ, seed=11)


@pytest.fixture(scope="session")
def session_files(head: SyntheticHead, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs to calibrate on, one to test on."""
    folder = tmp_path_factory.mktemp("session")
    head.reset()
    paths = []
    for run in range(3):
        path = folder / f"run{run}_raw.fif"
        data = head.generate(round(25 * SFREQ))
        write_raw(
            path, data, head.labels, SFREQ, head.montage.positions_mm, origin_mm=head.origin_mm
        )
        paths.append(path)
    return paths
