"""Recordings: XDF and whatever MNE reads, in microvolts with positions and usable stretches."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import mne
import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.core.labels import cut_common, require_one_reference, require_unique, unfit_labels
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.core.naming import NAMING_REMEDY, ChannelNames
from emag_rt.core.straighten import straighten
from emag_rt.errors import MontageError, RecordingError, SettingsError, short
from emag_rt.files import BUNDLE_ENDINGS, RECORDING_ENDINGS, neighbours, readable
from emag_rt.recordings.open_raw import mne_warnings, open_raw
from emag_rt.recordings.positions import (
    clean_labels,
    fill_from_template,
    known_positions,
    looks_like_eeg,
    template,
    ten_five,
)
from emag_rt.recordings.reference import declared_reference
from emag_rt.recordings.resample import resample_segments
from emag_rt.recordings.usable import Segment, breaks, padding, runs, usable_segments
from emag_rt.recordings.xdf import is_xdf, read_xdf, split_stream

logger = logging.getLogger("emag_rt.recordings")

_MIN_PLACED = 4  # a sphere through fewer is not determined
# Median amplitude of EEG (about its median) lies well inside; a wrong unit is off by 1e3.
PLAUSIBLE_UV = (0.1, 5000.0)


@dataclass(frozen=True, eq=False)
class Recording:
    """EEG channels of one recording.

    Attributes
    ----------
    labels : tuple of str
        Channel labels, unique.
    data_uv : ndarray, shape (n_times, n_channels), float64
        Whole signal in microvolts, unusable stretches included (NaN there after resampling).
    sfreq : float
        Rate in Hz.
    segments : tuple of (int, int)
        Sample ranges (stop excluded) that are continuous and usable.
    positions_mm : ndarray, shape (n_channels, 3), float64, or None
        Positions, origin at the centre of the fitted sphere; NaN for channels in ``unplaced``.
        None when no sphere can be fitted and positions were not asked for.
    origin_mm : ndarray, shape (3,)
        Centre of the sphere in MNE's head frame; zeros without positions.
    radius_mm : float
        Radius of the sphere; NaN without positions.
    unplaced : tuple of str
        Channels with unknown position.
    bads : tuple of str
        Channels marked as bad in the file, or without a single number.
    path : Path
        The file.
    sha256 : str
        Hash over all files of the recording.
    meas_date : datetime or None
        Start of the recording.
    events : tuple of (float, float, str)
        Annotations: onset in seconds after the first sample, duration, description.
    info : mne.Info
        MNE's description of the channels, positions filled in; rate as in the file.
    warnings : tuple of str
        What was found and mended or left out; logged as well.
    reference : str
        Reference that the recording declares; empty where it does not.
    template : str
        Template that placed channels without a position in the file; empty where none had to.
    """

    labels: tuple[str, ...]
    data_uv: FloatArray
    sfreq: float
    segments: tuple[Segment, ...]
    positions_mm: FloatArray | None
    origin_mm: FloatArray
    radius_mm: float
    unplaced: tuple[str, ...]
    bads: tuple[str, ...]
    path: Path
    sha256: str
    meas_date: datetime | None
    events: tuple[tuple[float, float, str], ...]
    info: mne.Info
    warnings: tuple[str, ...]
    template: str = ""
    reference: str = ""

    @property
    def duration_s(self) -> float:
        """Length of the usable stretches, in seconds."""
        return sum(stop - start for start, stop in self.segments) / self.sfreq

    def montage(self) -> Montage:
        """Channels with known positions."""
        if self.positions_mm is None:
            raise MontageError(f"{self.path.name}: electrode positions are unknown. Set a montage.")
        rows = [i for i, label in enumerate(self.labels) if label not in self.unplaced]
        return Montage(tuple(self.labels[i] for i in rows), self.positions_mm[rows])


def read_recording(
    path: str | Path,
    *,
    sfreq: float | None = None,
    need_positions: bool = True,
    names: ChannelNames | None = None,
) -> Recording:
    """Read the EEG channels of a recording.

    Parameters
    ----------
    path : path
        Anything that :func:`mne.io.read_raw` reads: FIF, EDF, BDF, BrainVision, EEGLAB, EGI...;
        or XDF (LabRecorder), of which ``file.xdf#STREAM`` names one of several EEG streams by
        name, source id or number.
    sfreq : float, optional
        Resample to this rate in Hz, each usable stretch by itself. Rates need not be integers.
    need_positions : bool
        Whether unknown positions are an error; labels of the 10-05 system (and of BioSemi and
        EGI nets) are placed by a template where the file has no positions.
    names : ChannelNames, optional
        What the channels of type EEG are called, where the file does not say so itself.

    Returns
    -------
    Recording
        The recording.

    Raises
    ------
    SettingsError
        If ``sfreq`` is out of range.
    RecordingError
        If the file cannot be read, is not continuous, or has fewer than two usable EEG
        channels, double labels, an implausible unit, nothing usable, or no positions.
    """
    path, stream = split_stream(path)
    if sfreq is not None and not 1 <= sfreq <= 100_000:
        raise SettingsError(f"sfreq must be from 1 to 100000 Hz to resample to, got {sfreq:g}.")
    notes: list[str] = []
    raw = _read_raw(path, stream, notes)
    try:
        return _digest(_pick_eeg(raw, path, notes, names), path, sfreq, need_positions, notes)
    except MontageError as error:  # lacks the file's name
        raise RecordingError(f"{path.name}: {error}") from error
    finally:
        raw.close()
        for note in notes:
            logger.warning("%s: %s", path.name, note)


def _digest(
    raw: mne.io.BaseRaw, path: Path, sfreq: float | None, need_positions: bool, notes: list[str]
) -> Recording:
    labels = tuple(raw.ch_names)
    data = np.ascontiguousarray(raw.get_data(verbose="ERROR").T) * 1e6
    finite = np.isfinite(data)
    data[~finite] = np.nan  # infinity is no number either, and differences of it warn
    empty = {labels[i] for i in np.flatnonzero(~finite.any(axis=0))}
    marked = (set(raw.info["bads"]) & set(labels)) | empty
    bads = tuple(label for label in labels if label in marked)
    good = [i for i, label in enumerate(labels) if label not in marked]
    if len(good) < 2:
        raise RecordingError(
            f"{path.name}: at least 2 EEG channels must be usable, got {len(good)} of "
            f"{len(labels)} (the others are marked as bad or hold no number). Record again, or "
            "take channels out of the list of bad ones."
        )
    rate = float(raw.info["sfreq"])
    segments = _segments(raw, data[:, good], finite[:, good], rate, notes)
    if not segments:
        raise RecordingError(
            f"{path.name}: some stretch must be usable, got none in {len(data) / rate:.1f} s: "
            "everything is constant, not a number, or annotated BAD."
        )
    _check_unit(data[:, good], segments, path)
    if sfreq is not None and sfreq != rate:
        data, segments = resample_segments(data, segments, rate, float(sfreq))
        rate = float(sfreq)
    placed, name = _place(raw.info, labels, path, notes)
    unplaced = tuple(labels[i] for i in np.flatnonzero(np.isnan(placed).any(axis=1)))
    if unplaced and need_positions and len(unplaced) < len(labels):
        notes.append(f"positions unknown: {', '.join(unplaced)}")
    positions, origin, radius = _centred(placed, labels, path, need_positions)
    return Recording(
        labels=labels,
        data_uv=data,
        sfreq=rate,
        segments=segments,
        positions_mm=positions,
        origin_mm=origin,
        radius_mm=radius,
        unplaced=unplaced,
        bads=bads,
        path=path,
        sha256=_sha256(path, raw.filenames),
        meas_date=raw.info["meas_date"],
        events=_events(raw),
        info=raw.info.copy(),
        warnings=tuple(notes),
        template=name,
        reference=declared_reference(raw.info["description"]),
    )


def _read_raw(path: Path, stream: str, notes: list[str]) -> Any:
    if not path.exists():
        electrode = not path.suffix and len(str(path)) < 5
        raise RecordingError(
            f"recording {path}: the file must exist, it does not"
            f"{neighbours(path, RECORDING_ENDINGS)}."
            + (" Lists of electrodes have commas and no spaces: Fz,C3,Cz." if electrode else "")
        )
    if path.is_file() and path.stat().st_size == 0:
        raise RecordingError(f"recording {path}: must hold data, the file is empty. Copy it again.")
    if path.is_dir() and not path.name.lower().endswith((*RECORDING_ENDINGS, ".ds")):
        inside = sorted(readable({entry.name for entry in path.iterdir()}, RECORDING_ENDINGS))
        holds = f"it holds {', '.join(inside[:3])}" if inside else "it holds no recording"
        raise RecordingError(f"recording {path}: must be a file, it is a folder ({holds}).")
    if path.name.endswith(BUNDLE_ENDINGS):
        raise RecordingError(f"{path.name}: must be a recording, it is a bundle. Swap the two?")
    if path.name.endswith(("-ave.fif", "_ave.fif", "-epo.fif", "_epo.fif", "-ave.fif.gz")):
        raise RecordingError(
            f"{path.name}: a recording must be continuous (raw) data, this is averaged or "
            "epoched. Pass the raw file it was made from."
        )
    if is_xdf(path):
        with mne_warnings(notes):
            return read_xdf(path, stream, notes)
    raw = open_raw(path, notes)
    doubled = [note for note in notes if "not unique" in note]  # MNE would number them
    if doubled:
        raise RecordingError(
            f"{path.name}: channel labels must be unique, got: {doubled[0]} Rename or drop one "
            "of each."
        )
    return raw


def _pick_eeg(raw: mne.io.BaseRaw, path: Path, notes: list[str], names: ChannelNames | None) -> Any:
    """Keep EEG channels, under clean labels."""
    types = raw.get_channel_types()
    eeg = [name for name, kind in zip(raw.ch_names, types, strict=True) if kind == "eeg"]
    labels = dict(zip(eeg, eeg, strict=True))
    if names is not None:
        named = names.name(eeg, len(eeg), "channels of type EEG", notes)
        labels = dict(zip(eeg, named, strict=True))
    if names is None or names.complete:
        other = [name for name in eeg if not looks_like_eeg(labels[name])]
    else:
        other = [name for name in eeg if labels[name] not in names.labels]
    if other:
        notes.append(f"channels taken for other than EEG by their label: {', '.join(other)}")
    keep = [name for name in eeg if name not in other]
    if len(keep) < 2:
        found = ", ".join(sorted(set(types))) or "none"
        raise RecordingError(
            f"{path.name}: at least 2 channels must be of type EEG, got {len(keep)} among "
            f"{len(types)} channels (types: {found}). Set the types with raw.set_channel_types."
        )
    own = [labels[name] for name in keep]
    require_one_reference(own, ten_five(), "channels")
    short_labels, cut = cut_common(own, ten_five())
    if cut:
        notes.append(f"all labels {cut}: cut")
    with mne_warnings(notes):
        raw.load_data(verbose="WARNING")
        raw.pick(keep, verbose="ERROR")
        cleaned = clean_labels(short_labels)
        raw.rename_channels(dict(zip(keep, cleaned, strict=True)), verbose="ERROR")
    require_unique(cleaned, "channels")
    unfit = unfit_labels(cleaned)
    if unfit:  # calibration would find out at its end
        raise RecordingError(
            f"{path.name}: channel labels must be 1 to 64 printable characters, got "
            f"{short(unfit[0])}. Rename it with raw.rename_channels and save."
        )
    return raw


def _events(raw: mne.io.BaseRaw) -> tuple[tuple[float, float, str], ...]:
    """Annotations, timed from the first sample."""
    marks = raw.annotations
    onsets = marks.onset - raw.first_time
    return tuple(
        (float(onset), float(duration), str(text))
        for onset, duration, text in zip(onsets, marks.duration, marks.description, strict=True)
    )


def _segments(
    raw: mne.io.BaseRaw,
    data: FloatArray,
    finite: BoolArray,
    sfreq: float,
    notes: list[str],
) -> tuple[Segment, ...]:
    """Usable stretches; what is left out is noted."""
    events = _events(raw)
    annotated, splits = breaks(
        [e[0] for e in events], [e[1] for e in events], [e[2] for e in events], sfreq
    )
    holes = runs(np.asarray(~finite.all(axis=1)))
    flat = padding(data, sfreq)
    for what, ranges in (
        ("annotated BAD", annotated),
        ("not a number", holes),
        ("all channels constant (padding)", flat),
    ):
        if ranges:
            seconds = sum(stop - start for start, stop in ranges) / sfreq
            notes.append(f"left out {seconds:.2f} s: {what}")
    return usable_segments(len(data), [*annotated, *holes, *flat], splits)


def median_amplitude(data: FloatArray) -> float:
    """Median over all samples and channels of how far they are from their channel's median.

    Parameters
    ----------
    data : ndarray, shape (n_times, n_channels)
        At least one sample, in any unit.
    """
    return float(np.median(np.abs(data - np.median(data, axis=0))))


def _check_unit(data: FloatArray, segments: tuple[Segment, ...], path: Path) -> None:
    used = np.concatenate([data[start:stop] for start, stop in segments])
    amplitude = median_amplitude(used)
    low, high = PLAUSIBLE_UV
    if not low <= amplitude <= high:
        raise RecordingError(
            f"{path.name}: the median EEG amplitude must lie between {low:g} and {high:g} µV, "
            f"got {amplitude:.3g} µV: the unit looks wrong (MNE holds EEG in volts). Scale it, "
            "e.g. raw.load_data().apply_function(lambda x: x * 1e-6) for microvolts taken as "
            "volts, and save it."
        )


def _place(
    info: mne.Info, labels: tuple[str, ...], path: Path, notes: list[str]
) -> tuple[FloatArray, str]:
    """Positions in MNE's head frame in mm, NaN where unknown, and the template that was used."""
    known = known_positions(info)
    positions, name = fill_from_template(labels, straighten(labels, known, template(), notes))
    placed = np.isfinite(positions).all(axis=1)
    n_filled = int((placed & ~np.isfinite(known).all(axis=1)).sum())
    if n_filled:
        said = f"{n_filled} positions by their labels: template {name}"
        logger.info("%s: %s", path.name, said)
        if name != "standard_1005":  # nets share their numbering
            notes.append(f"{said}, told by the number of channels")
    if not np.array_equal(positions, known, equal_nan=True):
        places = {labels[i]: positions[i] / 1000.0 for i in np.flatnonzero(placed)}
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        info.set_montage(montage, on_missing="ignore", verbose="ERROR")
    return positions, name if n_filled else ""


