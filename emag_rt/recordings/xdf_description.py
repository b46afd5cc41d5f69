"""What an XDF stream says of its channels: labels, types, units, positions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any, BinaryIO
from xml.parsers import expat

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import RecordingError, SettingsError, short
from emag_rt.frontend.units import unit_to_uv

_KINDS = {"eeg": "eeg", "exg": "eeg", "eog": "eog", "ecg": "ecg", "ekg": "ecg", "emg": "emg"}


MAX_HEADER_BYTES = 8 << 20
MAX_DEPTH, MAX_ELEMENTS = 32, 400_000
_STREAM_HEADER = 2
_LENGTH_BYTES = (1, 4, 8)


def require_small_headers(file: BinaryIO, what: str) -> None:
    """Refuse an XDF file whose headers would take far more memory than they are worth.

    Parameters
    ----------
    file : binary file
        Open at its start; read chunk by chunk, data skipped. What is no chunk ends the look: a
        reader finds out for itself.
    what : str
        Names the file.

    Raises
    ------
    RecordingError
        If a header is longer than 8 MiB, deeper than 32 levels, or of too many elements.
    """
    if file.read(4) != b"XDF:":
        return
    while (first := file.read(1)) and first[0] in _LENGTH_BYTES:
        length = int.from_bytes(file.read(first[0]), "little") - 2
        tag = int.from_bytes(file.read(2), "little")
        if length < 0:
            return
        if tag != _STREAM_HEADER:
            file.seek(length, 1)
            continue
        if length > MAX_HEADER_BYTES:
            raise RecordingError(
                f"{what}: a stream's header must be at most {MAX_HEADER_BYTES >> 20} MiB, got "
                f"{length >> 20} MiB. Have the amplifier's driver say less."
            )
        _require_shallow(file.read(length)[4:], what)


def _require_shallow(header: bytes, what: str) -> None:
    depth = elements = 0

    def begin(_name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise RecordingError(
                f"{what}: a stream's header must have at most {MAX_DEPTH} levels and "
                f"{MAX_ELEMENTS:,} elements, it has more. Have the amplifier's driver say less."
            )

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    with contextlib.suppress(expat.ExpatError):  # a reader finds out for itself
        parser.Parse(header, True)


@dataclass(frozen=True)
class Channel:
    """One ``desc/channels/channel``.

    Attributes
    ----------
    label, kind : str
        Label, and type in MNE's words.
    to_uv : float
        Factor to microvolts.
    place : tuple of float or None
        Position as declared.
    rendered : bool
        Whether emag_rt made it up.
    """

    label: str
    kind: str
    to_uv: float
    place: tuple[float, ...] | None
    rendered: bool


def read_channels(info: dict[str, Any], what: str, notes: list[str]) -> list[Channel]:
    """Channels of a stream.

    Raises
    ------
    RecordingError
        If a label is missing, or no EEG channel has a unit of voltage.
    """
    entries = child(child(info, "desc"), "channels").get("channel") or []
    n_channels = int(info["channel_count"][0])
    labels = [text_of(entry, "label") or text_of(entry, "name") for entry in entries]
    if len(entries) != n_channels or not all(labels):
        raise RecordingError(
            f"{what}: desc/channels must label each of the {n_channels} channels, got "
            f"{len(entries)} entries. Have the amplifier's driver name them; a field is bound to "
            "labels."
        )
    stream_kind = text_of(info, "type").lower()
    # Where some channels say their unit, one that says none (a counter) is no EEG.
    assumed = "" if any(text_of(entry, "unit") for entry in entries) else "microvolts"
    if assumed:
        notes.append(f"no unit declared, {assumed} assumed: {', '.join(labels)}")
    channels = [
        _channel(label, entry, stream_kind, assumed)
        for label, entry in zip(labels, entries, strict=True)
    ]
    other = [c.label for c in channels if c.kind == "no voltage"]
    if other:
        notes.append(f"no unit of voltage, so no EEG, left out: {', '.join(other)}")
    if not any(c.kind == "eeg" for c in channels):
        unit = text_of(entries[0], "unit")
        raise RecordingError(
            f"{what}: its EEG channels must have a unit of voltage, got {short(unit)}. Mend the "
            "description of the stream (desc/channels/channel/unit)."
        )
    return [replace(c, kind="misc") if c.kind == "no voltage" else c for c in channels]


def _channel(label: str, entry: dict[str, Any], stream_kind: str, assumed: str) -> Channel:
    kind = _KINDS.get((text_of(entry, "type") or stream_kind).lower(), "misc")
    to_uv = 1.0  # where it is no voltage, and not used
    try:
        to_uv = unit_to_uv(text_of(entry, "unit") or assumed)
    except SettingsError:
        kind = "no voltage" if kind == "eeg" else kind
    loc, location = child(entry, "loc"), child(entry, "location")
    place = _numbers(loc, ("R0x", "R0y", "R0z"))  # metres in the head frame, as MNE-LSL has them
    if place is not None:
        place = tuple(1000.0 * value for value in place)
    else:
        place = _numbers(location, ("X", "Y", "Z"))  # millimetres, says XDF
    return Channel(label, kind, to_uv, place, text_of(entry, "origin") == "rendered")


def in_metres(places: dict[str, tuple[float, ...]]) -> dict[str, FloatArray]:
    """Positions in metres; what is no head in millimetres is one in metres or centimetres."""
    if not places:
        return {}
    size = float(np.median([np.linalg.norm(place) for place in places.values()]))
    scale = 1.0 if size < 1.0 else 0.01 if size < 20.0 else 0.001
    return {label: scale * np.array(place) for label, place in places.items()}


def child(node: Any, name: str) -> Any:
    """A child of pyxdf's XML: dictionaries of lists; an empty dictionary where there is none."""
    found = node.get(name) if isinstance(node, dict) else None
    first = found[0] if isinstance(found, list) and found else found
    return first if isinstance(first, dict) else {}


def text_of(node: Any, name: str) -> str:
    """The text of a child; empty where there is none."""
    found = node.get(name) if isinstance(node, dict) else None
    value = found[0] if isinstance(found, list) and found else found
    return value.strip() if isinstance(value, str) else ""


def _numbers(node: Any, names: tuple[str, ...]) -> tuple[float, ...] | None:
    try:
        values = tuple(float(text_of(node, name)) for name in names)
    except ValueError:
        return None
    return values if np.isfinite(values).all() and any(values) else None
