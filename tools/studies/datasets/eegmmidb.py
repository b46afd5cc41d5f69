"""PhysioNet EEG Motor Movement/Imagery Database (Schalk et al. 2004): 109 people, 64 channels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from emag_rt.errors import RecordingError
from emag_rt.recordings.read import read_recording
from tools.studies.datasets.stretches import make_subject
from tools.studies.datasets.subject_data import Stretch, SubjectData, find_subject

# Runs converted to FIF keep their name.
_NAME = re.compile(r"^(S\d{3})(R\d{2})(\.edf|_raw\.fif)$", re.IGNORECASE)
WINDOW_S = 4.0


def cached_folder() -> Path:
    """Folder of the database in MNE's cache; looked up, never downloaded.

    Raises
    ------
    RecordingError
        If it is not there.
    """
    import mne

    for key in ("MNE_DATASETS_EEGBCI_PATH", "MNE_DATA"):
        place = mne.get_config(key)
        if place:
            folder = Path(place, "MNE-eegbci-data", "files", "eegmmidb", "1.0.0")
            if folder.is_dir():
                return folder
    raise RecordingError(
        "eegmmidb: MNE's cache must hold the database where no folder is given, it does not. "
        "Fetch it with mne.datasets.eegbci.load_data(subjects, runs), or name a folder."
    )


class EegMmiDb:
    """Runs as ``S001/S001R03.edf`` or all in one folder.

    Padding labels (``Fc5.``) are cleaned, and the zeros at the end of a run are cropped, as
    :func:`emag_rt.recordings.read.read_recording` does for any recording. Runs converted to FIF
    (``S001R03_raw.fif``) are read as well.

    Parameters
    ----------
    root : path-like
        Folder with the files.

    Raises
    ------
    RecordingError
        If there is no such file, or a run is there twice.
    """

    name = "eegmmidb"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._files: dict[str, dict[str, Path]] = {}
        for path in sorted([*self.root.glob("*"), *self.root.glob("[Ss][0-9][0-9][0-9]/*")]):
            match = _NAME.match(path.name)
            if match is None:
                continue
            subject, run = match[1].upper(), match[2].upper()
            runs = self._files.setdefault(subject, {})
            if run in runs:
                raise RecordingError(
                    f"eegmmidb: every run must be there once, got {runs[run].name} and "
                    f"{path.relative_to(self.root)} for {subject} {run}. Remove one of them."
                )
            runs[run] = path
        if not self._files:
            raise RecordingError(
                f"eegmmidb: {self.root.name} must hold files like S001R03.edf or S001/S001R03.edf, "
                "got none. Name the folder that holds them."
            )

    def subjects(self) -> list[str]:
        """Names like ``S001``."""
        return sorted(self._files)

    def files(self, subject: str) -> list[Path]:
        """Runs of a subject, in order."""
        runs = self._files[find_subject(subject, self.subjects(), self.name)]
        return [runs[run] for run in sorted(runs)]

    def load(self, subject: str) -> SubjectData:
        """Read all runs of a subject; see :class:`tools.studies.datasets.subject_data.Dataset`."""
        recordings = [read_recording(path) for path in self.files(subject)]
        first = recordings[0]
        for other in recordings[1:]:
            if other.labels != first.labels or other.sfreq != first.sfreq:
                raise RecordingError(
                    f"{other.path.name}: all runs of a subject must have the channels and the rate "
                    f"of {first.path.name} ({len(first.labels)} at {first.sfreq:g} Hz), got "
                    f"{len(other.labels)} at {other.sfreq:g} Hz. Leave it out."
                )
        stretches = [
            Stretch(np.nan_to_num(r.data_uv[start:stop]), r.path, r.path.name[4:7].upper())
            for r in recordings
            for start, stop in r.segments
        ]
        positions = first.positions_mm
        assert positions is not None  # read_recording was asked for them
        return make_subject(
            self.name,
            subject,
            first.labels,
            positions + first.origin_mm,
            first.sfreq,
            stretches,
            window_s=WINDOW_S,
            bads=[label for r in recordings for label in r.bads],
            notes=[f"{r.path.name}: {note}" for r in recordings for note in r.warnings],
        )
