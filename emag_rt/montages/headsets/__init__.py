"""Common headsets: what their electrodes are called, and what is odd about their LSL streams.

One YAML file each beside this module. Rates, units and names are what the makers' tools send as a
rule: where a live stream says otherwise, the stream is right.
"""

from __future__ import annotations

import functools
from difflib import get_close_matches
from importlib import resources
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emag_rt.core.labels import require_unique
from emag_rt.core.naming import ChannelNames
from emag_rt.errors import MontageError, SettingsError
from emag_rt.frontend.units import unit_to_uv

Label = Annotated[str, Field(min_length=1, max_length=64)]
Words = Annotated[str, Field(min_length=1, max_length=400)]
_SUFFIX = ".yaml"
_MOST_NEAR = 3


class Headset(BaseModel):
    """A headset.

    Attributes
    ----------
    name : str
        What ``@headset:NAME`` calls it.
    title : str
        Maker and model.
    channels : tuple of str
        Electrodes in the order in which the stream sends them.
    sends : tuple of str
        What the stream calls these channels where that differs (A1 for Fp1); empty: the same, or
        no labels at all.
    not_eeg : tuple of str
        Those of ``channels`` that are not EEG.
    sfreq : tuple of float
        Rates in Hz, the usual one first.
    unit : str
        Unit of the stream.
    reference : str
        Reference electrode.
    lsl_name, lsl_type : str
        What the maker's LSL outlet calls itself, or an empty string.
    quirks : tuple of str
        What to know of the stream.
    source : str
        Where this comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    title: Words
    channels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=512)]
    sends: tuple[Label, ...] = ()
    not_eeg: tuple[Label, ...] = ()
    sfreq: Annotated[tuple[Annotated[float, Field(gt=0, le=100_000)], ...], Field(min_length=1)]
    unit: str
    reference: Words
    lsl_name: str = ""
    lsl_type: str = "EEG"
    quirks: tuple[Words, ...] = ()
    source: Words

    @model_validator(mode="after")
    def _consistent(self) -> Headset:
        try:
            unit_to_uv(self.unit)
            require_unique(self.channels, "channels")
            require_unique(self.sends, "sends")
        except (SettingsError, MontageError) as error:
            raise ValueError(str(error)) from error
        if self.sends and len(self.sends) != len(self.channels):
            raise ValueError("sends must be empty, or name each of the channels")
        if not set(self.not_eeg) <= set(self.channels):
            raise ValueError("not_eeg must name channels")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The EEG channels."""
        return tuple(label for label in self.channels if label not in self.not_eeg)

    @property
    def names(self) -> ChannelNames:
        """Names for the channels of a source that is this headset."""
        title = f"headset {self.name}"
        return ChannelNames(title, self.channels, self.sends, self.not_eeg, self.unit)


def headset_names() -> tuple[str, ...]:
    """Names of all headsets, sorted."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


@functools.cache
def read_headset(name: str) -> Headset:
    """The headset of a name.

    Parameters
    ----------
    name : str
        One of :func:`headset_names`; case does not matter.

    Returns
    -------
    Headset
        The headset.

    Raises
    ------
    SettingsError
        If there is none of that name, or its file is damaged.
    """
    names = headset_names()
    wanted = name.strip().lower()
    if wanted not in names:
        called = [known for known in names if wanted in read_headset(known).title.lower()]
        near = [*called, *get_close_matches(wanted, names, n=_MOST_NEAR, cutoff=0.4)]
        nearest = ", ".join(list(dict.fromkeys(near))[:_MOST_NEAR] if wanted else [])
        raise SettingsError(
            f"headset must be one of the {len(names)} that `emag-rt headsets` lists"
            f"{f' (nearest: {nearest})' if nearest else ''}, got {name!r}. Name the channels "
            "yourself, or in a file (@FILE)."
        )
    text = resources.files(__name__).joinpath(wanted + _SUFFIX).read_text(encoding="utf-8")
    try:
        return Headset.model_validate({"name": wanted, **yaml.safe_load(text)})
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise SettingsError(
            f"headset {wanted}: its file must be as installed, got: {error}. Install emag-rt anew."
        ) from error


def channel_names(headset: str | None, channels: str | None) -> ChannelNames | None:
    """What the user says of a source's channels.

    Parameters
    ----------
    headset : str or None
        Name of a headset.
    channels : str or None
        Names of all channels in the order of the source, comma-separated.

    Returns
    -------
    ChannelNames or None
        Names; None where nothing was said.

    Raises
    ------
    SettingsError
        If both are given, there is no such headset, or names are empty or double.
    """
    if headset and channels:
        raise SettingsError("--headset and --channels exclude each other, got both. Drop one.")
    if headset:
        return read_headset(headset).names
    if channels is None:
        return None
    named = tuple(label.strip() for label in channels.split(","))
    if not all(named):
        raise SettingsError(
            f"--channels must name each channel of the source in its order, got {channels!r}. "
            "Give those that are no EEG a name too, as TRG."
        )
    try:
        require_unique(named, "--channels")
    except MontageError as error:
        raise SettingsError(str(error)) from error
    return ChannelNames("--channels", named, complete=True)
