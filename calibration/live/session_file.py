"""A live recording as a file: everything that came, with what is missing annotated."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np

from calibration.live.channels import LiveChannels
from calibration.live.journal import Journal
from calibration.live.parts import Recorded
from emag_rt.array_types import FloatArray, Samples
from emag_rt.errors import OutputError, RecordingError
from emag_rt.files import replacing
from emag_rt.recordings.marker_text import marker_text
from emag_rt.recordings.usable import runs
from emag_rt.recordings.xdf_write import XdfWriter
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import Marker

Annotation = tuple[float, float, str]

_MISSING_SHARE = 0.2
_TEXTS = {"gap": "BAD_gap", "bridge": "bridged"}
"""Bridged samples stay in use, as in serving. BAD_ACQ_SKIP would make MNE write no samples."""


def open_journal(
    out: str | Path, stream: StreamFormat, channels: LiveChannels
) -> tuple[Journal, list[Path]]:
    """Begin the recording that belongs to a bundle: beside it, over no older one.

    Its name is nobody else's from then on: two sessions with one bundle get two.

    Parameters
    ----------
    out : path-like
        The bundle, such as ``s01.emag``.
    stream : StreamFormat
        What is recorded.
    channels : LiveChannels
        Its channels.

    Returns
    -------
    journal : Journal
        In ``s01_raw.xdf``, or ``s01-2_raw.xdf`` and so on where one of that name, or a recording
        ``s01_raw.fif``, is there.
    others : list of Path
        Journals of other sessions that were there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    out, others = Path(out), []
    for n in itertools.count(1):
        path = out.with_name(f"{out.stem}{f'-{n}' if n > 1 else ''}_raw.xdf")
        if os.path.lexists(recording_path(path)):
            continue
        try:
            writer = XdfWriter(path)
        except OutputError as error:
            if isinstance(error.__cause__, FileExistsError):
                others.append(path)
                continue
            raise
        # Another one may have put its recording in place since, and removed its journal.
        if not os.path.lexists(recording_path(path)):
            return Journal(writer, stream, channels), others
        writer.close()
        path.unlink()
    raise AssertionError("numbers do not end")


def recording_path(journal: Path) -> Path:
    """Where the recording of a journal is kept in the end: ``s01_raw.fif``."""
    return journal.with_suffix(".fif")


def fits_fif(channels: LiveChannels) -> bool:
    """Whether FIF, whose labels are ASCII, can hold the channels; XDF holds any."""
    return all(label.isascii() for label in channels.labels)


def save_session(
    path: Path,
    recorded: Recorded,
    markers: Sequence[Marker] = (),
    began: datetime | None = None,
    description: str = "",
) -> int:
    """Write a live recording as FIF; it appears whole or not at all, and over nothing else.

    Parameters
    ----------
    path : Path
        File, ``*_raw.fif``.
    recorded : Recorded
        What came; at least one sample.
    markers : sequence of Marker
        Events, written as annotations at the samples that they fell on.
    began : datetime, optional
        Time of the first sample.
    description : str
        Where it comes from.

    Returns
    -------
    int
        Markers that were left out because they fell outside the recording.

    Raises
    ------
    OutputError
        If it cannot be written, or something of that name is there.
    RecordingError
        If there is nothing to write, or MNE refuses it.
    """
    parts = [part for part in recorded.parts if len(part.stamps)]
    if not parts:
        raise RecordingError(f"{path.name}: nothing was recorded.")
    data = np.concatenate([part.samples for part in parts])
    events = _from_markers(recorded, markers)
    fmt = "double" if data.dtype == np.float64 else "single"
    with replacing(path, "recording", new=True) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            raw = _raw(recorded, data)
            raw.info["bads"] = _missing(recorded, data)
            raw.info["description"] = f"recorded live by emag_rt {description}".strip()
            if began is not None:
                raw.set_meas_date(began.astimezone(UTC))
            rows = [*_from_stream(recorded), *events]
            if rows:
                onsets, durations, texts = zip(*sorted(rows), strict=True)
                raw.set_annotations(mne.Annotations(onsets, durations, texts), verbose="ERROR")
            raw.save(beside, fmt=fmt, overwrite=True, verbose="ERROR")
        except (ValueError, RuntimeError) as error:
            raise RecordingError(f"recording {path}: cannot be written: {error}") from error
    return len(markers) - len(events)


