"""Settings of a serving daemon: frozen, validated, unknown keys refused with their path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from emag_rt.core.naming import ChannelNames
from emag_rt.core.output_statistics import Statistics
from emag_rt.daemon.settings_errors import describe
from emag_rt.errors import SettingsError, short
from emag_rt.montages.headsets import channel_names


def _exponent(value: object) -> object:
    """YAML 1.1 takes 1e3 for text, people for a number."""
    if isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        return float(value)
    return value


def _printable(text: str) -> str:
    """Names end up on terminals, in logs and in XML."""
    if not text.isprintable():
        raise ValueError("text must not hold control characters")
    return text


_SCIENTIFIC = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?[eE][+-]?[0-9]{1,4}")
_EXPONENT = BeforeValidator(_exponent)
Seconds = Annotated[float, _EXPONENT, Field(ge=0, le=86_400, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


class _Section(BaseModel):
    # Strict: "hop: true" is a mistake, not a hop of one sample.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceSettings(_Section):
    """Which LD stream to read; all given properties must match.

    ``scale`` is in µV for one step of the values, over any unit; ``mismatch`` says what is done
    when amplitudes or rate are not what was calibrated and declared. ``headset``, or ``channels``
    (all of them in order, comma-separated), names the channels where the stream does not.
    """

    source_id: Text | None = None
    name: Text | None = None
    type: Text | None = None
    timeout_s: Seconds = 10.0
    wait: bool = False
    unit: Text | None = None
    scale: Annotated[float, _EXPONENT, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None
    mismatch: Literal["refuse", "warn"] = "refuse"
    headset: Text | None = None
    channels: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> SourceSettings:
        if self.unit is not None and self.scale is not None:
            raise ValueError("give scale, in µV a step, or unit: both say the same")
        try:
            channel_names(self.headset, self.channels)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def names(self) -> ChannelNames | None:
        """What the stream's channels are called, over what it says; None: as it says."""
        return channel_names(self.headset, self.channels)

    @property
    def declared_unit(self) -> str | None:
        """What the values are in, over what the stream says; None: as it says."""
        return self.unit if self.scale is None else f"{self.scale!r} microvolts"


class OutputSettings(_Section):
    """The HD outlet and its companions.

    ``montage`` names other electrodes than the bundle's, as ``serve --montage`` does. Markers as
    ``int32`` are codes, which OpenViBE reads (see :mod:`emag_rt.streams.marker_codes`).
    """

    name: Text = "emag_rt"
    source_id: Text | None = None
    reference: Text = "input"
    measured: Literal["pass", "render"] = "pass"
    statistics: Statistics = "estimate"
    statistics_mix: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    montage: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    status_outlet: bool = True
    marker_outlet: bool = True
    marker_format: Literal["text", "int32"] = "text"


class EngineSettings(_Section):
    """How to render; ``hop`` is in samples, 0 renders every chunk as it comes."""

    name: Literal["auto", "native", "onnx", "packed", "torch", "direct"] = "auto"
    hop: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    require_gpu: bool = False


class LatencySettings(_Section):
    """What to do with samples that come ``budget_s`` later than the stream usually does."""

    budget_s: Annotated[float, _EXPONENT, Field(gt=0, le=3600, allow_inf_nan=False)] = 1.0
    policy: Literal["skip_to_newest", "catch_up"] = "skip_to_newest"


class GapSettings(_Section):
    """Missing samples: bridged when short, else filled by ``policy`` up to ``max_fill_s``.

    ``go_on_after_s``: rows go on at the rate, by the policy and without end, once the source has
    been silent for so long; None: they wait for it.
    """

    policy: Literal["nan", "hold", "skip"] = "nan"
    bridge_s: Annotated[float, _EXPONENT, Field(ge=0, le=10, allow_inf_nan=False)] = 0.05
    max_fill_s: Seconds = 30.0
    stale_s: Annotated[float, _EXPONENT, Field(gt=0, le=3600, allow_inf_nan=False)] = 1.0
    go_on_after_s: (
        Annotated[float, _EXPONENT, Field(ge=0.1, le=3600, allow_inf_nan=False)] | None
    ) = None

    @model_validator(mode="after")
    def _goes_on_with_rows(self) -> GapSettings:
        if self.go_on_after_s is not None and self.policy == "skip":
            raise ValueError("give policy hold or nan with go_on_after_s: skip leaves rows out")
        return self


class BadSettings(_Section):
    """More than ``max_share`` of the LD channels bad, or all: NaN, or rendered from the rest."""

    max_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    policy: Literal["nan", "fill"] = "nan"


class AdaptSettings(_Section):
    """Follow the wearer's present state, from LD alone (docs/another-day.md).

    ``after_s`` of good LD for the first time, and ``every_s`` of it from time to time. ``save_in``
    is the folder of adapted bundles, None that of the bundle; ``population`` the file of a bundle
    without HD that was made from none of the package's.
    """

    enabled: bool = False
    after_s: Annotated[float, _EXPONENT, Field(ge=4, le=600, allow_inf_nan=False)] = 30.0
    every_s: Annotated[float, _EXPONENT, Field(ge=4, le=600, allow_inf_nan=False)] = 60.0
    save_at_end: bool = False
    save_in: Text | None = None
    population: Text | None = None


