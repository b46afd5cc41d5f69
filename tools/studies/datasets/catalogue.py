"""Datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emag_rt.errors import RecordingError, SettingsError
from tools.studies.datasets.bids import BidsFolder
from tools.studies.datasets.eegmmidb import EegMmiDb, cached_folder
from tools.studies.datasets.localize_mi import LocalizeMI
from tools.studies.datasets.seed import Seed, SeedIV
from tools.studies.datasets.subject_data import Dataset

_OPENERS: dict[str, Callable[[Path], Dataset]] = {
    "localize-mi": LocalizeMI,
    "seed": Seed,
    "seed-iv": SeedIV,
    "eegmmidb": EegMmiDb,
    "bids": BidsFolder,
}
KINDS = tuple(_OPENERS)


def open_dataset(kind: str, root: str | Path | None = None) -> Dataset:
    """Open a dataset that is on disk; nothing is ever downloaded.

    Parameters
    ----------
    kind : {"localize-mi", "seed", "seed-iv", "eegmmidb", "bids"}
        What it is.
    root : path-like, optional
        Its folder. ``eegmmidb`` is looked for in MNE's cache without one.

    Returns
    -------
    Dataset
        Subjects to list and load.

    Raises
    ------
    SettingsError
        If the kind is unknown.
    RecordingError
        If the folder does not exist or holds no such data.
    """
    if kind not in _OPENERS:
        raise SettingsError(f"dataset must be one of {', '.join(KINDS)}, got {kind!r}.")
    if root is None:
        if kind != "eegmmidb":
            raise SettingsError(f"dataset {kind}: root must name its folder, got none.")
        root = cached_folder()
    folder = Path(root)
    if not folder.is_dir():
        raise RecordingError(
            f"dataset {kind}: root must be an existing folder, got {folder}. Download the dataset "
            "and unpack it there; nothing is downloaded by itself."
        )
    return _OPENERS[kind](folder)
