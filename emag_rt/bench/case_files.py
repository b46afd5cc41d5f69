"""Files of a case: the subject's bundle, and what the amplifier plays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emag_rt.bench.cases import Case
from emag_rt.bundle import Bundle, load_bundle, save_bundle
from emag_rt.core.labels import match_labels
from emag_rt.errors import SettingsError
from emag_rt.synthetic.standin import eeg_like


@dataclass(frozen=True)
class CaseFiles:
    """Files of a case.

    Attributes
    ----------
    case : Case
        What is measured.
    bundle : Path
        The subject.
    signal : Path
        What the amplifier plays.
    made_s : float
        Time it took to make the bundle.
    size_mb : float
        Of the bundle.
    """

    case: Case
    bundle: Path
    signal: Path
    made_s: float
    size_mb: float


class CaseFileMaker:
    """Makes files for cases in a folder; cases with the same subject share a bundle.

    Parameters
    ----------
    folder : Path
        Where files go.
    bundle : str, optional
        A real bundle in the place of stand-ins.
    recording : str, optional
        What the amplifier plays in the place of noise.
    """

    def __init__(
        self, folder: Path, bundle: str | None = None, recording: str | None = None
    ) -> None:
        self._folder, self._bundle, self._recording = folder, bundle, recording
        self._made: dict[Case, tuple[Path, Path, float]] = {}

    def make(self, case: Case) -> CaseFiles:
        """Files of a case."""
        key = case.subject
        if key not in self._made:
            begun = time.perf_counter()
            if self._bundle is not None:
                path = Path(self._bundle)
                bundle = load_bundle(path)
            else:
                path = self._folder / f"subject-{len(self._made)}.emag"
                bundle = key.standin()
                save_bundle(bundle, path)
            took = time.perf_counter() - begun
            signal = self._folder / f"signal-{len(self._made)}.npz"
            write_signal(bundle, signal, self._recording)
            self._made[key] = path, signal, took
        path, signal, took = self._made[key]
        return CaseFiles(case, path, signal, took, path.stat().st_size / 1e6)


def case_of_bundle(path: str, chunk: int = 1) -> Case:
    """The case that a real bundle is."""
    manifest = load_bundle(path).manifest
    return Case(
        len(manifest.ld),
        len(manifest.hd),
        manifest.sfreq,
        chunk,
        manifest.look_ahead_samples,
        load_bundle(path).model.drive.hidden is not None,
    )


def write_signal(bundle: Bundle, path: Path, recording: str | None = None) -> None:
    """Write what the amplifier plays, for the bundle's channels and rate.

    Parameters
    ----------
    bundle : Bundle
        The subject.
    path : Path
        ``.npz`` to write.
    recording : str, optional
        A recording with the bundle's LD channels; noise with the bundle's covariance otherwise.

    Raises
    ------
    RecordingError, MontageError, SettingsError
        If the recording does not fit.
    """
    labels = [electrode.label for electrode in bundle.manifest.ld]
    sfreq = bundle.manifest.sfreq
    if recording is None:
        signal = eeg_like(bundle.covariance, sfreq)
    else:
        from emag_rt.recordings.read import read_recording

        played = read_recording(recording, sfreq=sfreq, need_positions=False)
        columns = match_labels(labels, played.labels, recording)
        signal = played.data_uv[:, columns].astype(np.float32)
        if len(signal) < sfreq:
            raise SettingsError(
                f"--recording must hold at least a second, got {len(signal)} samples. "
                "Take another, or leave it out."
            )
    np.savez(path, signal_uv=signal, labels=np.array(labels), sfreq=np.array(sfreq))
