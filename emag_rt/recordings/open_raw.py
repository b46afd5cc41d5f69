"""Opening a file with MNE, and mending what its readers lose or refuse."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mne
import numpy as np

from emag_rt.errors import RecordingError
from emag_rt.recordings.edf import EdfHeader, quicker_than_eeg, read_edf_header
from emag_rt.recordings.positions import looks_like_eeg
from emag_rt.recordings.stamps import MAX_FILLED_S

_HARMLESS = (DeprecationWarning, FutureWarning, ResourceWarning)
_HARMLESS_TEXT = ("naming conventions", "expanding outside the data range")
_CODED_BOUNDARY = ("-99", "-99.0")  # EEGLAB's boundary where event types are numbers


@contextmanager
def mne_warnings(notes: list[str]) -> Iterator[None]:
    """Collect MNE's warnings as notes instead of letting them out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        text = str(warning.message)
        harmless = issubclass(warning.category, _HARMLESS) or any(t in text for t in _HARMLESS_TEXT)
        if not harmless and text not in notes:
            notes.append(text)


def open_raw(path: Path, notes: list[str]) -> mne.io.BaseRaw:
    """Open a recording in any format but XDF.

    Parameters
    ----------
    path : Path
        An existing file.
    notes : list of str
        What was found and mended is added here.

    Returns
    -------
    mne.io.BaseRaw
        Holes of an interrupted EDF are NaN and annotated ``BAD_gap``, or, over 60 s, cut out at
        ``BAD boundary``.

    Raises
    ------
    RecordingError
        If MNE cannot read it.
    """
    header = read_edf_header(path)
    options: dict[str, object] = {}
    if header is not None:
        quicker = quicker_than_eeg(header, [n for n in header.labels if _may_be_eeg(n)])
        if quicker:
            notes.append(f"sampled faster than the EEG, left out: {', '.join(quicker)}")
            options["exclude"] = quicker
    raw = _read(path, options, notes)
    if header is not None and header.discontinuous:
        return _with_holes(raw, header, notes)
    if path.suffix.lower() == ".vhdr":
        _unplaced_are_eeg(raw, notes)
    coded = set(raw.annotations.description) & set(_CODED_BOUNDARY)
    if path.suffix.lower() == ".set" and coded:
        raw.annotations.rename(dict.fromkeys(coded, "boundary"))
        notes.append("events of type -99 are EEGLAB's boundaries: split there")
    return raw


def _may_be_eeg(label: str) -> bool:
    return looks_like_eeg(label) and not label.endswith("Annotations")


def _read(path: Path, options: dict[str, object], notes: list[str]) -> mne.io.BaseRaw:
    try:
        try:
            with mne_warnings(notes):
                return mne.io.read_raw(path, preload=False, verbose="WARNING", **options)
        except Exception as error:
            if "latin1" not in str(error) or "encoding" in options:
                raise
            notes.append("its text is not UTF-8: read as Latin-1")
            with mne_warnings(notes):
                return mne.io.read_raw(
                    path, preload=False, verbose="WARNING", encoding="latin1", **options
                )
    except Exception as error:  # readers raise whatever their format library raises
        reason = " ".join(str(error).split())[:300].rstrip(".")
        found = f"{type(error).__name__}: {reason}" if reason else "something else"
        raise RecordingError(
            f"{path.name}: a recording must be continuous data that MNE can read, got {found}. "
            "Convert it, e.g. to FIF with raw.save()."
        ) from error


def _unplaced_are_eeg(raw: mne.io.BaseRaw, notes: list[str]) -> None:
    """BrainVision channels at 0,0,0: that means unknown, and MNE takes them for no EEG."""
    # MNE keeps the units nowhere else for channels that it takes for no EEG.
    units = raw._orig_units
    voltage = {name for name, unit in units.items() if str(unit).endswith("V")}
    kinds = zip(raw.ch_names, raw.get_channel_types(), strict=True)
    found = [n for n, kind in kinds if kind == "misc" and n in voltage and looks_like_eeg(n)]
    if found:
        raw.set_channel_types(dict.fromkeys(found, "eeg"), on_unit_change="ignore", verbose="ERROR")
        notes.append(f"{len(found)} channels have no position in the file (0,0,0): by their labels")


def _with_holes(raw: mne.io.BaseRaw, header: EdfHeader, notes: list[str]) -> mne.io.BaseRaw:
    """Records of an interrupted EDF at their own times."""
    sfreq = float(raw.info["sfreq"])
    onsets = header.onsets_s()
    length = round(header.record_s * sfreq)
    data = raw.get_data(verbose="ERROR")
    starts = np.rint((onsets - onsets[0]) * sfreq).astype(int)
    missing = np.diff(starts) - length
    cuts = [int(i) + 1 for i in np.flatnonzero(missing > MAX_FILLED_S * sfreq)]
    lost = np.zeros(len(starts), dtype=int)
    for cut in cuts:
        lost[cut:] += missing[cut - 1]
    rows = starts - lost
    gaps = [
        (int(rows[i] + length), int(rows[i + 1]))
        for i in np.flatnonzero(missing > 0)
        if i + 1 not in cuts
    ]
    whole = np.full((len(data), int(rows[-1]) + length), np.nan)
    for i, row in enumerate(rows.tolist()):
        part = data[:, i * length : (i + 1) * length]
        whole[:, row : row + part.shape[1]] = part
    marks = [(a / sfreq, (b - a) / sfreq, "BAD_gap") for a, b in gaps]
    marks += [(rows[i] / sfreq, 0.0, "BAD boundary") for i in cuts]
    # raw's own annotations lack those beyond the end of what it takes for continuous.
    with mne_warnings([]):
        said = mne.read_annotations(header.path, encoding="latin1")
    for onset, duration, text in zip(said.onset, said.duration, said.description, strict=True):
        record = max(0, int(np.searchsorted(onsets - onsets[0], onset, side="right")) - 1)
        marks.append((onset - lost[record] / sfreq, duration, text))
    notes[:] = [note for note in notes if "outside data range" not in note]
    if gaps or cuts:
        seconds = (missing[missing > 0].sum()) / sfreq
        notes.append(f"interrupted {len(gaps) + len(cuts)} times, {seconds:.1f} s in all (EDF+D)")
    filled = mne.io.RawArray(whole, raw.info, verbose="ERROR")
    filled.set_annotations(
        mne.Annotations(*map(list, zip(*sorted(marks), strict=True))) if marks else None
    )
    return filled
