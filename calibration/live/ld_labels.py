"""LD channels by what will be worn: a live stream, or a headset."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.live.channels import eeg_labels
from calibration.session.ld_choice import read_ld_choice
from emag_rt.montages.headsets import Headset, read_headset

STREAM = "@stream:"
HEADSET = "@headset:"


@dataclass(frozen=True)
class LdChoice:
    """What ``--ld`` means.

    Attributes
    ----------
    ld : int or list of str
        Count, or labels.
    sfreq : float or None
        Rate in Hz at which the LD amplifier sends, where it was asked or can have but one.
    note : str
        Where labels and rate come from, or an empty string.
    """

    ld: int | list[str]
    sfreq: float | None = None
    note: str = ""


def read_ld(text: str, timeout_s: float = 10.0) -> LdChoice:
    """Understand ``--ld``.

    Parameters
    ----------
    text : str
        ``@stream:SOURCE``, ``@headset:NAME``, or what
        :func:`calibration.session.ld_choice.read_ld_choice` takes.
    timeout_s : float
        How long to look for the stream, in s.

    Returns
    -------
    LdChoice
        The channels.

    Raises
    ------
    EmagError
        If the stream is not there or names no channels, or there is no such headset.
    """
    if text.startswith((HEADSET[1:], STREAM[1:])):
        text = f"@{text}"
    if text.startswith(HEADSET):
        headset = read_headset(text.removeprefix(HEADSET))
        return _of_headset(headset)
    if not text.startswith(STREAM):
        return LdChoice(read_ld_choice(text))
    # Fitting files needs no LSL library.
    from emag_rt.streams.lsl import LslSource, channel_fields, find_stream
    from emag_rt.streams.named import NamedStream

    found = find_stream(NamedStream(text.removeprefix(STREAM)), timeout_s)
    source = LslSource(found)
    try:
        stream = source.format
    finally:
        source.close()
    labels = eeg_labels(stream, channel_fields(found, ("type",)))
    note = f"LD channels of stream {stream.name!r}: {', '.join(labels)}, at {stream.sfreq:g} Hz"
    return LdChoice(labels, stream.sfreq or None, note)


def _of_headset(headset: Headset) -> LdChoice:
    rates = [f"{rate:g}" for rate in headset.sfreq]
    note = f"LD channels of {headset.title}, at {' or '.join(rates)} Hz"
    if len(rates) > 1:
        note += ": say yours with --sfreq; without it the rate of the recordings is kept"
    return LdChoice(list(headset.labels), headset.sfreq[0] if len(rates) == 1 else None, note)
