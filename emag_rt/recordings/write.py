"""Rendered recordings on disk."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mne
import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import require_unique
from emag_rt.errors import RecordingError
from emag_rt.files import replacing


def write_raw(
    path: str | Path,
    data_uv: ArrayLike,
    labels: Sequence[str],
    sfreq: float,
    positions_mm: ArrayLike | None = None,
    *,
    origin_mm: ArrayLike = (0.0, 0.0, 0.0),
    bads: Sequence[str] = (),
    meas_date: datetime | None = None,
    highpass: float | None = None,
    lowpass: float | None = None,
    description: str = "",
    events: Sequence[tuple[float, float, str]] = (),
    overwrite: bool = True,
) -> Path:
    """Write EEG as a raw FIF file, in volts; it appears whole or not at all.

    Parameters
    ----------
    path : path
        File to write, named ``*.fif`` (MNE expects ``*_raw.fif``, ``*_eeg.fif`` or the like).
    data_uv : array_like, shape (n_times, n_channels)
        Signal in microvolts.
    labels : sequence of str
        Channel labels.
    sfreq : float
        Rate in Hz.
    positions_mm : array_like, shape (n_channels, 3), optional
        Positions, origin at the centre of the sphere; rows of NaN are unknown.
    origin_mm : array_like, shape (3,)
        Centre of the sphere in MNE's head frame.
    bads : sequence of str
        Channels to mark as bad.
    meas_date : datetime, optional
        Start of the recording.
    highpass, lowpass : float, optional
        Pass band in Hz.
    description : str
        Added to 'rendered by emag_rt'.
    events : sequence of (float, float, str)
        Annotations: onset in seconds after the first sample, duration, description.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecordingError
        If the name does not fit, the file exists and must not be replaced, the shapes differ,
        or MNE refuses to write it.
    OutputError
        If the file cannot be written.
    """
    target = _target(Path(path), overwrite)
    data = np.asarray(data_uv, dtype=np.float64)
    if data.ndim != 2 or data.shape[1] != len(labels):
        raise RecordingError(
            f"data_uv must have shape (n_times, {len(labels)}), one column for each label, got "
            f"{data.shape}."
        )
    require_unique(labels, target.name)
    raw = _raw(data, labels, sfreq, positions_mm, origin_mm)
    text = f"rendered by emag_rt {description}".strip()
    raw.info["description"] = text
    raw.info["bads"] = [label for label in labels if label in set(bads)]
    raw.set_meas_date(meas_date)
    with raw.info._unlock():
        nyquist = sfreq / 2.0
        raw.info["highpass"] = float(highpass or 0.0)
        raw.info["lowpass"] = min(float(lowpass), nyquist) if lowpass else nyquist
    if events:
        onsets, durations, texts = zip(*events, strict=True)
        raw.set_annotations(mne.Annotations(onsets, durations, texts), verbose="ERROR")
    _save(raw, target)
    return target


def _target(path: Path, overwrite: bool) -> Path:
    if path.suffix != ".fif":
        raise RecordingError(
            f"output {path.name}: the name must end with .fif (best: _raw.fif), as the data is "
            "written in MNE's FIF format. Convert it afterwards with mne.export.export_raw."
        )
    if not path.parent.is_dir():
        raise RecordingError(f"output {path}: the folder must exist, it does not. Make it first.")
    if path.exists() and not overwrite:
        raise RecordingError(f"output {path}: the file exists. Remove it or allow overwriting.")
    return path


def _raw(
    data_uv: FloatArray,
    labels: Sequence[str],
    sfreq: float,
    positions_mm: ArrayLike | None,
    origin_mm: ArrayLike | None,
) -> Any:
    info = mne.create_info(list(labels), sfreq, "eeg", verbose="ERROR")
    if positions_mm is not None:
        metres = (np.asarray(positions_mm) + np.asarray(origin_mm)) / 1000.0
        places = {
            label: row for label, row in zip(labels, metres, strict=True) if np.isfinite(row).all()
        }
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        info.set_montage(montage, on_missing="ignore", verbose="ERROR")
    return mne.io.RawArray(data_uv.T * 1e-6, info, verbose="ERROR")


def _save(raw: mne.io.BaseRaw, target: Path, split_size: str = "2GB") -> None:
    """MNE splits what is longer; the parts name each other, so they keep their names."""
    with replacing(target) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            raw.save(beside, overwrite=True, split_size=split_size, verbose="ERROR")
        except (ValueError, RuntimeError) as error:
            raise RecordingError(f"output {target}: cannot be written: {error}") from error
