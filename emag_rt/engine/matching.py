"""Does a live stream fit a bundle?"""

from __future__ import annotations

from dataclasses import dataclass

from emag_rt.bundle import Bundle
from emag_rt.core.labels import canonical, cut_common, match_labels, require_one_reference
from emag_rt.core.naming import NAMING_REMEDY, ChannelNames
from emag_rt.errors import MontageError, SettingsError, StreamMismatch
from emag_rt.frontend.units import unit_to_uv
from emag_rt.streams.base import StreamFormat

# Nominal rates are often rounded (511.9 for 512); half a percent is still the same amplifier.
RATE_TOLERANCE = 0.005


@dataclass(frozen=True)
class InputMatch:
    """How to read a stream.

    Attributes
    ----------
    channels : tuple of str
        Labels of its columns.
    units : tuple of str
        Unit of each column.
    own_units : tuple of str
        What they are read in where no unit is given over what the stream says.
    warnings : tuple of str
        What had to be assumed.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    own_units: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def match_input(
    stream: StreamFormat,
    bundle: Bundle,
    unit: str | None = None,
    names: ChannelNames | None = None,
) -> InputMatch:
    """Check a stream against a bundle.

    Parameters
    ----------
    stream : StreamFormat
        What the stream says of itself.
    bundle : Bundle
        The calibrated subject.
    unit : str, optional
        Overrides the declared units.
    names : ChannelNames, optional
        What the stream's channels are called, where it does not say so itself.

    Returns
    -------
    InputMatch
        Labels and units of its columns.

    Raises
    ------
    StreamMismatch
        If rate, labels or units do not fit; says the command that mends it.
    """
    manifest = bundle.manifest
    who = f"stream {stream.name!r} (source_id {stream.source_id!r})"
    if stream.sfreq == 0:
        raise StreamMismatch(
            f"{who}: rate must be {manifest.sfreq:g} Hz as calibrated, got an irregular rate. "
            "Let the amplifier's LSL outlet declare its nominal rate."
        )
    if not abs(stream.sfreq - manifest.sfreq) <= RATE_TOLERANCE * manifest.sfreq:
        raise StreamMismatch(
            f"{who}: rate must be {manifest.sfreq:g} Hz as calibrated, got {stream.sfreq:g} Hz. "
            f"Set the amplifier to {manifest.sfreq:g} Hz, or calibrate for it: "
            f"emag-rt calibrate RECORDING --ld {','.join(e.label for e in manifest.ld)} "
            f"--sfreq {stream.sfreq:g} --out BUNDLE"
        )
    warnings: list[str] = []
    if stream.sfreq != round(stream.sfreq):
        warnings.append(
            f"{who}: {stream.sfreq:g} Hz is no whole number. OpenViBE would take the output for "
            f"{int(stream.sfreq)} Hz; other receivers do not mind"
        )
    wanted = [e.label for e in manifest.ld]
    electrodes = {canonical(label) for label in wanted}
    try:
        channels = _named(stream, wanted, names, who, warnings)
        require_one_reference(channels, electrodes, who)
        plain, cut = cut_common(channels, electrodes)
        if cut:
            channels = tuple(plain)
            warnings.append(f"{who}: all labels {cut}: cut")
        if names is None and not electrodes & {canonical(label) for label in channels}:
            raise MontageError(
                f"{who}: its labels must name the electrodes that the bundle needs "
                f"({', '.join(wanted)}), got {', '.join(channels[:40])}"
                f"{', …' if len(channels) > 40 else ''}. {NAMING_REMEDY}."
            )
        columns = match_labels(wanted, channels, who)
    except MontageError as error:
        raise StreamMismatch(str(error)) from error
    default = "microvolts" if names is None else names.unit
    own, assumed = _own_units(stream, who, default)
    units = own if unit is None else (unit,) * stream.n_channels
    if unit is None and any(assumed[c] for c in columns):
        warnings.append(f"{who} declares no unit: taken to be {default}; say it with --unit")
    try:
        for c in columns:
            unit_to_uv(units[c])
    except SettingsError as error:
        raise StreamMismatch(f"{who}: {error}") from error
    return InputMatch(channels, units, own, tuple(warnings))


def _named(
    stream: StreamFormat,
    wanted: list[str],
    names: ChannelNames | None,
    who: str,
    warnings: list[str],
) -> tuple[str, ...]:
    """A label for each channel; never by order where the stream names any of them."""
    if names is not None:
        sent = stream.labels or stream.described
        return tuple(names.name(sent, stream.n_channels, who, warnings))
    if stream.labels:
        return stream.labels
    if any(stream.described):
        raise MontageError(
            f"{who}: must describe each of its {stream.n_channels} channels, got "
            f"{len(stream.described)} ({', '.join(stream.described[:40])}): which is which cannot "
            f"be told. {NAMING_REMEDY}."
        )
    if stream.n_channels != len(wanted):
        raise MontageError(
            f"{who}: must name its channels, or have exactly the {len(wanted)} of the bundle, got "
            f"{stream.n_channels} without labels. {NAMING_REMEDY}."
        )
    warnings.append(f"{who} names no channels: taken to be {', '.join(wanted)}, in order")
    return tuple(wanted)


def _own_units(stream: StreamFormat, who: str, default: str) -> tuple[tuple[str, ...], list[bool]]:
    n = stream.n_channels
    declared = list(stream.units) if stream.units else [""] * n
    if len(declared) != n:
        raise StreamMismatch(f"{who}: must declare a unit for each of its {n} channels.")
    return tuple(u or default for u in declared), [not u for u in declared]


_AVERAGES = {"average", "avg", "car", "common average"}
_AVERAGES |= {"average reference", "common average reference"}


def reference_name(label: str) -> str:
    """One spelling of a reference, for comparison; empty where none is declared."""
    name = label.strip().casefold().replace("_", " ")
    return "average" if name in _AVERAGES else canonical(name)


def other_reference(stream: StreamFormat, bundle: Bundle) -> tuple[str, str] | None:
    """The reference a stream declares and that of the calibration, where both are and differ."""
    calibrated = bundle.manifest.declared_reference
    told = reference_name(stream.reference), reference_name(calibrated)
    return (stream.reference, calibrated) if all(told) and told[0] != told[1] else None


def check_return(before: StreamFormat, now: StreamFormat) -> bool:
    """Refuse a source that came back as something else under the same id.

    Parameters
    ----------
    before, now : StreamFormat
        What the source said when it was opened, and says after the gap.

    Returns
    -------
    bool
        Whether the channels are in another order, which can be helped.

    Raises
    ------
    StreamMismatch
        If rate, number format, channels, labels or units changed.
    """
    changes = []
    if before.sfreq != now.sfreq:
        changes.append(f"rate {before.sfreq:g} Hz became {now.sfreq:g} Hz")
    if before.channel_format != now.channel_format:
        changes.append(f"format {before.channel_format} became {now.channel_format}")
    if before.n_channels != now.n_channels:
        changes.append(f"{before.n_channels} channels became {now.n_channels}")
    was, labels = ([canonical(x) for x in stream.labels] for stream in (before, now))
    reordered = was != labels
    if sorted(was) != sorted(labels) or (reordered and len(set(was)) < len(was)):
        changes.append(f"labels {','.join(before.labels)} became {','.join(now.labels)}")
    elif _by_label(was, before.units) != _by_label(labels, now.units):
        changes.append(f"units {sorted(set(before.units))} became {sorted(set(now.units))}")
    if changes:
        raise StreamMismatch(
            f"stream {before.name!r} (source_id {before.source_id!r}) must come back as it was: "
            f"{'; '.join(changes)}. Set the amplifier as before, or start anew."
        )
    return reordered


def _by_label(labels: list[str], units: tuple[str, ...]) -> list[tuple[str, str]]:
    """Units in an order that does not depend on that of the channels."""
    names = labels if len(labels) == len(units) else [f"{i:06d}" for i in range(len(units))]
    return sorted(zip(names, units, strict=True))
