"""A small simulated subject, calibrated once for all live tests."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tests.conftest import Child

SFREQ = 200.0


@dataclass(frozen=True)
class Subject:
    """Files of a simulated subject."""

    bundle: Path
    play: Path
    folder: Path


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("subject")
    head = SyntheticHead(32, SFREQ, seed=5)
    for name, seconds in (("calibration", 40.0), ("play", 12.0)):
        write_raw(
            folder / f"{name}_raw.fif",
            head.generate(round(seconds * SFREQ)),
            head.labels,
            SFREQ,
            head.montage.positions_mm,
            origin_mm=head.origin_mm,
        )
    settings = CalibrationSettings(refine=False)
    calibrator = FieldCalibrator(8, settings).fit([folder / "calibration_raw.fif"])
    calibrator.save(folder / "subject.emag")
    return Subject(folder / "subject.emag", folder / "play_raw.fif", folder)


@pytest.fixture(scope="module")
def playing(subject: Subject) -> Iterator[str]:
    """Source id of an amplifier that plays the subject's LD channels for a whole module."""
    source_id = f"test-{uuid.uuid4().hex}"
    player = Child(
        [
            *(sys.executable, "-m", "emag_rt", "simulate", "--recording", str(subject.play)),
            *("--channels", f"ld:{subject.bundle}", "--source-id", source_id, "--loop"),
            *("--name", f"amp-{source_id}", "--chunk", "3", "--no-wait"),
        ]
    )
    player.wait_for("playing", 60)
    yield source_id
    player.kill()
