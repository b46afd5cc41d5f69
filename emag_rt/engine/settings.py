"""Settings of a serving daemon: frozen, validated, unknown keys refused with their path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emag_rt.errors import SettingsError

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(_Section):
    """Which LD stream to read; all given properties must match."""

    source_id: Text | None = None
    name: Text | None = None
    type: Text | None = None
    timeout_s: Seconds = 10.0
    wait: bool = False
    unit: Text | None = None


class OutputSettings(_Section):
    """The HD outlet and its companions.

    ``montage`` names other electrodes than the bundle's, as ``serve --montage`` does.
    """

    name: Text = "emag_rt"
    source_id: Text | None = None
    reference: Text = "input"
    measured: Literal["pass", "render"] = "pass"
    montage: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    status_outlet: bool = True
    marker_outlet: bool = True


class EngineSettings(_Section):
    """How to render; ``hop`` is in samples, 0 renders every chunk as it comes."""

    name: Literal["auto", "native", "onnx", "packed", "direct"] = "auto"
    hop: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    require_gpu: bool = False


class LatencySettings(_Section):
    """What to do with samples that come ``budget_s`` later than the stream usually does."""

    budget_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 1.0
    policy: Literal["skip_to_newest", "catch_up"] = "skip_to_newest"


class GapSettings(_Section):
    """Missing samples: bridged when short, else filled by ``policy`` up to ``max_fill_s``."""

    policy: Literal["nan", "hold", "skip"] = "nan"
    bridge_s: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.05
    max_fill_s: Seconds = 30.0
    stale_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 1.0


class BadSettings(_Section):
    """More than ``max_share`` of the LD channels bad, or all: NaN, or rendered from the rest."""

    max_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    policy: Literal["nan", "fill"] = "nan"


class StatusSettings(_Section):
    """Where to say how it goes.

    ``trace_path`` gets the times of every chunk at the end, for ``emag-rt bench``.
    """

    json_path: Text | None = None
    trace_path: Text | None = None
    interval_s: Annotated[float, Field(ge=0.05, le=3600, allow_inf_nan=False)] = 1.0


class LslSettings(_Section):
    """Which part of the network LSL looks at; None leaves LSL's own configuration."""

    scope: Literal["machine", "link", "site", "organization", "global"] | None = None
    session_id: Text | None = None


class ServeSettings(_Section):
    """Everything ``emag-rt serve`` can be told."""

    source: SourceSettings = SourceSettings()
    output: OutputSettings = OutputSettings()
    engine: EngineSettings = EngineSettings()
    latency: LatencySettings = LatencySettings()
    gaps: GapSettings = GapSettings()
    bads: BadSettings = BadSettings()
    status: StatusSettings = StatusSettings()
    lsl: LslSettings = LslSettings()
    duration_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


_SECTIONS = frozenset(ServeSettings.model_fields) - {"duration_s"}


def load_settings(
    path: str | os.PathLike[str] | None, overrides: dict[str, Any] | None = None
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
    content: dict[str, Any] = {}
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
        raise SettingsError(f"{where}: {_describe(error)}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not YAML: {' '.join(str(error).split())}.") from error
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


def _describe(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key; {_known(item['loc'][:-1])}")
        else:
            lines.append(f"{key}: {item['msg']}, got {item['input']!r}")
    return "; ".join(lines) + "."


def _known(section: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = ServeSettings
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return "it takes no keys"
        model = annotation
    return "known are " + ", ".join(model.model_fields)