class StatusSettings(_Section):
    """Where to say how it goes.

    ``trace_path`` gets the times of every chunk at the end, for ``emag-rt bench``.
    """

    json_path: Text | None = None
    trace_path: Text | None = None
    interval_s: Annotated[float, _EXPONENT, Field(ge=0.05, le=3600, allow_inf_nan=False)] = 1.0


class LslSettings(_Section):
    """Which part of the network LSL looks at; None leaves LSL's own configuration."""

    scope: Literal["machine", "link", "site", "organization", "global"] | None = None
    session_id: Text | None = None


class HttpSettings(_Section):
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` are; no port: nowhere, 0: any free one."""

    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    host: Text = "127.0.0.1"


class DashboardSettings(_Section):
    """A live view in a browser, by a process beside the daemon; port 0: any free one."""

    enabled: bool = False
    port: Annotated[int, Field(ge=0, le=65_535)] = 8050
    host: Text = "127.0.0.1"


class ServeSettings(_Section):
    """Everything ``emag-rt serve`` can be told."""

    source: SourceSettings = SourceSettings()
    output: OutputSettings = OutputSettings()
    engine: EngineSettings = EngineSettings()
    latency: LatencySettings = LatencySettings()
    gaps: GapSettings = GapSettings()
    bads: BadSettings = BadSettings()
    adapt: AdaptSettings = AdaptSettings()
    status: StatusSettings = StatusSettings()
    lsl: LslSettings = LslSettings()
    http: HttpSettings = HttpSettings()
    dashboard: DashboardSettings = DashboardSettings()
    duration_s: (
        Annotated[float, _EXPONENT, Field(gt=0, le=31_536_000, allow_inf_nan=False)] | None
    ) = None


_MAX_YAML_BYTES = 1 << 20
_SECTIONS = frozenset(ServeSettings.model_fields) - {"duration_s"}


def load_settings(
    path: str | os.PathLike[str] | None, overrides: Mapping[str, object] | None = None
) -> ServeSettings:
    """Settings from a YAML file and from the command line.

    Parameters
    ----------
    path : path-like or None
        YAML file; None for the defaults.
    overrides : dict, optional
        Values by dotted path (``{"source.name": "Amp"}``); None values are left out.

    Returns
    -------
    ServeSettings
        Validated settings.

    Raises
    ------
    SettingsError
        If the file cannot be read, or a key or value is not allowed; names path and rule.
    """
    content: dict[str, object] = {}
    where = "settings"
    if path is not None:
        where = str(path)
        content = _read_yaml(Path(path))
    for dotted, value in (overrides or {}).items():
        if value is None:
            continue
        *sections, key = dotted.split(".")
        target = content
        for section in sections:
            inner = target.setdefault(section, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{where}: {section} must be a section, got {inner!r}.")
            target = inner
        target[key] = value
    try:
        return ServeSettings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{where}: {describe(error, ServeSettings)}") from error


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        text = _read_text(path)
        doubled = _doubled_key(yaml.compose(text, Loader=yaml.SafeLoader))
        content = yaml.safe_load(text)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Dates and numbers that are none are ValueErrors; so is text that is not UTF-8.
        reason = " ".join(str(error).split())[:300]
        raise SettingsError(f"{path}: not YAML: {reason}.") from error
    if doubled:
        raise SettingsError(f"{path}: {doubled}: must be given once, got it twice. Drop one.")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"{path}: must hold sections (source:, output:, ...), got a {type(content).__name__}."
        )
    # A section whose every line is a comment reads as null: it stands at its defaults.
    return {
        key: {} if value is None and key in _SECTIONS else value for key, value in content.items()
    }


def _read_text(path: Path) -> str:
    if not path.is_dir() and path.exists() and not path.is_file():
        raise SettingsError(f"{path}: cannot be read: it is not a regular file.")
    with path.open("rb") as stream:
        blob = stream.read(_MAX_YAML_BYTES + 1)
    if len(blob) > _MAX_YAML_BYTES:
        raise SettingsError(f"{path}: must be at most {_MAX_YAML_BYTES >> 10} KiB.")
    return blob.decode("utf-8")


def _doubled_key(root: yaml.Node | None) -> str | None:
    """Path of a key that stands twice, of which YAML would take the last without a word."""
    sections = [("", root)]
    for prefix, node in sections:
        if not isinstance(node, yaml.MappingNode):
            continue
        seen = set()
        for key, value in node.value:
            name = f"{prefix}{short(key.value)[1:-1]}"
            if name in seen:
                return name
            seen.add(name)
            if not prefix:
                sections.append((f"{name}.", value))
    return None
