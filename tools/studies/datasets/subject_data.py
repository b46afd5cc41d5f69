"""What every dataset offers: subjects, and their signals in µV with positions.

A subject's signal is a list of stretches, each continuous in time: usable parts of a run, trials
or epochs. They go to :class:`calibration.FieldCalibrator` as recordings, one a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.errors import RecordingError
from emag_rt.recordings.read import Recording


@dataclass(frozen=True, eq=False)
class Stretch:
    """A continuous piece of signal.

    Attributes
    ----------
    data_uv : ndarray, shape (n_times, n_channels), float64
        In µV, finite.
    file : Path
        Where it comes from.
    run : str
        Run or trial; stretches of one run follow each other in time.
    session : str
        Day or session of the run; empty where there is but one.
    """

    data_uv: FloatArray
    file: Path
    run: str
    session: str = ""

    @property
    def of_run(self) -> tuple[str, str]:
        """Session and run."""
        return self.session, self.run


@dataclass(frozen=True, eq=False)
class SubjectData:
    """Everything of one subject.

    Attributes
    ----------
    dataset, subject : str
        Names.
    montage : Montage
        All channels, in the order of the columns; mm, origin at the centre of the sphere.
    origin_mm : ndarray, shape (3,)
        That centre in the frame of the file.
    radius_mm : float
        Radius of the sphere.
    sfreq : float
        Rate in Hz.
    stretches : tuple of Stretch
        In the order of recording.
    epoched : bool
        Whether stretches are epochs of equal length around an event.
    window_s : float
        Length of the windows that the dataset is usually cut into; of an epoch if epoched.
    bads : tuple of str
        Channels marked as bad.
    warnings : tuple of str
        What was left out or mended.
    """

    dataset: str
    subject: str
    montage: Montage
    origin_mm: FloatArray
    radius_mm: float
    sfreq: float
    stretches: tuple[Stretch, ...]
    epoched: bool
    window_s: float
    bads: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Channel labels, in the order of the columns."""
        return self.montage.labels

    @property
    def runs(self) -> tuple[tuple[str, str], ...]:
        """Session and run of each run, in the order of recording."""
        return tuple(dict.fromkeys(stretch.of_run for stretch in self.stretches))

    @property
    def duration_s(self) -> float:
        """Seconds of signal."""
        return sum(len(stretch.data_uv) for stretch in self.stretches) / self.sfreq

    def select(self, stretches: Sequence[Stretch]) -> SubjectData:
        """Return the same subject with other stretches."""
        return replace(self, stretches=tuple(stretches))

    def recordings(self) -> list[Recording]:
        """One recording a run, as :class:`calibration.FieldCalibrator` takes them.

        Stretches stand one after another, and each is a segment of its own. Hashes are over
        the samples, because several runs may share a file.
        """
        info = self._info()
        return [self._recording(run, info) for run in self.runs]

    def _info(self) -> Any:
        import mne

        info = mne.create_info(list(self.labels), self.sfreq, "eeg", verbose="ERROR")
        places = (self.montage.positions_mm + self.origin_mm) / 1000.0
        positions = dict(zip(self.labels, places, strict=True))
        montage = mne.channels.make_dig_montage(positions, coord_frame="head")
        info.set_montage(montage, verbose="ERROR")
        return info

    def _recording(self, run: tuple[str, str], info: Any) -> Recording:
        parts = [stretch for stretch in self.stretches if stretch.of_run == run]
        data = np.concatenate([part.data_uv for part in parts])
        edges = np.cumsum([0, *[len(part.data_uv) for part in parts]]).tolist()
        digest = hashlib.sha256("\0".join([self.dataset, self.subject, *run]).encode())
        digest.update(np.ascontiguousarray(data).tobytes())
        return Recording(
            labels=self.labels,
            data_uv=data,
            sfreq=self.sfreq,
            segments=tuple(pairwise(edges)),
            positions_mm=self.montage.positions_mm,
            origin_mm=self.origin_mm,
            radius_mm=self.radius_mm,
            unplaced=(),
            bads=self.bads,
            path=parts[0].file,
            sha256=digest.hexdigest(),
            meas_date=None,
            events=(),
            info=info,
            warnings=self.warnings,
        )


class Dataset(Protocol):
    """A dataset on disk."""

    @property
    def name(self) -> str:
        """Short name, as in tables and file names."""

    def subjects(self) -> list[str]:
        """Names of the subjects, in order."""

    def files(self, subject: str) -> list[Path]:
        """Files that a subject is read from, sorted; says whether results are of these data."""

    def load(self, subject: str) -> SubjectData:
        """Read a subject.

        Raises
        ------
        RecordingError
            If a file is missing or malformed; names the file, the rule and the remedy.
        """


def find_subject(subject: str, known: Sequence[str], name: str) -> str:
    """Check a subject's name against those there are.

    Raises
    ------
    RecordingError
        If it is not among them.
    """
    if subject not in known:
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise RecordingError(
            f"{name}: subject must be one of the {len(known)} in the folder, got {subject!r}; "
            f"there are {shown}."
        )
    return subject
