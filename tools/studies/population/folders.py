"""A folder of many people's recordings: who is in it, and with which files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from emag_rt.errors import RecordingError
from tools.studies.datasets.eegmmidb import EegMmiDb

_SUFFIXES = (".edf", ".bdf", ".gdf", ".fif", ".vhdr", ".set", ".cnt", ".mff", ".xdf")


def people_of(
    folder: Path, only: Collection[str] = (), leave_out: Collection[str] = ()
) -> dict[str, list[Path]]:
    """People and their files.

    Parameters
    ----------
    folder : Path
        Runs named as in PhysioNet's eegmmidb (``S001R03.edf``), a folder for each person, or a
        file for each person.
    only : collection of str
        People to take; empty: all.
    leave_out : collection of str
        People to leave out.

    Returns
    -------
    dict of str to list of Path
        Sorted.

    Raises
    ------
    RecordingError
        If there are fewer than three, or one that was named is not there.
    """
    if not folder.is_dir():
        raise RecordingError(f"FOLDER must be a folder of recordings, got {folder.name!r}.")
    people = _eegmmidb(folder) or _one_folder_each(folder) or _one_file_each(folder)
    unknown = sorted({*only, *leave_out} - set(people))
    if unknown:
        raise RecordingError(f"{folder.name}: {', '.join(unknown)} must be there, got none.")
    kept = {k: v for k, v in people.items() if k not in leave_out and (not only or k in only)}
    if len(kept) < 3:
        raise RecordingError(
            f"{folder.name}: must hold at least 3 people, got {len(kept)}. Files are to be named "
            "as eegmmidb's (S001R03.edf), or lie in a folder for each person, or one a person."
        )
    return kept


def _eegmmidb(folder: Path) -> dict[str, list[Path]]:
    try:
        data = EegMmiDb(folder)
    except RecordingError:
        return {}
    return {person: data.files(person) for person in data.subjects()}


def _one_folder_each(folder: Path) -> dict[str, list[Path]]:
    found = {
        below.name: sorted(p for p in below.rglob("*") if p.suffix.lower() in _SUFFIXES)
        for below in sorted(folder.iterdir())
        if below.is_dir()
    }
    return {name: files for name, files in found.items() if files}


def _one_file_each(folder: Path) -> dict[str, list[Path]]:
    return {p.stem: [p] for p in sorted(folder.iterdir()) if p.suffix.lower() in _SUFFIXES}
