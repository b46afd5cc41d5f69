"""XDF files (LabRecorder's) as recordings: one EEG stream, its stamps, and its markers."""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import mne
import numpy as np
from scipy.ndimage import median_filter

from emag_rt.array_types import FloatArray
from emag_rt.core.values import value_text
from emag_rt.errors import RecordingError
from emag_rt.recordings.marker_text import marker_text
from emag_rt.recordings.reference import with_reference
from emag_rt.recordings.stamps import Grid, place_on_grid
from emag_rt.recordings.xdf_clocks import mend_clocks, odd_offsets
from emag_rt.recordings.xdf_cut import open_whole
from emag_rt.recordings.xdf_description import (
    child,
    in_metres,
    read_channels,
    require_small_headers,
    text_of,
)

_SUFFIXES = (".xdf", ".xdfz", ".xdf.gz")
_NAMED = re.compile(r"(.+?\.xdf(?:z|\.gz)?)#(.+)", re.IGNORECASE | re.DOTALL)
MAX_SFREQ = 100_000
_RATE_NOTE, _RATE_ERROR = 0.005, 0.1
_MARKER_TYPES = ("markers", "marker", "events", "event", "stim", "trigger", "triggers")


def split_stream(path: str | Path) -> tuple[Path, str]:
    """Take ``file.xdf#STREAM`` apart.

    Returns
    -------
    path : Path
        The file.
    stream : str
        Name, source id or number of a stream; empty when none is named. Other files, and those
        whose own name has a ``#``, are left as they are.
    """
    text = str(path)
    if not Path(text).exists():
        found = _NAMED.fullmatch(text)
        if found:
            return Path(found[1]), found[2]
    return Path(text), ""


def is_xdf(path: Path) -> bool:
    """Whether a file is XDF, by its name."""
    return path.name.lower().endswith(_SUFFIXES)


def read_xdf(path: Path, stream: str, notes: list[str]) -> Any:
    """Read one EEG stream of an XDF file.

    Stamps are brought to the recorder's clock (pyxdf: ``synchronize_clocks`` and
    ``handle_clock_resets``), because markers often come from another computer. pyxdf's
    ``dejitter_timestamps`` stays off: it lays one straight line through up to a second of lost
    samples, which then are neither seen nor left out.

    Parameters
    ----------
    path : Path
        The file.
    stream : str
        Name, source id or number of the stream; empty: the only one of type EEG.
    notes : list of str
        What was found is added here.

    Returns
    -------
    mne.io.RawArray
        In volts; gaps are NaN and annotated ``BAD_gap``, longer ones (over 60 s) cut out at ``BAD
        boundary``; markers are annotations.

    Raises
    ------
    RecordingError
        If pyxdf is not installed, the file is damaged, no stream or several fit, or the stream
        lacks labels, samples or a rate.
    """
    pyxdf = _pyxdf(path)
    with _readable(path, notes):
        with _opened(path, notes) as file:
            require_small_headers(file, path.name)
        with _opened(path, notes) as file:
            heads = pyxdf.resolve_streams(file)
        chosen = _choose(heads, stream, path)
        marks = [h for h in heads if _is_marker(h)]
        nameless = [str(h["stream_id"]) for h in marks if not h["name"]]
        if nameless:
            notes.append(f"marker streams without a name are left out: {', '.join(nameless)}")
        wanted = [chosen["stream_id"], *(h["stream_id"] for h in marks if h["name"])]
        with _opened(path, notes) as file:
            found, header = pyxdf.load_xdf(
                file,
                select_streams=wanted,
                synchronize_clocks=True,
                handle_clock_resets=True,
                dejitter_timestamps=False,
            )
        doubtful = [entry for entry in found if odd_offsets(entry).any()]
        if doubtful:
            with _opened(path, notes) as file:
                as_sent, _ = pyxdf.load_xdf(
                    file,
                    select_streams=[entry["info"]["stream_id"] for entry in doubtful],
                    synchronize_clocks=False,
                    dejitter_timestamps=False,
                )
            mend_clocks(doubtful, as_sent, notes)
    by_id = {entry["info"]["stream_id"]: entry for entry in found}
    eeg = by_id.pop(chosen["stream_id"])
    stamps = _told(np.asarray(eeg["time_stamps"], dtype=np.float64), path, notes)
    grid = _grid(stamps, float(chosen["nominal_srate"]), path, notes)
    raw = _raw(eeg, grid, float(chosen["nominal_srate"]), path, notes)
    raw.set_annotations(_annotations(by_id.values(), stamps, grid, raw.info["sfreq"], notes))
    raw.set_meas_date(_date(header))
    return raw