def _centred(
    positions: FloatArray, labels: tuple[str, ...], path: Path, need_positions: bool
) -> tuple[FloatArray | None, FloatArray, float]:
    """Positions about the centre of the fitted sphere, that centre, and the radius."""
    placed = np.isfinite(positions).all(axis=1)
    try:
        origin, radius = fit_sphere(positions[placed])
    except MontageError as error:
        if need_positions and placed.sum() < _MIN_PLACED:
            raise RecordingError(
                f"{path.name}: at least {_MIN_PLACED} EEG channels must have a known position, in "
                f"the file or by 10-05 labels, got {placed.sum()} of {len(labels)} "
                f"({', '.join(labels[:8])}{'...' if len(labels) > 8 else ''}). Record with the HD "
                f"cap, or set a montage with raw.set_montage and save. {NAMING_REMEDY}."
            ) from error
        if need_positions:
            raise RecordingError(
                f"{path.name}: electrode positions must be known, in the file or by 10-05 "
                f"labels; {placed.sum()} of {len(labels)} are ({', '.join(labels[:8])}...). "
                f"{error} Set a montage with raw.set_montage and save."
            ) from error
        return None, np.zeros(3), float("nan")
    return positions - origin, origin, radius


def _sha256(path: Path, filenames: Any) -> str:
    """Hash over the header file (or all files of a folder) and the data files."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files += [Path(name) for name in filenames if name is not None]
    digest = hashlib.sha256()
    for file in dict.fromkeys(file.resolve() for file in files if file.is_file()):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
