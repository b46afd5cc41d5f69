"""Any BIDS folder with EEG, through MNE-BIDS (Appelhoff et al. 2019)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import RecordingError, SettingsError
from emag_rt.recordings.positions import clean_labels, fill_from_template, known_positions
from emag_rt.recordings.usable import breaks
from tools.studies.datasets.stretches import make_subject, usable_parts
from tools.studies.datasets.subject_data import Stretch, SubjectData, find_subject

WINDOW_S = 4.0
_EXTENSIONS = [".edf", ".bdf", ".vhdr", ".set"]  # what BIDS allows for EEG


def _mne_bids() -> Any:
    try:
        import mne_bids
    except ImportError as error:
        raise SettingsError(
            "dataset bids needs mne-bids, which is not installed: pip install '.[studies]'."
        ) from error
    return mne_bids


class BidsFolder:
    """EEG of any BIDS dataset: channel types and bad channels, positions and events as declared.

    Runs are told apart by session, task, acquisition and run.

    Parameters
    ----------
    root : path-like
        Folder with ``sub-*``.

    Raises
    ------
    RecordingError
        If it holds no EEG.
    SettingsError
        If mne-bids is not installed.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._paths: dict[str, list[Any]] = {}
        bids = _mne_bids()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are none of ours
            found = bids.find_matching_paths(
                self.root, datatypes="eeg", suffixes="eeg", extensions=_EXTENSIONS
            )
        for path in sorted(found, key=_order):
            # Derivatives and the like lie deeper, and are datasets of their own.
            if path.subject is not None and self.root / f"sub-{path.subject}" in path.fpath.parents:
                self._paths.setdefault(f"sub-{path.subject}", []).append(path)
        if not self._paths:
            raise RecordingError(
                f"bids: {self.root.name} must hold sub-*/[ses-*/]eeg/*_eeg.EXT (EXT one of "
                f"{', '.join(_EXTENSIONS)}), got none. Name the root of a BIDS dataset with EEG."
            )

    @property
    def name(self) -> str:
        """``bids-`` and the name of the folder."""
        return f"bids-{self.root.resolve().name}"

    def subjects(self) -> list[str]:
        """Names like ``sub-01``."""
        return sorted(self._paths)

    def files(self, subject: str) -> list[Path]:
        """All files below the subject's folder, side files among them."""
        find_subject(subject, self.subjects(), self.name)
        return sorted(path for path in (self.root / subject).rglob("*") if path.is_file())

    def load(self, subject: str) -> SubjectData:
        """Read all runs of a subject; see :class:`tools.studies.datasets.subject_data.Dataset`."""
        notes: list[str] = []
        stretches: list[Stretch] = []
        bads: set[str] = set()
        known: tuple[tuple[str, ...], float] | None = None
        positions: FloatArray = np.empty((0, 3))
        for path in self._paths[find_subject(subject, self.subjects(), self.name)]:
            raw = _read(path, notes)
            labels, sfreq = tuple(clean_labels(raw.ch_names)), float(raw.info["sfreq"])
            if known is None:
                known = labels, sfreq
                positions, _ = fill_from_template(labels, known_positions(raw.info))
            elif known != (labels, sfreq):
                raise RecordingError(
                    f"{path.basename}: all runs of a subject must have the same EEG channels and "
                    f"rate, got {len(labels)} at {sfreq:g} Hz beside {len(known[0])} at "
                    f"{known[1]:g} Hz. Leave it out, or split the dataset."
                )
            bads |= set(clean_labels(raw.info["bads"]))
            stretches += _stretches(raw, path, labels, notes)
        assert known is not None  # a subject has at least one file
        return make_subject(
            self.name,
            subject,
            known[0],
            positions,
            known[1],
            stretches,
            window_s=WINDOW_S,
            bads=sorted(bads),
            notes=notes,
        )


def _order(path: Any) -> list[tuple[bool, int, str]]:
    """Runs in order: run 2 comes before run 10."""
    return [
        (not text.isdigit(), int(text) if text.isdigit() else 0, text)
        for text in re.split(r"(\d+)", str(path.fpath))
    ]


def _read(path: Any, notes: list[str]) -> Any:
    """EEG channels of one file, loaded."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raw = _mne_bids().read_raw_bids(path, verbose="ERROR")
            raw.load_data(verbose="ERROR")
            raw.pick("eeg", exclude=(), verbose="ERROR")
    except Exception as error:  # readers raise whatever their format library raises
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise RecordingError(
            f"{path.basename}: must be EEG that MNE-BIDS can read, got {type(error).__name__}: "
            f"{reason}. Check the dataset with the BIDS validator."
        ) from error
    for warning in caught:
        if issubclass(warning.category, RuntimeWarning):
            notes.append(f"{path.basename}: {' '.join(str(warning.message).split())}")
    return raw


def _stretches(raw: Any, path: Any, labels: tuple[str, ...], notes: list[str]) -> list[Stretch]:
    sfreq = float(raw.info["sfreq"])
    marks = raw.annotations
    onsets = [float(onset - raw.first_time) for onset in marks.onset]
    unusable, splits = breaks(onsets, list(marks.duration), list(marks.description), sfreq)
    data = np.ascontiguousarray(raw.get_data(verbose="ERROR").T) * 1e6
    bad = set(clean_labels(raw.info["bads"]))
    good = np.array([label not in bad for label in labels])
    parts, note = usable_parts(data, sfreq, good, unusable=unusable, splits=splits)
    if note:
        notes.append(f"{path.basename}: {note}")
    names = (("task", path.task), ("acq", path.acquisition), ("run", path.run))
    run = "_".join(f"{key}-{value}" for key, value in names if value) or "eeg"
    return [Stretch(part, Path(path.fpath), run, path.session or "") for part in parts]