def _pyxdf(path: Path) -> Any:
    try:
        import pyxdf
    except ImportError as error:
        raise RecordingError(
            f"{path.name}: reading XDF needs pyxdf, which is not installed. "
            "Run pip install 'emag-rt[xdf]'."
        ) from error
    return pyxdf


class _Collector(logging.Handler):
    """What pyxdf says of a damaged file."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        text = f"pyxdf: {record.getMessage()}"
        if "clock-segments differ" not in text and text not in self._notes:
            self._notes.append(text)


@contextmanager
def _readable(path: Path, notes: list[str]) -> Iterator[None]:
    logger, collector = logging.getLogger("pyxdf"), _Collector(notes)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:  # pyxdf raises whatever it stumbles over
        reason = " ".join(str(error).split())[:300].rstrip(".") or "unknown content"
        raise RecordingError(
            f"{path.name}: must be a readable XDF file, got {type(error).__name__}: {reason}. "
            "Copy it again; a recording that was cut short is readable up to there."
        ) from error
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagate


def _opened(path: Path, notes: list[str]) -> Any:
    """The file, or what it unpacks to; pyxdf would leave what is no XDF open."""
    return open_whole(path, notes) if path.suffix.lower() == ".xdf" else gzip.open(path, "rb")


def _is_marker(head: dict[str, Any]) -> bool:
    kind = (head["type"] or "").lower()
    return head["channel_format"] == "string" or (
        kind in _MARKER_TYPES and not float(head["nominal_srate"])
    )


def _is_eeg(head: dict[str, Any]) -> bool:
    return (head["type"] or "").lower() in ("eeg", "exg") and not _is_marker(head)


def _choose(heads: Sequence[dict[str, Any]], stream: str, path: Path) -> dict[str, Any]:
    """The one stream that is meant."""
    if stream:
        named = [h for h in heads if stream in (h["name"], h["source_id"])]
        named = named or [h for h in heads if stream == str(h["stream_id"])]
        rule = f"must have one stream named {stream!r}"
    else:
        named = [h for h in heads if _is_eeg(h)]
        rule = "must have one stream of type EEG"
    if len(named) != 1:
        there = "; ".join(
            f"#{h['name'] or ''} (number {h['stream_id']}, type {h['type']}, {h['channel_count']} "
            f"channels, {h['nominal_srate']:g} Hz, source id {h['source_id']})"
            for h in heads
        )
        raise RecordingError(
            f"{path.name}: {rule}, got {len(named)} of: {there or 'no stream at all'}. Name "
            f"the one that is meant: {path.name}#NAME (or #SOURCE_ID, #NUMBER)."
        )
    (chosen,) = named
    if not chosen["name"]:  # pyxdf stumbles over it
        raise RecordingError(
            f"{path.name}: the header of stream {chosen['stream_id']} must have a name, got none. "
            "Give the amplifier's outlet a name; this file needs one written into it."
        )
    nominal = float(chosen["nominal_srate"])
    if chosen["channel_format"] == "string" or not 1 <= nominal <= MAX_SFREQ:
        raise RecordingError(
            f"{path.name}#{chosen['name']}: must be numbers at a constant rate from 1 to "
            f"{MAX_SFREQ:,} Hz, got format {chosen['channel_format']} at {nominal:g} Hz."
        )
    return chosen


def _told(stamps: FloatArray, path: Path, notes: list[str]) -> FloatArray:
    """Stamps that are no numbers taken from those around them."""
    told = np.flatnonzero(np.isfinite(stamps))
    if len(told) < 2:
        raise RecordingError(
            f"{path.name}: the stream must hold at least 2 samples with finite stamps, got "
            f"{len(told)}. Was the amplifier running?"
        )
    if len(told) < len(stamps):
        notes.append(f"{len(stamps) - len(told)} stamps are no numbers: told by their neighbours")
    return np.interp(np.arange(len(stamps)), told, stamps[told])


def _grid(stamps: FloatArray, nominal: float, path: Path, notes: list[str]) -> Grid:
    grid = place_on_grid(stamps, nominal)
    off = abs(grid.sfreq / nominal - 1.0)
    if off > _RATE_ERROR:
        raise RecordingError(
            f"{path.name}: samples must come at the rate the stream declares, {nominal:g} Hz, got "
            f"{grid.sfreq:.4g} Hz by their stamps. Mend the amplifier's driver."
        )
    if off > _RATE_NOTE:
        notes.append(f"declared at {nominal:g} Hz, but samples come at {grid.sfreq:.6g} Hz")
    if grid.gaps:
        n_lost = sum(stop - start for start, stop in grid.gaps)
        notes.append(f"{n_lost} samples are missing in {len(grid.gaps)} gaps: BAD_gap")
    if grid.cuts:
        notes.append(f"time jumps {len(grid.cuts)} times, {grid.lost_s:.1f} s cut out")
    return grid


def _raw(eeg: dict[str, Any], grid: Grid, nominal: float, path: Path, notes: list[str]) -> Any:
    what = f"{path.name}#{eeg['info']['name'][0]}"
    channels = read_channels(eeg["info"], what, notes)
    labels = [channel.label for channel in channels]
    doubled = sorted({label for label in labels if labels.count(label) > 1})
    if doubled:
        raise RecordingError(
            f"{what}: channel labels must be unique, got {', '.join(doubled)} more than once."
        )
    data = np.full((len(labels), int(grid.rows[-1]) + 1), np.nan)
    factors = [channel.to_uv * 1e-6 for channel in channels]
    data[:, grid.rows] = np.asarray(eeg["time_series"], dtype=np.float64).T
    data *= np.array(factors)[:, None]
    info = mne.create_info(labels, nominal, [c.kind for c in channels], verbose="ERROR")
    places = in_metres({c.label: c.place for c in channels if c.place is not None})
    if places:
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        info.set_montage(montage, on_missing="ignore", verbose="ERROR")
    reference = text_of(child(child(eeg["info"], "desc"), "reference"), "label")
    info["description"] = with_reference("", reference) or None
    n_rendered = sum(channel.rendered for channel in channels)
    if n_rendered:
        notes.append(
            f"{n_rendered} of {len(labels)} channels were rendered by emag_rt, not measured: "
            "nothing to calibrate from"
        )
    return mne.io.RawArray(data, info, verbose="ERROR")


def _annotations(
    others: Iterable[dict[str, Any]], stamps: FloatArray, grid: Grid, sfreq: float, notes: list[str]
) -> Any:
    """Gaps, jumps of time, and markers, in seconds after the first row."""
    marks = [(a / sfreq, (b - a) / sfreq, "BAD_gap") for a, b in grid.gaps]
    marks += [(row / sfreq, 0.0, "BAD boundary") for row in grid.cuts]
    # A single stamp that is wrong moves no event.
    clock = np.maximum.accumulate(median_filter(stamps, 3, mode="nearest"))
    outside = 0
    for stream in others:
        for stamp, row in zip(stream["time_stamps"], stream["time_series"], strict=True):
            text = " ".join(value_text(value).strip() for value in row).strip()
            if not text:
                continue
            if not clock[0] - 0.5 / sfreq <= stamp <= clock[-1] + 0.5 / sfreq:
                outside += 1
                continue
            # By the rows, so that a clock that drifts moves no event.
            marks.append(
                (float(np.interp(stamp, clock, grid.rows)) / sfreq, 0.0, marker_text(text))
            )
    if outside:
        notes.append(f"{outside} markers lie before the first or after the last sample: left out")
    marks.sort()
    return mne.Annotations([m[0] for m in marks], [m[1] for m in marks], [m[2] for m in marks])


def _date(header: dict[str, Any] | None) -> datetime | None:
    text = text_of(child(header or {}, "info") or {}, "datetime")
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.astimezone() if date.tzinfo is None else date
