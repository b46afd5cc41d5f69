"""The recordings that the tables are made on, and how each is cut in two.

Tables are made with ``prior="none"``: S001 is one of the people whom the package brings, and a
short session that leaned on them would lean on itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.scores.held_out import Evaluation
from emag_rt.errors import RecordingError
from emag_rt.recordings.read import Recording, read_recording


@dataclass(frozen=True)
class Case:
    """Recordings of one subject, and how many LD channels to spread over it.

    Without test runs, the first three quarters train and the last one tests.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    n_ld: int
    factor: int


_S001 = (("S001R03.edf", "S001R04.edf"), ("S001R05.edf", "S001R07.edf"))
_REST = (("S001R01.edf",), ("S001R02.edf",))
_BIOSEMI = (
    ("biosemi128_s01_block0_raw.fif", "biosemi128_s01_block1_raw.fif"),
    ("biosemi128_s01_block2_raw.fif",),
)
_S004 = (("S004R01_raw.fif",), ())
_RANK57 = (("rank57_biosemi64_raw.fif",), ())
CASES = {
    "S001-16": Case(*_S001, 16, 4),
    "S001-8": Case(*_S001, 8, 8),
    "S001-rest-16": Case(*_REST, 16, 4),
    "S001-rest-8": Case(*_REST, 8, 8),
    "biosemi128-31": Case(*_BIOSEMI, 31, 4),
    "biosemi128-15": Case(*_BIOSEMI, 15, 8),
    "S004-16": Case(*_S004, 16, 4),
    "S004-8": Case(*_S004, 8, 8),
    "rank57-14": Case(*_RANK57, 14, 4),
    "rank57-7": Case(*_RANK57, 7, 8),
}
USUAL = ("S001-16", "S001-8", "biosemi128-31", "biosemi128-15")


def data_folder() -> Path:
    """Folder of the recordings.

    Raises
    ------
    RecordingError
        If the environment does not say.
    """
    data = os.environ.get("EMAG_RT_DATA")
    if not data:
        raise RecordingError("EMAG_RT_DATA must be set to the folder with the recordings.")
    return Path(data)


def cut(recording: Recording, start: int, stop: int) -> Recording:
    """Keep some samples of a recording, as if no others had been recorded."""
    segments = tuple(
        (max(a, start) - start, min(b, stop) - start)
        for a, b in recording.segments
        if min(b, stop) > max(a, start)
    )
    return replace(
        recording,
        data_uv=recording.data_uv[start:stop],
        segments=segments,
        sha256=f"{recording.sha256}:{start}-{stop}",
    )


def read_case(folder: Path, case: Case) -> tuple[list[Recording], list[Recording]]:
    """Training and test recordings."""
    train = [read_recording(folder / name) for name in case.train]
    if case.test:
        return train, [read_recording(folder / name) for name in case.test]
    edges = [(r, 3 * len(r.data_uv) // 4) for r in train]
    return [cut(r, 0, k) for r, k in edges], [cut(r, k, len(r.data_uv)) for r, k in edges]


def pooled_nmse(runs: list[Evaluation]) -> dict[str, float]:
    """NMSE on unseen channels of each method, runs weighted by their lengths."""
    weights = np.array([run.seconds for run in runs])
    return {
        name: float(np.average([r.methods[name]["unseen"]["nmse"] for r in runs], weights=weights))
        for name in runs[0].methods
    }
