"""What goes into a measurement: the subject's bundle, and what the amplifier plays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bench.cases import Case
from emag_rt.bench.subject import standin_bundle
from emag_rt.bundle import Bundle, load_bundle, save_bundle
from emag_rt.core.labels import match_labels
from emag_rt.errors import SettingsError

_LOOP_S = 8.0
_MIN_UV = 1e-3


@dataclass(frozen=True)
class Material:
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


class Workshop:
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

    def make(self, case: Case) -> Material:
        """Files of a case."""
        key = case.subject
        if key not in self._made:
            begun = time.perf_counter()
            if self._bundle is not None:
                path = Path(self._bundle)
                bundle = load_bundle(path)
            else:
                path = self._folder / f"subject-{len(self._made)}.emag"
                bundle = standin_bundle(key)
                save_bundle(bundle, path)
            took = time.perf_counter() - begun
            signal = self._folder / f"signal-{len(self._made)}.npz"
            write_signal(bundle, signal, self._recording)
            self._made[key] = path, signal, took
        path, signal, took = self._made[key]
        return Material(case, path, signal, took, path.stat().st_size / 1e6)


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


def eeg_like(
    covariance: FloatArray, sfreq: float, seed: int = 1, seconds: float = _LOOP_S
) -> Float32Array:
    """Noise with a subject's covariance and a spectrum that falls as EEG's, without a seam.

    Parameters
    ----------
    covariance : ndarray, shape (n_ld, n_ld)
        In µV², relative to the LD mean.
    sfreq : float
        Rate in Hz.
    seed : int
        Of the random numbers.
    seconds : float
        Length; the end joins the beginning.

    Returns
    -------
    ndarray, shape (n_times, n_ld), float32
        µV, in the reference of an amplifier: the LD mean is not zero.
    """
    rng = np.random.default_rng(seed)
    n_times, n_ld = max(64, round(seconds * sfreq)), len(covariance)
    hz = np.fft.rfftfreq(n_times, 1.0 / sfreq)
    amplitude = np.where(hz > 0.3, 1.0 / np.maximum(hz, 1.0), 0.0) * (hz < 0.45 * sfreq)
    shape = (len(hz), n_ld + 1)
    spectrum = amplitude[:, None] * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    sources = np.fft.irfft(spectrum, n_times, axis=0)
    sources /= sources.std(axis=0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    scale = max(float(np.sqrt(np.trace(covariance) / n_ld)), _MIN_UV)
    common = 0.5 * scale * sources[:, n_ld:]
    return np.asarray(sources[:, :n_ld] @ root.T + common, dtype=np.float32)