def _raw(recorded: Recorded, data: Samples) -> mne.io.RawArray:
    channels = recorded.channels
    info = mne.create_info(
        list(channels.labels), recorded.sfreq, list(channels.kinds), verbose="ERROR"
    )
    known = np.isfinite(channels.positions_mm).all(axis=1)
    places = {channels.labels[i]: channels.positions_mm[i] / 1e3 for i in np.flatnonzero(known)}
    if places:
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        info.set_montage(montage, on_missing="ignore", verbose="ERROR")
    scale = np.where([kind == "misc" for kind in channels.kinds], 1.0, 1e-6)
    return mne.io.RawArray(data.T * scale[:, None], info, verbose="ERROR")


def _missing(recorded: Recorded, data: Samples) -> list[str]:
    """Channels that would take all others' samples with them: a sample needs all its numbers."""
    share = 1.0 - np.isfinite(data).mean(axis=0)
    eeg = recorded.channels.eeg
    return [recorded.channels.labels[i] for i in eeg if share[i] > _MISSING_SHARE]


def _from_stream(recorded: Recorded) -> list[Annotation]:
    """Gaps, bridges, jumps of the clock, and what came unverified."""
    rows: list[Annotation] = []
    sample = 0
    for part in recorded.parts:
        onset, n = sample / recorded.sfreq, len(part.stamps)
        if part.kind == "jump":
            rows.append((onset, 0.0, "boundary"))
        elif part.kind in _TEXTS and n:
            rows.append((onset, n / recorded.sfreq, _TEXTS[part.kind]))
        sample += n
    stamps = np.concatenate([part.stamps for part in recorded.parts])
    doubt = np.zeros(len(stamps), dtype=bool)
    for first, last in recorded.doubtful:
        doubt |= (stamps >= first) & (stamps <= last)
    rows += [
        (a / recorded.sfreq, (b - a) / recorded.sfreq, "BAD_unverified") for a, b in runs(doubt)
    ]
    return rows


def _from_markers(recorded: Recorded, markers: Sequence[Marker]) -> list[Annotation]:
    """Events at the sample nearest to them; those outside the recording are left out.

    They lie between samples: one that starts or stops it, up to a period outside.
    """
    blocks, period = _continuous(recorded), 1.0 / recorded.sfreq
    sample = sum(len(stamps) for stamps in blocks)
    ordered = sorted(markers, key=lambda marker: marker.stamp)
    times = np.array([marker.stamp for marker in ordered])
    placed = np.zeros(len(ordered), dtype=bool)
    rows: list[Annotation] = []
    # Where a clock was set back, the same time comes twice: the last one counts.
    for stamps in reversed(blocks):
        sample -= len(stamps)
        first = np.searchsorted(times, stamps[0] - period)
        stop = np.searchsorted(times, stamps[-1] + period, side="right")
        inside = first + np.flatnonzero(~placed[first:stop])
        placed[inside] = True
        places = np.interp(times[inside], stamps, np.arange(len(stamps)))
        onsets = ((sample + places) / recorded.sfreq).tolist()
        texts = [marker_text(ordered[i].text) for i in inside.tolist()]
        rows += [(onset, 0.0, text) for onset, text in zip(onsets, texts, strict=True)]
    return rows


def _continuous(recorded: Recorded) -> list[FloatArray]:
    """Stamps between the jumps of the clock."""
    blocks: list[list[FloatArray]] = [[]]
    for part in recorded.parts:
        if part.kind == "jump":
            blocks.append([])
        elif len(part.stamps):
            blocks[-1].append(part.stamps)
    return [np.concatenate(block) for block in blocks if block]
