"""SEED and SEED-IV (Zheng and Lu 2015; Zheng et al. 2019): film clips, 62 channels at 200 Hz."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import RecordingError
from emag_rt.recordings.positions import clean_labels, fill_from_template
from tools.studies.datasets.stretches import make_subject, usable_parts
from tools.studies.datasets.subject_data import Stretch, SubjectData, find_subject

SFREQ = 200.0
WINDOW_S = 4.0  # 800 samples, as in the paper

# Order of the rows in every file (the datasets' channel-order.xlsx).
_ORDER = (
    "FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 T7 C5 C3 "
    "C1 CZ C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 PO7 PO5 PO3 "
    "POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2"
)
CHANNELS = tuple(_ORDER.split())

_STAND_INS = {"CB1": "POO9", "CB2": "POO10"}

_NAME = re.compile(r"^(\d+)_(\w+)\.mat$")
_TRIAL = re.compile(r"_eeg(\d+)$", re.IGNORECASE)
_SESSIONS = ("1", "2", "3")
# Where the files lie below the dataset's folder; the folder itself may be named as well.
_PLACES = (".", "eeg_raw_data", "Preprocessed_EEG")


def channel_positions() -> FloatArray:
    """Template positions of the 62 channels in MNE's head frame.

    ``CB1`` and ``CB2`` (cerebellum) are names of the cap's maker that no template knows. On the
    cap they sit a row below PO7 and O1 (PO8 and O2), between them: the place that the 10-05
    system calls POO9 (POO10), which they are given.

    Returns
    -------
    ndarray, shape (62, 3), float64
        In mm.
    """
    labels = [_STAND_INS.get(name, name) for name in CHANNELS]
    positions, _ = fill_from_template(clean_labels(labels), np.full((len(labels), 3), np.nan))
    return positions


class Seed:
    """SEED: 15 trials a session.

    Files are ``eeg_raw_data/{1,2,3}/{subject}_{date}.mat``, a folder a session, or
    ``Preprocessed_EEG/{subject}_{date}.mat``, where the order of the dates numbers the sessions.
    Variables end in ``_eeg1``, ``_eeg2``, ...; each is (62, n_times) in µV at 200 Hz.

    Parameters
    ----------
    root : path-like
        Folder of the dataset, or the one with the files.

    Raises
    ------
    RecordingError
        If no such file is there.
    """

    name = "seed"
    n_trials = 15

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._files: dict[str, dict[str, Path]] = {}
        for place in _PLACES:
            self._find(self.root / place)
        if not self._files:
            raise RecordingError(
                f"{self.name}: {self.root.name} must hold eeg_raw_data/1/1_20131027.mat or "
                "Preprocessed_EEG/1_20131027.mat and the like, got none. Name the dataset's "
                "folder."
            )

    def _find(self, folder: Path) -> None:
        for session in _SESSIONS:
            for path in sorted((folder / session).glob("*.mat")):
                if match := _NAME.match(path.name):
                    self._add(match[1], session, path)
        flat: dict[str, list[Path]] = {}
        for path in sorted(folder.glob("*.mat")):  # dates sort as text
            if match := _NAME.match(path.name):
                flat.setdefault(match[1], []).append(path)
        for subject, paths in flat.items():
            for number, path in enumerate(paths, 1):
                self._add(subject, str(number), path)

    def _add(self, subject: str, session: str, path: Path) -> None:
        sessions = self._files.setdefault(subject, {})
        if session in sessions:
            raise RecordingError(
                f"{self.name}: a subject must have one file a session, got "
                f"{sessions[session].name} and {path.name} for subject {subject}, "
                f"session {session}. Remove one of them."
            )
        sessions[session] = path

    def subjects(self) -> list[str]:
        """Numbers, as text."""
        return sorted(self._files, key=int)

    def files(self, subject: str) -> list[Path]:
        """One file a session."""
        sessions = self._files[find_subject(subject, self.subjects(), self.name)]
        return [sessions[session] for session in sorted(sessions)]

    def load(self, subject: str) -> SubjectData:
        """Read all trials of a subject; see ``subject_data.Dataset``."""
        find_subject(subject, self.subjects(), self.name)
        stretches: list[Stretch] = []
        notes: list[str] = []
        for session, path in sorted(self._files[subject].items()):
            names = _trials(path)
            if len(names) < self.n_trials:
                notes.append(f"{path.name}: {len(names)} of {self.n_trials} trials")
            content = _read(path, tuple(names))
            for number, name in enumerate(names, 1):
                signal = _signal(content[name], name, path)
                parts, note = usable_parts(signal, SFREQ, np.ones(len(CHANNELS), dtype=bool))
                if note:
                    notes.append(f"{path.name}, {name}: {note}")
                stretches += [Stretch(part, path, f"eeg{number}", session) for part in parts]
        return make_subject(
            self.name,
            subject,
            clean_labels(CHANNELS),
            channel_positions(),
            SFREQ,
            stretches,
            window_s=WINDOW_S,
            notes=notes,
        )


class SeedIV(Seed):
    """SEED-IV: 24 trials a session; otherwise as :class:`Seed`."""

    name = "seed-iv"
    n_trials = 24


def _mat(function: str, path: Path, **options: Any) -> Any:
    """Call a reader of scipy.io, its errors translated."""
    import scipy.io

    try:
        return getattr(scipy.io, function)(str(path), **options)
    except NotImplementedError as error:
        raise RecordingError(
            f"{path.name}: must be a MATLAB file of version 7 or below, got version 7.3 (HDF5). "
            "Save it in MATLAB with save(..., '-v7')."
        ) from error
    except Exception as error:  # damaged files raise whatever their bytes lead to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RecordingError(
            f"{path.name}: must be a MATLAB file that can be read, got: {reason}. Download it "
            "again."
        ) from error


def _trials(path: Path) -> list[str]:
    """Names of the variables of the trials, in order."""
    found: dict[int, str] = {}
    for name, _, _ in _mat("whosmat", path):
        if match := _TRIAL.search(name):
            number = int(match[1])
            if number in found:
                raise RecordingError(
                    f"{path.name}: every trial must be there once, got {found[number]} and {name}. "
                    "Remove one of them."
                )
            found[number] = name
    if sorted(found) != list(range(1, len(found) + 1)) or not found:
        there = ", ".join(str(n) for n in sorted(found)) or "none"
        raise RecordingError(
            f"{path.name}: trials must be variables ending in _eeg1, _eeg2, ... without a gap, got "
            f"{there}. Download the file again."
        )
    return [found[number] for number in sorted(found)]


def _read(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    content: dict[str, Any] = _mat("loadmat", path, variable_names=list(names))
    return content


def _signal(values: Any, name: str, path: Path) -> FloatArray:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[0] != len(CHANNELS) or array.dtype.kind not in "fiu":
        raise RecordingError(
            f"{path.name}: {name} must be numbers of shape (62, n_times), got {array.dtype} of "
            f"shape {array.shape}. Is it the raw EEG, not its features?"
        )
    return np.ascontiguousarray(array.T, dtype=np.float64)
