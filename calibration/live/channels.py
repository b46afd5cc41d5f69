"""The channels of a live stream: labels, kinds, units and positions, as a recording has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import (
    cut_common,
    require_one_reference,
    require_unique,
    unfit_labels,
)
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.core.naming import NAMING_REMEDY, ChannelNames
from emag_rt.errors import MontageError, SettingsError, StreamMismatch, short
from emag_rt.frontend.units import unit_to_uv
from emag_rt.recordings.positions import (
    clean_labels,
    fill_from_template,
    looks_like_eeg,
    ten_five,
)
from emag_rt.streams.base import StreamFormat

FIELDS = (
    "type",
    *(f"location/{axis}" for axis in "XYZ"),
    *(f"loc/R0{axis}" for axis in "xyz"),
)
"""What to ask the description of each channel for."""

_MNE_TYPES = {"eeg": "eeg", "eog": "eog", "ecg": "ecg", "ekg": "ecg", "emg": "emg"}
_MIN_PLACED = 4
# Head sizes with room to spare; a wrong unit is off by ten at least.
_RADII_MM = (50.0, 150.0)


@dataclass(frozen=True, eq=False)
class LiveChannels:
    """Channels of a stream, in its order.

    Attributes
    ----------
    labels : tuple of str
        Unique labels.
    kinds : tuple of str
        MNE's channel types; ``misc`` for what is no voltage of the body.
    factors : ndarray, shape (n_channels,)
        To µV; 1 for ``misc``.
    positions_mm : ndarray, shape (n_channels, 3)
        In MNE's head frame; NaN where unknown.
    notes : tuple of str
        What had to be assumed.
    """

    labels: tuple[str, ...]
    kinds: tuple[str, ...]
    factors: FloatArray
    positions_mm: FloatArray
    notes: tuple[str, ...]

    @property
    def eeg(self) -> list[int]:
        """Columns of the EEG channels."""
        return [i for i, kind in enumerate(self.kinds) if kind == "eeg"]

    def montage(self) -> Montage:
        """EEG channels with known positions, about the centre of the fitted sphere."""
        rows = [i for i in self.eeg if np.isfinite(self.positions_mm[i]).all()]
        points = self.positions_mm[rows]
        return Montage(tuple(self.labels[i] for i in rows), points - fit_sphere(points)[0])


def live_channels(
    stream: StreamFormat,
    fields: Sequence[Mapping[str, str]] = (),
    names: ChannelNames | None = None,
    unit: str | None = None,
) -> LiveChannels:
    """Understand the channels of a stream, before anything is recorded.

    Parameters
    ----------
    stream : StreamFormat
        What the stream says of itself.
    fields : sequence of mapping
        :data:`FIELDS` of each channel, as far as the stream describes them.
    names : ChannelNames, optional
        Names the channels where the stream does not, or in its own way.
    unit : str, optional
        Unit, over what the stream declares.

    Returns
    -------
    LiveChannels
        The channels.

    Raises
    ------
    StreamMismatch
        If rate, labels or units do not do; labels that name several references among them.
    MontageError
        If labels are double, or fewer than four EEG channels have a known position.
    """
    who = f"stream {stream.name!r} (source_id {stream.source_id!r})"
    if stream.sfreq <= 0:
        raise StreamMismatch(
            f"{who}: rate must be declared, got an irregular rate. Let the amplifier's LSL outlet "
            "declare its nominal rate."
        )
    notes: list[str] = []
    told = list(fields) if len(fields) == stream.n_channels else [{}] * stream.n_channels
    labels = _labels(stream, names, who, notes)
    kinds = _kinds(labels, told, names)
    eeg = [i for i, kind in enumerate(kinds) if kind == "eeg"]
    plain = clean_labels(_electrodes([labels[i] for i in eeg], who, notes))
    for i, label in zip(eeg, plain, strict=True):
        labels[i] = label
    require_unique(labels, who)
    factors = _factors(stream, labels, kinds, names, unit, who, notes)
    positions = np.full((len(labels), 3), np.nan)
    positions[eeg] = _positions([labels[i] for i in eeg], [told[i] for i in eeg], who, notes)
    return LiveChannels(tuple(labels), tuple(kinds), factors, positions, tuple(notes))


def eeg_labels(stream: StreamFormat, fields: Sequence[Mapping[str, str]] = ()) -> list[str]:
    """Labels of a stream's EEG channels.

    Raises
    ------
    StreamMismatch
        If the stream names no channels, or not such as can be fitted.
    """
    who = f"stream {stream.name!r} (source_id {stream.source_id!r})"
    labels = _labels(stream, None, who, [])
    told = list(fields) if len(fields) == stream.n_channels else [{}] * stream.n_channels
    kinds = _kinds(labels, told, None)
    eeg = [label for label, kind in zip(labels, kinds, strict=True) if kind == "eeg"]
    return _electrodes(eeg, who, [])


def _electrodes(labels: list[str], who: str, notes: list[str]) -> list[str]:
    """EEG labels without what all share; those that a fit would refuse are refused now."""
    try:
        require_one_reference(labels, ten_five(), who)
    except MontageError as error:
        raise StreamMismatch(str(error)) from error
    plain, cut = cut_common(labels, ten_five())
    if cut:
        notes.append(f"all labels {cut}: cut")
    unfit = unfit_labels(plain)
    if unfit:
        raise StreamMismatch(
            f"{who}: labels of EEG channels must be 1 to 64 printable characters, got "
            f"{short(unfit[0])}. Name the channel anew at the amplifier."
        )
    return plain


def _labels(
    stream: StreamFormat, names: ChannelNames | None, who: str, notes: list[str]
) -> list[str]:
    sent = stream.labels or stream.described
    if names is not None:
        try:
            return names.name(sent, stream.n_channels, who, notes)
        except MontageError as error:
            raise StreamMismatch(str(error)) from error
    if not stream.labels:
        told = f"{len(sent)} labels ({', '.join(sent[:40])})" if any(sent) else "without labels"
        raise StreamMismatch(
            f"{who}: must name its channels, got {stream.n_channels} {told}. {NAMING_REMEDY}; for "
            "--ld, @headset:NAME."
        )
    return list(sent)


def _kinds(
    labels: Sequence[str], told: Sequence[Mapping[str, str]], names: ChannelNames | None
) -> list[str]:
    kinds = []
    for label, fields in zip(labels, told, strict=True):
        said = fields.get("type", "").strip().lower()
        kind = _MNE_TYPES.get(said, "misc") if said else "eeg"
        if names is not None and not names.complete:
            kind = "eeg" if label in names.labels else "misc"
        elif kind == "eeg" and not looks_like_eeg(label):
            kind = "misc"
        kinds.append(kind)
    return kinds


def _factors(
    stream: StreamFormat,
    labels: Sequence[str],
    kinds: Sequence[str],
    names: ChannelNames | None,
    unit: str | None,
    who: str,
    notes: list[str],
) -> FloatArray:
    factors = np.ones(len(labels))
    declared = stream.units or ("",) * len(labels)
    default = "microvolts" if names is None else names.unit
    undeclared = False
    for i, kind in enumerate(kinds):
        if kind == "misc":
            continue
        undeclared |= not (unit or declared[i]) and kind == "eeg"
        try:
            factors[i] = unit_to_uv(unit or declared[i] or default)
        except SettingsError as error:
            raise StreamMismatch(f"{who}, channel {labels[i]}: {error}") from error
    if undeclared:
        notes.append(f"{who} declares no unit: taken to be {default}; say it with --unit")
    return factors


def _positions(
    labels: Sequence[str], told: Sequence[Mapping[str, str]], who: str, notes: list[str]
) -> FloatArray:
    """The stream's own where it has them, else by label, as for a recording."""
    own = np.array([_place(fields) for fields in told]).reshape(-1, 3)
    placed = np.isfinite(own).all(axis=1)
    if placed.any() and not _like_a_head(own[placed]):
        notes.append("the stream's electrode positions are not those of a head: not used")
        own[:] = np.nan
    positions, _ = fill_from_template(labels, own)
    placed = np.isfinite(positions).all(axis=1)
    lost = [labels[int(i)] for i in np.flatnonzero(~placed)]
    if placed.sum() < _MIN_PLACED:
        raise MontageError(
            f"{who}: at least {_MIN_PLACED} EEG channels must have a known position, in the "
            f"stream's description or by 10-05 labels, got {placed.sum()} of {len(labels)} "
            f"({', '.join(labels[:8])}{'...' if len(labels) > 8 else ''}). Label them by the "
            "10-05 system at the amplifier, or say which cap it is with --headset."
        )
    if lost:
        notes.append(f"positions unknown: {', '.join(lost)}: recorded, but not learned from")
    return positions


def _place(fields: Mapping[str, str]) -> list[float]:
    """MNE-LSL's ``loc`` (head frame, metres), else XDF's ``location`` (mm)."""
    for names, factor in (
        ([f"loc/R0{axis}" for axis in "xyz"], 1000.0),
        ([f"location/{axis}" for axis in "XYZ"], 1.0),
    ):
        try:
            place = [float(fields[name]) * factor for name in names]
        except (KeyError, ValueError):
            continue
        if np.isfinite(place).all() and any(place):
            return place
    return [np.nan] * 3


def _like_a_head(points: FloatArray) -> bool:
    try:
        radius = fit_sphere(points)[1]
    except MontageError:
        return False
    return _RADII_MM[0] <= radius <= _RADII_MM[1]
