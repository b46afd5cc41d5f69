"""What an EDF or BDF header says that MNE does not pass on: rates of channels, holes in time.

Format: Kemp and Olivan 2003 (EDF+); https://www.edfplus.info/specs/edfplus.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import RecordingError

SUFFIXES = (".edf", ".bdf")
_FIXED = 256
_ONSET = re.compile(rb"\s*([+-]\d+(?:\.\d+)?)(?:\x15[^\x14]*)?\x14")
_BEFORE_COUNT = 216
"""Bytes a channel takes in the header before its samples in a record."""


@dataclass(frozen=True)
class EdfHeader:
    """The part of a header that is needed.

    Attributes
    ----------
    path : Path
        The file.
    labels : tuple of str
        Of all channels, annotations among them.
    n_samples : tuple of int
        Samples of each channel in a record.
    record_s : float
        Duration of a record in seconds.
    n_bytes : int
        Of the header.
    discontinuous : bool
        Whether records need not follow each other (EDF+D, BDF+D).
    """

    path: Path
    labels: tuple[str, ...]
    n_samples: tuple[int, ...]
    record_s: float
    n_bytes: int
    discontinuous: bool

    def sfreq(self, label: str) -> float:
        """Rate of a channel in Hz, by its label as the file has it."""
        return self.n_samples[self.labels.index(label)] / self.record_s

    def onsets_s(self) -> FloatArray:
        """When each record begins, from its own time stamp; shape (n_records,), in seconds.

        Raises
        ------
        RecordingError
            If a record has none.
        """
        width = 3 if self.path.suffix.lower() == ".bdf" else 2
        name = "BDF Annotations" if width == 3 else "EDF Annotations"
        place = self.labels.index(name) if name in self.labels else -1
        start = width * sum(self.n_samples[: max(place, 0)])
        length = width * self.n_samples[place]
        record_bytes = width * sum(self.n_samples)
        n_records = (self.path.stat().st_size - self.n_bytes) // record_bytes
        onsets = np.full(n_records, np.nan)
        with self.path.open("rb") as file:
            for i in range(n_records if place >= 0 else 0):
                file.seek(self.n_bytes + i * record_bytes + start)
                found = _ONSET.match(file.read(length))
                if found:
                    onsets[i] = float(found[1])
        if not np.isfinite(onsets).all() or (np.diff(onsets) < 0).any():
            raise RecordingError(
                f"{self.path.name}: an interrupted recording (EDF+D) must say when each record "
                f"begins, in order; {int((~np.isfinite(onsets)).sum())} of {n_records} records do "
                "not. Export it again, as continuous (EDF+C) or in another format."
            )
        return onsets


def read_edf_header(path: Path) -> EdfHeader | None:
    """Read a header.

    Parameters
    ----------
    path : Path
        A file; its name tells whether it is EDF or BDF.

    Returns
    -------
    EdfHeader or None
        None where it is neither, or damaged: MNE says then what is wrong.
    """
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            fixed = file.read(_FIXED)
            n_bytes, n_signals = int(fixed[184:192]), int(fixed[252:256])
            record_s = float(fixed[244:252])
            rest = file.read(_FIXED * min(n_signals, 4096))
        labels = tuple(
            rest[16 * i : 16 * (i + 1)].decode("latin-1").strip() for i in range(n_signals)
        )
        first = _BEFORE_COUNT * n_signals
        counts = tuple(int(rest[first + 8 * i : first + 8 * (i + 1)]) for i in range(n_signals))
    except (ValueError, OSError):
        return None
    if record_s <= 0 or min(counts, default=0) < 1:
        return None
    return EdfHeader(
        path, labels, counts, record_s, n_bytes, fixed[192:197] in (b"EDF+D", b"BDF+D")
    )


def quicker_than_eeg(header: EdfHeader, eeg: list[str]) -> list[str]:
    """Channels that are sampled faster than any EEG channel, by their labels.

    MNE brings all channels to the highest rate it reads: an ECG at 500 Hz would make an EEG of
    160 Hz one of 500.

    Parameters
    ----------
    header : EdfHeader
        Of the file.
    eeg : list of str
        Labels of EEG channels.
    """
    rates = dict(zip(header.labels, header.n_samples, strict=True))
    highest = max((rates[label] for label in eeg if label in rates), default=max(rates.values()))
    return [
        label
        for label, rate in rates.items()
        if rate > highest and not label.endswith("Annotations")
    ]
