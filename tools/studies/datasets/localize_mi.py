"""Localize-MI (Mikulan et al. 2020): 256-channel EEG around intracerebral stimulation.

The derivative with epochs is read: ``sub-01/eeg/*_epochs.npy`` of shape (epochs, channels,
times), 260 ms at 8 kHz, with ``*_channels.tsv`` (names, units), ``*_epochs.tsv`` (a row an epoch)
and ``*_electrodes.tsv`` (positions, metres) beside it or above it, as BIDS inherits them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import canonical
from emag_rt.errors import RecordingError, SettingsError
from emag_rt.frontend.units import unit_to_uv
from tools.studies.datasets.sidecars import entities, read_json, read_tsv, side_file
from tools.studies.datasets.stretches import make_subject
from tools.studies.datasets.subject_data import Stretch, SubjectData, find_subject

SFREQ = 8000.0
_TO_MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0}


class LocalizeMI:
    """Epochs of each run of a subject.

    Parameters
    ----------
    root : path-like
        Folder with ``sub-XX``; ``derivatives/epochs`` below it is found too.

    Raises
    ------
    RecordingError
        If no epochs are there.
    """

    name = "localize-mi"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._files: dict[str, list[Path]] = {}
        for place in (self.root, self.root / "derivatives" / "epochs"):
            for path in sorted(place.glob("sub-*/eeg/*_epochs.npy")):
                self._files.setdefault(path.parent.parent.name, []).append(path)
        if not self._files:
            raise RecordingError(
                f"localize-mi: {self.root.name} must hold sub-XX/eeg/*_epochs.npy, got none. Name "
                "the folder of the derivative with epochs."
            )

    def subjects(self) -> list[str]:
        """Names like ``sub-01``."""
        return sorted(self._files)

    def files(self, subject: str) -> list[Path]:
        """Files of epochs, and the tables that go with them."""
        found: list[Path] = []
        for path in self._files[find_subject(subject, self.subjects(), self.name)]:
            suffixes = ("channels.tsv", "epochs.tsv", "electrodes.tsv", "coordsystem.json")
            sides = [side_file(path, suffix, self.root) for suffix in suffixes]
            found += [path, *[side for side in sides if side is not None]]
        return sorted(set(found))

    def load(self, subject: str) -> SubjectData:
        """Read all runs of a subject; see :class:`tools.studies.datasets.subject_data.Dataset`."""
        stretches: list[Stretch] = []
        notes: list[str] = []
        bads: set[str] = set()
        first: _Run | None = None
        for path in self._files[find_subject(subject, self.subjects(), self.name)]:
            run = _Run(path, self.root)
            first = first or run
            if (run.labels, run.sfreq) != (first.labels, first.sfreq):
                raise RecordingError(
                    f"{path.name}: all runs of a subject must have the same EEG channels and rate, "
                    f"got {len(run.labels)} at {run.sfreq:g} Hz beside {len(first.labels)} at "
                    f"{first.sfreq:g} Hz in {first.path.name}. Leave it out."
                )
            stretches += run.epochs()
            notes += run.notes
            bads |= set(run.bads)
        assert first is not None  # a subject has at least one file
        return make_subject(
            self.name,
            subject,
            first.labels,
            _positions(first.path, self.root, first.labels),
            first.sfreq,
            stretches,
            window_s=first.n_times / first.sfreq,
            epoched=True,
            bads=sorted(bads),
            notes=notes,
        )


class _Run:
    """One file of epochs with its tables, checked against each other."""

    def __init__(self, path: Path, top: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        array = _load(path)
        rows = _channels(path, top, array.shape[1])
        self._keep = [i for i, row in enumerate(rows) if row.get("type", "EEG").upper() == "EEG"]
        if len(self._keep) < 2:
            raise RecordingError(
                f"{path.name}: at least 2 channels must be of type EEG in its channels.tsv, got "
                f"{len(self._keep)}. Mend the column type."
            )
        used = [rows[i] for i in self._keep]
        self.labels = tuple(row["name"] for row in used)
        self.bads = [row["name"] for row in used if row.get("status", "").lower() == "bad"]
        self._factors = np.array([_factor(row, path) for row in used])
        self._good_epochs = _good_epochs(path, top, len(array), self.notes)
        self.sfreq = self._rate(used, top)
        self._array = array
        self.n_times = array.shape[2]

    def _rate(self, rows: list[dict[str, str]], top: Path) -> float:
        rates: set[str] = {r.get("sampling_frequency", "n/a") for r in rows} - {"n/a", ""}
        for suffix in ("epochs.json", "eeg.json"):
            side = side_file(self.path, suffix, top)
            if side is not None and not rates:
                value = read_json(side).get("SamplingFrequency")
                rates = set() if value is None else {str(value)}
        if not rates:
            self.notes.append(f"{self.path.name}: no rate is declared, {SFREQ:g} Hz is assumed")
            return SFREQ
        try:
            (rate,) = {float(value) for value in rates}
            if not 40.0 <= rate <= 100_000.0:
                raise ValueError
        except ValueError:
            raise RecordingError(
                f"{self.path.name}: the sampling frequency must be one number from 40 to 100000 "
                f"Hz, got {', '.join(sorted(rates))}. Mend its channels.tsv or JSON."
            ) from None
        return rate

    def epochs(self) -> list[Stretch]:
        """Epochs in µV; those that hold no number are left out and noted."""
        own = entities(self.path)
        run = self.path.name.removesuffix("_epochs.npy")
        good = np.array([label not in self.bads for label in self.labels])
        stretches = []
        lost = 0
        for index in self._good_epochs:
            data = self._array[index][self._keep].T.astype(np.float64) * self._factors
            if not np.isfinite(data[:, good]).all():
                lost += 1
                continue
            data = np.nan_to_num(data, nan=0.0, posinf=0.0, neginf=0.0)
            stretches.append(Stretch(data, self.path, run, own.get("ses", "")))
        if lost:
            self.notes.append(f"{self.path.name}: {lost} epochs hold NaN or infinity, left out")
        return stretches


def _load(path: Path) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecordingError(
            f"{path.name}: must be a NumPy array without pickled objects, got: {error}. Download "
            "it again."
        ) from error
    if array.ndim != 3 or array.dtype.kind not in "fiu" or min(array.shape) < 1:
        raise RecordingError(
            f"{path.name}: must hold numbers of shape (epochs, channels, times), got {array.dtype} "
            f"of shape {array.shape}."
        )
    if array.shape[2] < 16:
        raise RecordingError(
            f"{path.name}: an epoch must have at least 16 samples, got shape {array.shape}. The "
            "order of the axes is (epochs, channels, times)."
        )
    return array


def _channels(path: Path, top: Path, n_channels: int) -> list[dict[str, str]]:
    table = _needed(path, "channels.tsv", top)
    rows = read_tsv(table, ("name", "units"))
    if len(rows) != n_channels:
        raise RecordingError(
            f"{table.name}: must have a row for each of the {n_channels} channels of {path.name}, "
            f"got {len(rows)}. Is the order of its axes (epochs, channels, times)?"
        )
    names = [canonical(row["name"]) for row in rows]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise RecordingError(
            f"{table.name}: channel names must be unique, got {', '.join(doubled)} more than once."
        )
    return rows


def _factor(row: dict[str, str], path: Path) -> float:
    try:
        return unit_to_uv(row["units"])
    except SettingsError:
        raise RecordingError(
            f"{path.name}: units of channel {row['name']} must be V, mV, µV or nV in its "
            f"channels.tsv, got {row['units']!r}. Write what the values are in."
        ) from None


def _good_epochs(path: Path, top: Path, n_epochs: int, notes: list[str]) -> list[int]:
    """Indices of the epochs that the table does not mark as bad."""
    table = side_file(path, "epochs.tsv", top)
    if table is None:
        notes.append(f"{path.name}: no epochs.tsv, every epoch is used")
        return list(range(n_epochs))
    rows = read_tsv(table, ())
    if len(rows) != n_epochs:
        raise RecordingError(
            f"{table.name}: must have a row for each of the {n_epochs} epochs of {path.name}, got "
            f"{len(rows)}. Download both again."
        )
    bad = [i for i, row in enumerate(rows) if row.get("status", "").lower() == "bad"]
    if bad:
        notes.append(f"{path.name}: {len(bad)} epochs marked bad, left out")
    return [i for i in range(n_epochs) if i not in set(bad)]


def _positions(path: Path, top: Path, labels: tuple[str, ...]) -> FloatArray:
    """Positions in mm, NaN for channels that the table does not place."""
    table = _needed(path, "electrodes.tsv", top)
    system = side_file(path, "coordsystem.json", top)
    unit = "m" if system is None else str(read_json(system).get("EEGCoordinateUnits", "m"))
    if unit not in _TO_MM:
        raise RecordingError(
            f"{system.name if system else ''}: EEGCoordinateUnits must be m, cm or mm, got "
            f"{unit!r}. Write what the positions are in."
        )
    places: dict[str, list[float]] = {}
    for row in read_tsv(table, ("name", "x", "y", "z")):
        try:
            values = [float(row[axis]) if row[axis] != "n/a" else np.nan for axis in "xyz"]
        except ValueError:
            raise RecordingError(
                f"{table.name}: x, y and z must be numbers or n/a, got {row['x']!r}, {row['y']!r}, "
                f"{row['z']!r} for {row['name']}. Mend the row."
            ) from None
        places[canonical(row["name"])] = values
    unknown = [np.nan] * 3
    return np.array([places.get(canonical(label), unknown) for label in labels]) * _TO_MM[unit]


def _needed(path: Path, suffix: str, top: Path) -> Path:
    found = side_file(path, suffix, top)
    if found is None:
        raise RecordingError(
            f"{path.name}: a *_{suffix} must lie beside it or above it, got none. Download the "
            "dataset's tables too."
        )
    return found
